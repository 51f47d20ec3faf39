"""Keys of parameters in errors named by the options of a command that has no params.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from windhover.errors import WindhoverError

RULE_BETWEEN_KEYS = re.compile(r"^`scenes`: | Set `scenes` in params\.yaml\.")
IN_FILE = re.compile(r"\s+in params\.yaml\b")
NULL = re.compile(r"\bset null\b")
REPEATED = re.compile(r"(--[\w-]+): \1\b")


@contextmanager
def options_in_errors(options: Mapping[str, str]) -> Iterator[None]:
    """Name options in place of keys in the errors of the block; an error stays what it is.

    Args:
        options: key of the section `scenes`, such as `mask_values` -> option.
    """
    try:
        yield
    except WindhoverError as error:
        error.args = tuple(
            _with_options(part, options) if isinstance(part, str) else part for part in error.args
        )
        notes = getattr(error, "__notes__", None)
        if notes is not None:
            notes[:] = [_with_options(note, options) for note in notes]
        raise


def _with_options(text: str, options: Mapping[str, str]) -> str:
    """Return a text with options in place of keys; unchanged where it names none."""
    named = RULE_BETWEEN_KEYS.sub("", text)
    for key, option in options.items():
        named = re.sub(rf"`scenes\.{key}`", option, named)
    if named == text:
        return text
    for key, option in options.items():
        if "_" in key:  # such words mean nothing but the key
            named = re.sub(rf"(?<![\w.]){key}\b", option, named)
    named = NULL.sub("leave it out", IN_FILE.sub("", named))
    return REPEATED.sub(r"\1", named)
