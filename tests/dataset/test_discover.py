"""Discovery: which rasters a pattern names."""

from __future__ import annotations

from pathlib import Path

from windhover.dataset.discover import matches_pattern


def test_the_whole_way_to_a_raster_is_asked_for_by_a_slash() -> None:
    folder = Path("raw")
    for pattern in ("a.tif", "/sub/a.tif", "sub/*.tif"):
        assert matches_pattern(folder / "sub/a.tif", folder, pattern)
    for pattern in ("/a.tif", "/raw/sub/a.tif", "*/sub/a.tif"):
        assert not matches_pattern(folder / "sub/a.tif", folder, pattern)
