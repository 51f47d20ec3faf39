"""Rasters on a server that fails: pixels are right or named as unread, and no wait is endless."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from range_server import FaultPlan, range_server
from windhover.errors import FormatError
from windhover.imagery import remote_reads
from windhover.imagery.scenes import open_scene

SHAPE_HW = (500, 620)
TILE_PX = 128


@pytest.fixture(autouse=True)
def fast_limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait a second at most for a server, and forget what it did before."""
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")
    monkeypatch.setattr(remote_reads, "RETRY_WAIT_S", 0.0)
    remote_reads._failures.clear()
    yield
    remote_reads._failures.clear()


@pytest.fixture
def served(make_scene: Any, tmp_path: Path) -> tuple[Path, np.ndarray]:
    pixels = np.random.default_rng(3).integers(1, 255, (3, *SHAPE_HW)).astype(np.uint8)
    options = {"tiled": True, "blockxsize": TILE_PX, "blockysize": TILE_PX}
    make_scene("served.tif", data=pixels, **options)
    return tmp_path, pixels


def read_parts(url: str, pixels: np.ndarray, rows_px: int = SHAPE_HW[0]) -> list[str]:
    """Return the sentence of each row of tiles, empty where its pixels are the right ones."""
    sentences = []
    with open_scene(f"{url}/served.tif") as scene:
        for top in range(0, rows_px, TILE_PX):
            rows = min(TILE_PX, SHAPE_HW[0] - top)
            try:
                part = scene.read(top, 0, rows, SHAPE_HW[1])
            except FormatError as error:
                sentences.append(str(error))
                continue
            np.testing.assert_array_equal(part.array, pixels[:, top : top + rows])
            assert part.valid.all()
            sentences.append("")
    return sentences


@pytest.mark.parametrize("fault", ["500", "404", "half", "short", "long", "reset", "stall"])
def test_a_fault_that_passes_changes_no_pixel(served: tuple[Path, np.ndarray], fault: str) -> None:
    folder, pixels = served
    with range_server(folder, FaultPlan(fault, after=3, count=1, stall_s=5)) as url:
        assert not any(read_parts(url, pixels))


@pytest.mark.parametrize("fault", ["503", "404", "half", "reset"])
def test_a_fault_that_stays_is_told_as_the_servers(
    served: tuple[Path, np.ndarray], fault: str
) -> None:
    folder, pixels = served
    with range_server(folder, FaultPlan(fault, after=3)) as url:
        sentences = read_parts(url, pixels)
    assert any(sentences)
    for sentence in filter(None, sentences):
        assert "served.tif: cannot read rows" in sentence
        assert "damaged" not in sentence
        assert "server" in sentence.lower()


def test_no_wait_for_a_server_that_stalls_is_endless(served: tuple[Path, np.ndarray]) -> None:
    folder, pixels = served
    began = time.monotonic()
    with range_server(folder, FaultPlan("stall", after=3, stall_s=300)) as url:
        assert any(read_parts(url, pixels, 2 * TILE_PX))
    assert time.monotonic() - began < 60


def test_a_server_that_fails_again_and_again_is_given_up_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([False] * 2 * remote_reads.MAX_FAILED_PARTS + [True, True])

    def read() -> str:
        if not next(answers):
            raise OSError("no answer")
        return "pixels"

    def read_part() -> str:
        return remote_reads.read_with_retry("https://host/a.tif", read, lambda: None)

    for _ in range(remote_reads.MAX_FAILED_PARTS):
        with pytest.raises(OSError, match="no answer"):
            read_part()
    with pytest.raises(TimeoutError, match="host failed 3 times in a row"):
        read_part()
    assert remote_reads.read_with_retry("https://other/a.tif", lambda: 1, lambda: None) == 1
    monkeypatch.setattr(remote_reads, "GIVEN_UP_S", 0.0)
    assert read_part() == "pixels"  # asked again later
    monkeypatch.undo()
    assert read_part() == "pixels"  # and trusted as before


def test_a_limit_in_the_environment_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GDAL_HTTP_CONNECTTIMEOUT", raising=False)
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "77")
    options = remote_reads.http_options()
    assert "GDAL_HTTP_LOW_SPEED_TIME" not in options
    assert options["GDAL_HTTP_CONNECTTIMEOUT"] > 0


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("https://host/a.tif", True),
        ("/vsicurl/http://host/a.tif", True),
        ("s3://bucket/a.tif", True),
        ("/vsizip/a.zip/a.tif", False),
        ("folder/https.tif", False),
    ],
)
def test_addresses_are_known_from_files(path: str, expected: bool) -> None:
    assert remote_reads.is_remote(path) is expected
