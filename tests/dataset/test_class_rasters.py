"""Class maps: from class rasters and polygons, with what is not known left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_coverage import (
    CLOUD,
    GSD_M,
    IGNORED,
    SHADOW,
    SHAPE,
    cloud_mask,
    coverage_catalog,
    picture_of,
    place,
    write_raster,
    write_scenes,
)
from windhover.dataset.catalog import Catalog, load_catalog, open_catalog_scene, open_class_map
from windhover.dataset.class_maps import UNKNOWN, ClassMap, class_counts
from windhover.dataset.import_labels import (
    ImportOptions,
    import_labels,
    parse_mask_ignore,
    parse_mask_values,
)
from windhover.errors import DataError, MissingFileError, ParameterError, WindhoverError

VALUES = {0: "background", CLOUD: "cloud", SHADOW: "shadow"}


def class_map_of(catalog: Catalog, scene: str) -> np.ndarray:
    row = next(row for row in catalog if row.scene == scene)
    with rasterio.open(str(row.class_map)) as dataset:
        return np.asarray(dataset.read(1))


def folder_of(tmp_path: Path, mask: np.ndarray, **profile: Any) -> Path:
    """Write three scenes of which the first has a class raster of its own."""
    raw = write_scenes(tmp_path / "raw")
    write_raster(raw / "masks/s0.tif", mask, **profile)
    return raw


def test_values_become_sorted_classes_and_the_rest_is_unknown(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[10:40, 20:70] = CLOUD
    mask[60:80, 30:200] = SHADOW
    mask[:3] = IGNORED
    raw = folder_of(tmp_path, mask)
    picture = picture_of(cloud_mask())
    picture[:, :, 200:] = 0
    write_raster(raw / "tiles/s0.tif", picture, nodata=0)
    catalog = coverage_catalog(raw, mask_values=VALUES)
    assert catalog.classes == ["cloud", "shadow"]
    expected = np.zeros(SHAPE, np.uint8)
    expected[mask == CLOUD] = 1
    expected[mask == SHADOW] = 2
    expected[mask == IGNORED] = UNKNOWN
    expected[:, 200:] = UNKNOWN
    np.testing.assert_array_equal(class_map_of(catalog, "s0"), expected)


def test_the_catalog_comes_back_as_it_was_written(tmp_path: Path) -> None:
    catalog = coverage_catalog(write_scenes(tmp_path / "raw"))
    again = load_catalog(tmp_path / "catalog")
    assert again.is_coverage
    assert again.classes == catalog.classes
    assert [row.class_map for row in again] == [row.class_map for row in catalog]
    assert sorted(row.split for row in again) == ["test", "train", "val"]


def test_shares_in_the_report_are_those_of_the_masks(tmp_path: Path) -> None:
    catalog = coverage_catalog(write_scenes(tmp_path / "raw"))
    table = {row["scene"]: row for row in catalog.report.coverage_table or []}
    for number in range(3):
        share = cloud_mask(seed=number).mean()
        assert table[f"s{number}"]["cloud"] == pytest.approx(share, abs=1e-4)
        assert table[f"s{number}"]["known"] == 1.0


@pytest.mark.parametrize(
    "name", ["masks/{}.png", "{}_mask.tif", "tiles/{}-mask.tif", "Mask/{}.tif"]
)
def test_a_class_raster_is_found_by_its_folder_or_its_mark(tmp_path: Path, name: str) -> None:
    raw = tmp_path / "raw"
    for number in range(3):
        mask = cloud_mask(seed=number)
        write_raster(raw / f"tiles/s{number}.tif", picture_of(mask), transform=place(number))
        driver = "PNG" if name.endswith("png") else "GTiff"
        write_raster(
            raw / name.format(f"s{number}"),
            np.where(mask, CLOUD, 0).astype(np.uint8),
            driver=driver,
            crs=None,
            transform=None,
        )
    catalog = coverage_catalog(raw)
    assert len(catalog.scenes) == 3
    np.testing.assert_array_equal(class_map_of(catalog, "s1"), cloud_mask(seed=1))


def test_a_pattern_finds_class_rasters_of_any_name(tmp_path: Path) -> None:
    raw = write_scenes(tmp_path / "raw")
    for number in range(3):
        path = raw / f"masks/s{number}.tif"
        path.rename(raw / f"tiles/s{number}_fmask4.tif")
    (raw / "masks").rmdir()
    catalog = coverage_catalog(raw, masks="*_fmask4.tif")
    assert catalog.scenes["labeled"].tolist() == [True, True, True]


def test_a_scene_without_a_class_raster_is_not_labeled(tmp_path: Path) -> None:
    raw = write_scenes(tmp_path / "raw", n_scenes=4)
    (raw / "masks/s2.tif").unlink()
    catalog = coverage_catalog(raw)
    assert catalog.report.unlabelled_scenes == ["s2"]
    assert next(row for row in catalog if row.scene == "s2").class_map is None


def test_areas_decide_what_is_known(tmp_path: Path) -> None:
    raw = write_scenes(tmp_path / "raw")

    def area(left: int, top: int, right: int, bottom: int) -> shapely.Geometry:
        at = place(0)
        return shapely.box(*(at @ (left, bottom)), *(at @ (right, top)))

    roles = ["complete", "positive_only", "ignore"]
    shapes = [area(0, 0, 100, 150), area(100, 0, 160, 150), area(20, 30, 50, 60)]
    frame = geopandas.GeoDataFrame({"role": roles}, geometry=shapes, crs="EPSG:32633")
    frame.to_file(raw / "areas.gpkg", layer="areas")
    catalog = coverage_catalog(raw, areas="areas.gpkg")
    expected = cloud_mask(seed=0).astype(np.uint8)
    positive_only = expected[:, 100:160]
    positive_only[positive_only == 0] = UNKNOWN
    expected[:, 160:] = UNKNOWN
    expected[30:60, 20:50] = UNKNOWN
    np.testing.assert_array_equal(class_map_of(catalog, "s0"), expected)


def test_polygons_are_rasterized_by_the_middle_of_each_px(tmp_path: Path) -> None:
    raw = write_scenes(tmp_path / "raw")
    for path in (raw / "masks").iterdir():
        path.unlink()
    triangle = shapely.Polygon([(-20.0, 30.0), (150.3, 10.7), (60.2, 140.9)])  # px of s0
    rows = []
    for number in range(3):
        at = place(number)
        moved = shapely.transform(
            triangle, lambda xy, at=at: np.array([at @ (x, y) for x, y in xy])
        )
        rows.append(moved)
    frame = geopandas.GeoDataFrame({"class": ["fog"] * 3}, geometry=rows, crs="EPSG:32633")
    frame.to_file(raw / "labels.gpkg", layer="labels")
    catalog = coverage_catalog(raw, mask_values={}, classes={"fog": "cloud"})
    x, y = np.meshgrid(np.arange(SHAPE[1]) + 0.5, np.arange(SHAPE[0]) + 0.5)
    inside = shapely.contains_xy(triangle, x, y)
    np.testing.assert_array_equal(class_map_of(catalog, "s0"), inside)


def test_blocks_of_a_scene_have_their_part_of_its_class_map(tmp_path: Path) -> None:
    shape = (400, 700)
    raw = write_scenes(tmp_path / "raw", n_scenes=1, shape_hw=shape)
    catalog = coverage_catalog(raw, spatial_block_m=2000.0, guard_m=640.0)
    assert len(catalog.scenes) > 3
    whole = cloud_mask(shape, 0)
    for row in catalog:
        top, left = row.origin_row_px, row.origin_col_px
        part = whole[top : top + row.height_px, left : left + row.width_px]
        np.testing.assert_array_equal(class_map_of(catalog, row.scene), part)


def faulty(kind: str, raw: Path) -> None:
    """Write one class raster that cannot be used."""
    mask = np.zeros(SHAPE, np.uint8)
    path = raw / "masks/s0.tif"
    if kind == "size":
        write_raster(path, np.zeros((SHAPE[0], SHAPE[1] + 1), np.uint8))
    elif kind == "system":
        write_raster(path, mask, crs="EPSG:32634")
    elif kind == "place":
        write_raster(path, mask, transform=place(1))
    elif kind == "values":
        mask[5, 5] = 9
        write_raster(path, mask)
    elif kind == "bands":
        write_raster(path, np.zeros((3, *SHAPE), np.uint8))
    elif kind == "type":
        write_raster(path, mask.astype(np.float32))
    elif kind == "broken":
        path.write_bytes(b"II*\x00 no raster")
    elif kind == "two":
        write_raster(raw / "tiles/s0_mask.tif", mask)
    elif kind == "ignored":
        for number in range(3):
            everything = np.full(SHAPE, IGNORED, np.uint8)
            write_raster(raw / f"masks/s{number}.tif", everything, transform=place(number))


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("size", r"s0\.tif: has 211 x 150 px, but its raster .* has 210 x 150 px\. Bring"),
        ("system", r"s0\.tif: is in the system EPSG:32634, but its raster .* Bring"),
        ("place", r"s0\.tif: its corners are up to 2e\+03 px off those of its raster"),
        ("values", r"s0\.tif: holds the value 9, which is neither in `scenes\.mask_values`"),
        ("bands", r"s0\.tif: a class raster has one band of class numbers, and this one has 3"),
        ("type", r"s0\.tif: a class raster holds whole numbers, and this one float32"),
        ("broken", r"s0\.tif: cannot be read"),
        ("two", r"s0(_mask)?\.tif and .* are both class rasters of s0"),
        ("ignored", r"No pixel of any class raster is known"),
    ],
)
def test_a_faulty_class_raster_is_named_in_a_sentence(
    tmp_path: Path, kind: str, sentence: str
) -> None:
    raw = write_scenes(tmp_path / "raw")
    faulty(kind, raw)
    with pytest.raises(WindhoverError, match=sentence):
        coverage_catalog(raw)


def test_nodata_is_not_known_and_ignored_classes_neither(tmp_path: Path) -> None:
    mask = np.full(SHAPE, 7, np.uint16)
    mask[:50] = 0
    mask[50:80] = CLOUD
    mask[80:100] = SHADOW
    raw = folder_of(tmp_path, mask, nodata=7)
    catalog = coverage_catalog(raw, mask_values=VALUES, ignore_classes=["shadow"])
    assert catalog.classes == ["cloud"]
    expected = np.full(SHAPE, UNKNOWN, np.uint8)
    expected[:50] = 0
    expected[50:80] = 1
    np.testing.assert_array_equal(class_map_of(catalog, "s0"), expected)


def test_values_must_be_named(tmp_path: Path) -> None:
    raw = write_scenes(tmp_path / "raw")
    with pytest.raises(DataError, match=r"what its values mean is not known\. Name them"):
        coverage_catalog(raw, mask_values={})


def test_a_pattern_without_a_file_is_named(tmp_path: Path) -> None:
    raw = write_scenes(tmp_path / "raw")
    with pytest.raises(MissingFileError, match=r"`scenes\.masks`: \*_cld\.tif matches no raster"):
        coverage_catalog(raw, masks="*_cld.tif")


def test_class_rasters_of_no_scene_are_told_once(tmp_path: Path) -> None:
    raw = write_scenes(tmp_path / "raw")
    write_raster(raw / "masks/elsewhere.tif", np.zeros(SHAPE, np.uint8))
    notes = coverage_catalog(raw).report.notes
    assert sum("are of no raster" in note and "1 class rasters" in note for note in notes) == 1


@settings(max_examples=25, deadline=None)
@given(
    ratio=st.sampled_from([0.5, 1.0, 1.7, 2.0, 3.3]),
    row=st.integers(-9, 90),
    col=st.integers(-9, 90),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_a_class_map_is_read_at_any_gsd_by_the_middle_of_each_px(
    tmp_path_factory: pytest.TempPathFactory,
    ratio: float,
    row: int,
    col: int,
    size: tuple[int, int],
) -> None:
    native = np.random.default_rng(3).integers(0, 4, (71, 113)).astype(np.uint8)
    path = write_raster(tmp_path_factory.mktemp("map") / "m.tif", native)
    shape = (round(71 / ratio), round(113 / ratio))
    with ClassMap(path, (ratio, ratio), shape) as class_map:
        part = class_map.read(row, col, *size)
    assert part.shape == size
    for i in range(0, size[0], 7):
        for j in range(0, size[1], 5):
            y, x = row + i, col + j
            expected = UNKNOWN
            if 0 <= y < shape[0] and 0 <= x < shape[1]:
                expected = native[min(int((y + 0.5) * ratio), 70), min(int((x + 0.5) * ratio), 112)]
            assert part[i, j] == expected


def test_counts_in_cells_are_those_of_their_px() -> None:
    classes = np.random.default_rng(1).choice([0, 1, 2, UNKNOWN], (23, 37)).astype(np.uint8)
    counts = class_counts(classes, 5, 2)
    assert counts.shape == (3, 4, 7)
    for number in range(3):
        for i in range(4):
            for j in range(7):
                cell = classes[5 * i : 5 * i + 5, 5 * j : 5 * j + 5]
                assert counts[number, i, j] == (cell == number).sum()


def test_a_class_map_that_is_gone_is_named(tmp_path: Path) -> None:
    catalog = coverage_catalog(write_scenes(tmp_path / "raw"))
    row = next(iter(catalog))
    Path(str(row.class_map)).unlink()
    with (
        open_catalog_scene(row, GSD_M) as scene,
        pytest.raises(MissingFileError, match="the class map of a scene is gone"),
    ):
        open_class_map(row, scene)


def test_class_rasters_are_imported_with_pictures_and_again(tmp_path: Path) -> None:
    raw = write_scenes(tmp_path / "raw")
    masks = tmp_path / "masks"
    (raw / "masks").rename(masks)
    lines: list[str] = []
    options = ImportOptions(mask_values=parse_mask_values("0=background, 4=cloud"))
    for _ in range(2):
        catalog = import_labels(masks, raw, tmp_path / "out", options=options, report=lines.append)
    assert catalog.classes == ["cloud"]
    assert catalog.scenes["labeled"].all()
    page = (tmp_path / "out/report.html").read_text()
    assert "Shares of the classes" in page
    assert page.count("data:image/jpeg") == 3
    assert "3 with a class map of cloud" in lines[0]


def test_one_class_raster_is_inspected_with_its_raster(tmp_path: Path) -> None:
    raw = write_scenes(tmp_path / "raw", n_scenes=1)
    options = ImportOptions(mask_values={0: "background", CLOUD: "cloud"}, mask_ignore=(255,))
    catalog = import_labels(
        raw / "masks/s0.tif",
        raw / "tiles/s0.tif",
        tmp_path / "out",
        options=options,
        report=[].append,
    )
    assert catalog.scenes["labeled"].tolist() == [True]


@pytest.mark.parametrize(
    "text", ["0", "a=cloud", "1=", "0=background;1=cloud", "--1=cloud", "²=cloud"]
)
def test_mask_values_that_cannot_be_read_are_named(text: str) -> None:
    with pytest.raises(ParameterError, match="--mask-values must read VALUE=CLASS"):
        parse_mask_values(text)


def test_ignored_values_that_cannot_be_read_are_named() -> None:
    with pytest.raises(ParameterError, match="--mask-ignore must be whole numbers"):
        parse_mask_ignore("255,none")


def test_a_value_with_two_meanings_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="names the value 1 twice, as cloud and as snow"):
        parse_mask_values("0=background,1=cloud,1=snow")
    raw = write_scenes(tmp_path / "raw", n_scenes=1)
    options = ImportOptions(mask_values={0: "background", CLOUD: "cloud"}, mask_ignore=(CLOUD,))
    with pytest.raises(ParameterError, match=f"--mask-values and --mask-ignore both .* {CLOUD}"):
        import_labels(raw, raw, tmp_path / "out", options=options, report=print)
    assert not (tmp_path / "out").exists()
