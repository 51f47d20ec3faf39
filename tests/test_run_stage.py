"""Running a stage: seconds logged when it ends well, one sentence and exit code 1 when the user can
mend it.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from windhover.errors import DataError
from windhover.params import StageParams
from windhover.run_stage import SECONDS_LOG, last_seconds, log_seconds, run_stage


class CutParams(StageParams):
    rate: float


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  cut:\n    cmd: python cut.py\n    params:\n      - cut.rate\n"
    )
    (tmp_path / "params.yaml").write_text("cut:\n  rate: 0.5\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_stage_gets_its_parameters_and_its_seconds_are_kept(project: Path) -> None:
    seen: list[CutParams] = []
    run_stage("cut", CutParams, seen.append)
    assert seen == [CutParams(rate=0.5)]
    assert list(last_seconds()) == ["cut"]


def test_a_fault_of_the_user_is_one_sentence(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: CutParams) -> None:
        error = DataError("a.tif: no labels\nlie on it.")
        error.add_note("Mend it.")
        raise error

    with pytest.raises(SystemExit, match="1"):
        run_stage("cut", CutParams, fail)
    assert capsys.readouterr().err == "cut: a.tif: no labels lie on it. Mend it.\n"
    assert last_seconds() == {}


def test_a_fault_of_ours_keeps_its_traceback(project: Path) -> None:
    def fail(_: CutParams) -> None:
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        run_stage("cut", CutParams, fail)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_a_full_disk_is_one_sentence_whatever_library_tells_it(
    project: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(_: CutParams) -> None:
        raise error

    with pytest.raises(SystemExit, match="1"):
        run_stage("cut", CutParams, fail)
    said = capsys.readouterr().err
    assert said.startswith(f"cut: {project}: no space left on the disk. Free some")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    [
        '{"stage": "tr',
        "[1]",
        "null",
        "[" * 100_000,
        '{"seconds": 3}',
        '{"stage": ["a"], "seconds": 3}',
        '{"stage": "a", "seconds": "x"}',
        '{"stage": "a", "seconds": NaN}',
        '{"stage": "a", "seconds": 1e999}',
        "\ufffd\0",
    ],
)
def test_damaged_lines_of_the_log_are_left_out_and_told(
    project: Path, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    log_seconds("a", 1.0)
    with SECONDS_LOG.open("a", encoding="utf-8") as stream:
        stream.write(f"{line}\n")
    log_seconds("b", 2.0)
    assert last_seconds() == {"a": 1.0, "b": 2.0}
    assert "1 damaged lines are left out" in caplog.text


def test_the_last_run_of_each_stage_counts(project: Path) -> None:
    for stage, seconds in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        log_seconds(stage, seconds)
    assert last_seconds() == {"b": 2.0, "a": 3.0}
