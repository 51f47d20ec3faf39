"""Single-band files of one scene are found by their names."""

from __future__ import annotations

from fnmatch import fnmatch

from conftest import MakeScene
from windhover.dataset.discover import raster_paths
from windhover.project.find_stack import find_stack


def test_bands_in_separate_files_become_patterns_that_match_one_file_each(
    make_scene: MakeScene,
) -> None:
    for port, date in (("oslo", "2023-01-08"), ("bergen", "2023-04-26")):
        for band in ("B02", "B03", "B04", "B08", "B11"):
            make_scene(f"{port}/{date}_L2A_{band}_[Raw].tif", bands=1, dtype="uint16")
        make_scene(f"{port}/{port}_rgb.tif", bands=3)
    paths = raster_paths(make_scene("other.tif").parent)
    stack = find_stack(paths)
    assert stack is not None
    assert list(stack) == ["B02", "B03", "B04", "B08", "B11"]
    for pattern in stack.values():
        assert sum(fnmatch(path.name, pattern) for path in paths) == 2


def test_bands_of_another_size_or_missing_in_a_folder_are_left_out(make_scene: MakeScene) -> None:
    for folder in ("a", "b"):
        for color in ("red", "green", "nir"):
            make_scene(f"{folder}/{color}.tif", bands=1)
    make_scene("a/blue.tif", bands=1)
    make_scene("b/pan.tif", (300, 420), bands=1)
    make_scene("a/pan.tif", (300, 420), bands=1)
    stack = find_stack(raster_paths(make_scene("a/red.tif", bands=1).parents[1]))
    assert stack is not None
    assert list(stack) == ["GREEN", "RED", "NIR"]


def test_scenes_of_one_file_are_no_stack(make_scene: MakeScene) -> None:
    paths = [make_scene("tile_red_roofs.tif", bands=3), make_scene("tile_2.tif", bands=1)]
    assert find_stack(paths) is None


def test_two_dates_in_one_folder_are_no_stack(make_scene: MakeScene) -> None:
    paths = [make_scene(f"{day}_{band}.tif", bands=1) for day in "12" for band in ("B02", "B03")]
    assert find_stack(paths) is None
