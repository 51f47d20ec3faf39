"""Errors that a user can cause, each with one clear sentence; programming errors stay builtins.

A message names the file or key, the rule, the value with its unit, and what to change.
Every class also inherits the builtin that a caller without knowledge of Windhover would catch.
"""

from __future__ import annotations


class WindhoverError(Exception):
    """Root of all errors that a user can cause and correct."""

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


class MissingExtraError(WindhoverError, ImportError):
    """An optional package is not installed."""
