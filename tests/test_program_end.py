"""What ends a program early is one sentence and leaves nothing half-written."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

import pytest

from windhover.errors import DataError
from windhover.files import atomic_file, atomic_folder, lock_output
from windhover.program_end import errors_told


def write_until_stopped(folder: Path, number: signal.Signals) -> None:
    with (
        errors_told("detect"),
        lock_output(folder / "a.tif"),
        atomic_folder(folder / "map"),
        atomic_file(folder / "a.tif") as temporary,
    ):
        temporary.write_bytes(b"half")
        with suppress(Exception):  # what libraries do with errors must not hold it back
            os.kill(os.getpid(), number)
        pytest.fail("it was not stopped")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit, match=str(128 + number)):
        write_until_stopped(tmp_path, number)
    said = capsys.readouterr().err
    assert said.startswith(f"detect: stopped by {number.name}. Nothing is half-written.")
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before


class StoppedInDestructor:
    """Gets a signal while it is taken down, where Python ignores what is raised."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)


def destroy_and_go_on() -> None:
    with errors_told("train"):
        StoppedInDestructor()
        time.sleep(5)
        pytest.fail("it was not stopped")


def test_a_signal_in_a_destructor_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    hook = sys.unraisablehook
    with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
        destroy_and_go_on()
    assert capsys.readouterr().err.startswith("train: stopped by SIGTERM.")
    assert sys.unraisablehook is hook


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DataError("no\nlabels"), "no labels"),
        (PermissionError(13, "Permission denied", "a.tif"), "cannot read or write: .*a.tif"),
        (OSError(36, "File name too long", "n" * 300), r"write: n{80}\.\.\.: the name is too long"),
        (NotADirectoryError(20, "Not a directory", b"a/b"), "a/b: a part of this path is a file"),
        (RuntimeError("Symlink loop from '/a/b'"), "/a/b: its links lead back to themselves"),
        (
            ConnectionError("no route\nto the server"),
            "cannot read or write: no route to the server",
        ),
        (BrokenProcessPool("a child process terminated"), "ended from outside"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (RuntimeError("database or disk is full"), "no space left on the disk"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(
    capsys: pytest.CaptureFixture[str], error: Exception, words: str
) -> None:
    with pytest.raises(SystemExit, match=r"^1$"), errors_told("train"):
        raise error
    said = capsys.readouterr().err
    assert said.startswith("train: ")
    assert len(said.splitlines()) == 1
    assert re.search(words, said), said


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError, match="ours"), errors_told("train"):
        raise ZeroDivisionError("ours")
