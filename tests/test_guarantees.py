"""Every test that docs/guarantees.md names is there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from project import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`")


def named_tests() -> Iterator[tuple[str, str]]:
    """Yield file and name of each test; a name alone is of the file before it."""
    for line in (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8").splitlines():
        file = ""
        for path, name in NAMED.findall(line):
            file = path or file
            if path or name:
                yield file, name


def test_every_named_test_is_there() -> None:
    found = list(named_tests())
    missing = []
    for file, name in found:
        path = ROOT / file
        text = path.read_text(encoding="utf-8") if file and path.is_file() else ""
        if not text or (name and f"def {name}(" not in text):
            missing.append(f"{file}::{name}")
    assert len(found) > 200
    assert missing == []
