"""Searches that are killed, resumed, or find the journal of another run."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas
import pytest

from toy_searches import run
from windhover.detection.detect_rasters import detect_rasters, run_fingerprint
from windhover.detection.detect_request import (
    DetectRequest,
    parse_bands,
)
from windhover.detection.journal import SearchJournal
from windhover.errors import FormatError
from windhover.imagery.scenes import Scene
from windhover.inference.detector import Detector

HERE = Path(__file__).parents[1]


def test_a_block_that_cannot_be_read_is_told_and_can_be_resumed(
    make_scene: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_scene(shape_hw=(301, 477))
    run([path], model, tmp_path / "whole.gpkg", block_px=128)
    read = Scene.read

    def broken(self: Scene, row: int, col: int, height: int, width: int) -> Any:
        if col < 40 and row < 40:
            raise FormatError(f"{self.info.path}: cannot read rows 0 to 100.")
        return read(self, row, col, height, width)

    with monkeypatch.context() as patch:
        patch.setattr(Scene, "read", broken)
        request = DetectRequest([str(path)], model, tmp_path / "part.gpkg", block_px=128)
        outcome = detect_rasters(request)
    assert [(failed.row_px, failed.col_px) for failed in outcome.failed] == [(0, 0)]
    assert outcome.n_objects < len(geopandas.read_file(tmp_path / "whole.gpkg", layer="detections"))
    said = run([path], model, tmp_path / "part.gpkg", block_px=128, resume=True)
    assert said[1] == "going on after 11 blocks"
    assert (tmp_path / "part.gpkg").read_bytes() == (tmp_path / "whole.gpkg").read_bytes()


def test_other_bands_are_another_run(
    make_scene: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, output = make_scene(shape_hw=(301, 477)), tmp_path / "f.gpkg"
    with monkeypatch.context() as patch:
        patch.setattr(
            SearchJournal, "remove", lambda self: None
        )  # as if it had been killed at the end
        run([path], model, output, bands=parse_bands("3, 2,1"))
    shutil.copy(tmp_path / ".f.gpkg.journal", tmp_path / "copy")
    assert run([path], model, output, resume=True)[1] == "no journal of this run: begun anew"
    shutil.copy(tmp_path / "copy", tmp_path / ".f.gpkg.journal")
    assert run([path], model, output, resume=True, bands=parse_bands("3,2,1"))[1].startswith(
        "going on after"
    )


def test_the_journal_of_another_run_is_not_continued(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    path = make_scene(shape_hw=(301, 477))
    output = tmp_path / "f.gpkg"
    (tmp_path / ".f.gpkg.journal").write_bytes(b"windhover journal 1\nnonsense")
    assert run([path], model, output, resume=True)[1] == "no journal of this run: begun anew"
    assert len(geopandas.read_file(output, layer="detections")) > 5


def test_a_journal_of_another_version_is_told(
    make_scene: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_scene(shape_hw=(157, 211))
    output = tmp_path / "f.gpkg"
    journal = tmp_path / ".f.gpkg.journal"
    with monkeypatch.context() as patch:
        patch.setattr(SearchJournal, "remove", lambda self: None)  # as if killed at the end
        run([path], model, output)
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute("UPDATE run SET format = 2")
    before = output.read_bytes()
    told = f"the journal {journal} is of another version of Windhover: begun anew"
    assert run([path], model, output, resume=True)[1] == told
    assert output.read_bytes() == before


def killed_and_resumed(path: Path, model: Path, tmp_path: Path, kills: int) -> None:
    for _ in range(2):  # the second time is that of a warm process
        started = time.monotonic()
        run([path], model, tmp_path / "found.gpkg", scores=tmp_path / "scores.tif", block_px=64)
        seconds = time.monotonic() - started
    (tmp_path / "found.gpkg").rename(tmp_path / "whole.gpkg")
    (tmp_path / "scores.tif").rename(tmp_path / "whole.tif")
    command = [sys.executable, HERE / "kill_and_resume.py", model, path, tmp_path, seconds, kills]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=True
    )
    for number in range(int(done.stdout)):
        for suffix in (".gpkg", ".tif"):
            assert (tmp_path / f"r{number}{suffix}").read_bytes() == (
                tmp_path / f"whole{suffix}"
            ).read_bytes()
    assert not list(tmp_path.glob(".*.journal"))


def test_killed_at_random_places_and_resumed_gives_the_same_bytes(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    killed_and_resumed(make_scene(shape_hw=(330, 470)), model, tmp_path, kills=3)


def test_a_journal_of_another_arithmetic_is_not_gone_on_from(model: Path, tmp_path: Path) -> None:
    """What `auto` takes depends on the processor: blocks of two kinds must not be mixed."""
    wanted = DetectRequest(["a.tif"], model, tmp_path / "f.gpkg")
    prints = [
        run_fingerprint(
            wanted,
            Detector.from_bundle(model, inference_precision=precision),
            {},
            infos=[],
            areas=[],
            runs=[],
            files={},
        )
        for precision in ("fp32", "bf16")
    ]
    assert prints[0] != prints[1]


@pytest.mark.slow
def test_killed_fifty_times(make_scene: Any, model: Path, tmp_path: Path) -> None:
    killed_and_resumed(make_scene(shape_hw=(700, 900)), model, tmp_path, kills=50)
