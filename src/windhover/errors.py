"""Errors that a user can cause, each with one clear sentence; programming errors stay builtins.

A message names the file or key, the rule, the value with its unit, and what to change.
Every class also inherits the builtin that a caller without knowledge of Windhover would catch.
"""

from __future__ import annotations

import re

# what follows the path of an address, or stands before its host, may be a secret
ADDRESS_QUERY = re.compile(r"""((?:https?|ftp|s3|gs)://[^\s?'"]+)\?[^\s'"]*[^\s'".,:;)]""", re.I)
ADDRESS_USER = re.compile(r"((?:https?|ftp)://)[^\s/@'\"]+@", re.IGNORECASE)


def shown_path(path: str) -> str:
    """Return a text without the queries (tokens, signatures) and users of addresses in it."""
    return ADDRESS_USER.sub(r"\1", ADDRESS_QUERY.sub(r"\1", path))


class WindhoverError(Exception):
    """Root of all errors that a user can cause and correct; it shows no token of an address."""

    def __init__(self, *args: object) -> None:
        """Take a message."""
        super().__init__(*(shown_path(part) if isinstance(part, str) else part for part in args))

    def sentence(self) -> str:
        """Return the message with its notes as one line, for the terminal."""
        return " ".join(
            " ".join(part.split()) for part in (str(self), *getattr(self, "__notes__", ()))
        )


class MissingFileError(WindhoverError, FileNotFoundError):
    """A file or folder that should be there is not."""

    def __str__(self) -> str:  # FileNotFoundError would print errno and filename
        return str(self.args[0]) if self.args else ""


class FormatError(WindhoverError, ValueError):
    """A file is there but is broken, or holds something this program does not read."""


class ParameterError(WindhoverError, ValueError):
    """A parameter or an option is misspelt, missing or out of its range."""


class DataError(WindhoverError, ValueError):
    """The files are valid but cannot be used together: no labels, another place, no overlap."""


class UnsupportedError(WindhoverError, TypeError):
    """Something valid that this program does not do, such as a complex raster."""


class FullDiskError(WindhoverError, OSError):
    """There is no room on the disk for what is to be written."""

    def __str__(self) -> str:  # OSError would print a tuple
        return str(self.args[0]) if self.args else ""


class MissingExtraError(WindhoverError, ImportError):
    """An optional package is not installed."""
