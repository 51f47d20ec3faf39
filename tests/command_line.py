"""The program as a person calls it, in this process."""

from __future__ import annotations

import sys

import pytest

from windhover.cli import app as cli


def windhover(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    """Run a command as a user does; return its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["windhover", *arguments])
    code = 0
    try:
        cli.main()
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    printed = capsys.readouterr()
    return code, printed.err or printed.out
