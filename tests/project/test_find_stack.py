"""Single-band files of one scene are found by their names."""

from __future__ import annotations

from fnmatch import fnmatch

import pytest

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
    assert list(stack.patterns) == ["B02", "B03", "B04", "B08"]
    assert stack.coarse == ("B11",)
    for pattern in stack.patterns.values():
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
    assert list(stack.patterns) == ["GREEN", "RED", "NIR"]


def test_of_two_grids_the_finer_one_that_bands_share_is_taken(make_scene: MakeScene) -> None:
    for band in ("B02", "B03", "B08"):
        make_scene(f"T31_A/T31_{band}.tif", (90, 140), bands=1, gsd_m=10.0)
    for band in ("B05", "B06", "B07", "B11", "B12"):
        make_scene(f"T31_A/T31_{band}.tif", (45, 70), bands=1, gsd_m=20.0)
    make_scene("T31_A/T31_pan.tif", (180, 280), bands=1, gsd_m=5.0)
    stack = find_stack(raster_paths(make_scene("T31_A/note.tif").parent))
    assert stack is not None
    assert list(stack.patterns) == ["B02", "B03", "B08"]
    assert stack.coarse == ("PAN", "B05", "B06", "B07", "B11", "B12")


@pytest.mark.parametrize(
    ("name", "gsd_m", "kept"),
    [
        ("S2B_MSIL2A", 10.0, ["B02", "B03"]),
        ("S2B_MSIL2A", 20.0, ["B02", "B03", "B8A", "B11"]),
        ("T31UFU_20230426", 10.0, ["B02", "B03"]),
    ],
)
def test_enlarged_bands_of_sentinel_2_are_left_out(
    make_scene: MakeScene, name: str, gsd_m: float, kept: list[str]
) -> None:
    paths = [
        make_scene(f"{name}_{band}.tif", bands=1, gsd_m=gsd_m)
        for band in ("B02", "B03", "B8A", "B11")
    ]
    stack = find_stack(paths)
    assert stack is not None
    assert sorted(stack.patterns) == sorted(kept)


def test_bands_of_another_sensor_have_no_gsd_by_their_numbers(make_scene: MakeScene) -> None:
    names = ("LC08_B2", "LC08_B3", "LC08_B11", "S21_B5")
    stack = find_stack([make_scene(f"{name}.tif", bands=1, gsd_m=10.0) for name in names])
    assert stack is not None
    assert list(stack.patterns) == ["B2", "B3", "B5", "B11"]


def test_a_pattern_of_unlike_names_matches_no_other_band(make_scene: MakeScene) -> None:
    paths = [
        make_scene(f"{folder}/x_{band}_{day}.tif", bands=1)
        for folder, day in (("a", "0108"), ("b", "0426"))
        for band in ("B1", "B11")
    ]
    stack = find_stack(paths)
    assert stack is not None
    for pattern in stack.patterns.values():
        assert sum(fnmatch(path.name, pattern) for path in paths) == 2


def test_scenes_of_one_file_are_no_stack(make_scene: MakeScene) -> None:
    paths = [make_scene("tile_red_roofs.tif", bands=3), make_scene("tile_2.tif", bands=1)]
    assert find_stack(paths) is None


def test_two_dates_in_one_folder_are_no_stack(make_scene: MakeScene) -> None:
    paths = [make_scene(f"{day}_{band}.tif", bands=1) for day in "12" for band in ("B02", "B03")]
    assert find_stack(paths) is None


@pytest.mark.parametrize("suffix", ["tif", "jp2"])
def test_of_a_safe_folder_the_bands_of_10_m_are_taken(make_scene: MakeScene, suffix: str) -> None:
    safe = "S2A_MSIL2A_20230426T105031_N0509_R051_T31UFU_20230426T170000.SAFE"
    driver = {"tif": "GTiff", "jp2": "JP2OpenJPEG"}[suffix]
    sizes = {"R10m": ((120, 180), 10.0), "R20m": ((60, 90), 20.0), "R60m": ((20, 30), 60.0)}
    bands = {"R10m": "B02 B03 B04 B08", "R20m": "B02 B03 B04 B05 B8A B11", "R60m": "B01 B02 B09"}
    for granule in ("L2A_T31UFU_A040962", "L2A_T31UGU_A040962"):
        for number, folder in enumerate(sizes):
            size, gsd_m = sizes[folder]
            for band in [*bands[folder].split(), "SCL"]:
                name = f"T31UFU_20230426T105031_{band}_{folder[1:]}.{suffix}"
                make_scene(
                    f"{safe}/GRANULE/{granule}/IMG_DATA/{folder}/{name}",
                    size,
                    bands=1,
                    dtype="uint16",
                    gsd_m=gsd_m,
                    driver=driver,
                    seed=number,
                )
    root = make_scene("quicklook.png", crs=None, driver="PNG").parent
    stack = find_stack(raster_paths(root))
    assert stack is not None
    assert list(stack.patterns) == ["B02", "B03", "B04", "B08"]
    assert set(stack.coarse) == {"B01", "B05", "B8A", "B09", "B11"}
    for pattern in stack.patterns.values():
        matching = [path for path in raster_paths(root) if fnmatch(path.name, pattern)]
        assert [path.parent.name for path in matching] == ["R10m", "R10m"]
