"""Scenes of a catalog: places, splits, stacked bands, and real folders as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import MakeScene
from toy_places import catalog_of, write_labels
from windhover.dataset.catalog import open_catalog_scene
from windhover.errors import DataError, FormatError, MissingFileError


def test_groups_give_place_and_split(three_places: Path) -> None:
    (three_places / "raw/places.csv").write_text(
        "scene,place,split\ns0.tif,north,test\ns1,south,\ns2,east,train\n"
    )
    catalog = catalog_of(three_places, groups="places.csv")
    assert catalog.scenes["place"].tolist() == ["north", "south", "east"]
    assert catalog.scenes["split"].tolist() == ["test", "val", "train"]
    with pytest.raises(
        FormatError, match="has no column 'airport'; its columns are scene, place, split"
    ):
        catalog_of(three_places, groups="places.csv", group_column="airport")
    with pytest.raises(MissingFileError, match=r"none\.csv does not exist"):
        catalog_of(three_places, groups="none.csv")


def test_fixed_splits_are_kept_and_checked(three_places: Path) -> None:
    splits = catalog_of(three_places, fixed_splits={"s2": "val"}).scenes.set_index("scene")["split"]
    assert splits["s2"] == "val"
    with pytest.raises(DataError, match="names the place 'elsewhere', which no raster has"):
        catalog_of(three_places, fixed_splits={"elsewhere": "val"})


def test_scenes_that_overlap_share_a_split(three_places: Path, make_scene: MakeScene) -> None:
    scene = make_scene("raw/t.tif", origin=(4e5 + 100, 5e6 + 50))
    write_labels(three_places / "raw/labels/t.gpkg", scene, [(10, 20, 40, 50)])
    catalog = catalog_of(three_places)
    assert catalog.report.places_joined_because_footprints_touch == [("s0", "t")]
    assert (
        catalog.scenes.set_index("scene")["split"]["t"]
        == catalog.scenes.set_index("scene")["split"]["s0"]
    )
    with pytest.raises(DataError, match="Give them one split"):
        catalog_of(three_places, fixed_splits={"s0": "train", "t": "test"})


def build_mosaic(target: Path, tiles: list[Path], size_px: int) -> None:
    """Write what gdalbuildvrt writes of square tiles in one row."""
    import rasterio

    with rasterio.open(tiles[0]) as dataset:
        crs, transform = dataset.crs.to_wkt(), ", ".join(map(repr, dataset.transform.to_gdal()))
    rect = f'xSize="{size_px}" ySize="{size_px}"'
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}">'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{tile.name}</SourceFilename>'
            f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" {rect}/>'
            f'<DstRect xOff="{number * size_px}" yOff="0" {rect}/></SimpleSource>'
            for number, tile in enumerate(tiles)
        )
        + "</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    target.write_text(
        f'<VRTDataset rasterXSize="{size_px * len(tiles)}" rasterYSize="{size_px}"><SRS>{crs}</SRS>'
        f"<GeoTransform>{transform}</GeoTransform>{bands}</VRTDataset>"
    )


def test_tiles_that_touch_are_divided_through_a_mosaic_of_them(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    size = 160
    tiles = [
        make_scene(
            f"raw/t{number}.tif",
            shape_hw=(size, size),
            origin=(4e5 + 1.25 * size * number, 5e6),
            seed=number,
        )
        for number in range(3)
    ]
    for tile in tiles:
        write_labels(tile.with_suffix(".gpkg"), tile, [(60, 60, 90, 90)])
    sentence = (
        r"touch or overlap are one place, such as t0 and t1\. To divide .*gdalbuildvrt "
        r"mosaic\.vrt.*`scenes\.spatial_block_m`"
    )
    with pytest.raises(DataError, match=sentence):
        catalog_of(tmp_path)
    with pytest.raises(DataError, match=sentence):
        catalog_of(tmp_path, folds=3)
    build_mosaic(tmp_path / "raw/mosaic.vrt", tiles, size)
    catalog = catalog_of(tmp_path, rasters="mosaic.vrt", labels="*.gpkg", spatial_block_m=200.0)
    assert catalog.scenes["place"].tolist() == ["mosaic~r0c0", "mosaic~r0c1", "mosaic~r0c2"]
    assert set(catalog.scenes["split"]) == {"train", "val", "test"}
    assert len(catalog.labels) == 3
    import rasterio

    with open_catalog_scene(next(row for row in catalog if row.scene == "mosaic~r0c1")) as block:
        array, _ = block.read(0, 0, *block.shape_hw)
    with rasterio.open(tiles[1]) as dataset:
        assert (array == dataset.read()[:, :, 32:128]).all()  # half a guard strip off each side


def test_scenes_far_apart_are_not_said_to_touch(three_places: Path) -> None:
    (three_places / "raw/s2.tif").unlink()
    (three_places / "raw/labels/s2.gpkg").unlink()
    with pytest.raises(DataError, match="2 places cannot be divided") as caught:
        catalog_of(three_places)
    assert "gdalbuildvrt" not in caught.value.sentence()


def test_stacked_bands_without_georeference_take_the_stated_gsd(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    for place in ("north", "south"):
        for band in ("B02", "B08"):
            last = make_scene(f"raw/{place}/x_{band}.tif", bands=1, crs=None)
    (tmp_path / "raw/labels.csv").write_text(
        "image,xmin,ymin,xmax,ymax\nnorth,1,2,30,40\nsouth,1,2,30,40\n"
    )
    choice = {"stack": {"B02": "*_B02.tif", "B08": "*_B08.tif"}, "split_fractions": [0.5, 0.0, 0.5]}
    catalog = catalog_of(tmp_path, native_gsd_m=0.5, **choice)
    assert catalog.scenes["gsd_x_m"].tolist() == [0.5, 0.5]
    with pytest.raises(
        DataError, match=r"raw/north: has no georeference and no GSD is stated"
    ) as caught:
        catalog_of(tmp_path, **choice)
    assert "made" not in caught.value.sentence()
    last.write_bytes(last.read_bytes()[:20_000])
    with pytest.raises(
        FormatError, match=r"scene south: cannot read rows 0 to 150.*x_B08\.tif"
    ) as caught:
        catalog_of(tmp_path, native_gsd_m=0.5, **choice)
    assert "made" not in caught.value.sentence()


def test_single_bands_are_stacked_and_named_by_their_folder(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    planes = {}
    for number, place in enumerate(("north", "south", "east")):
        for band in ("B02", "B08"):
            path = make_scene(
                f"raw/{place}/x_{band}_(Raw).tif",
                bands=1,
                dtype="uint16",
                origin=(4e5 + 1e4 * number, 5e6),
                seed=hash(band) % 9,
            )
            planes[place, band] = path
        make_scene(f"raw/{place}/{place}_rgb.tif", origin=(4e5 + 1e4 * number, 5e6))
    (tmp_path / "raw/labels.csv").write_text(
        "image,xmin,ymin,xmax,ymax\nnorth_rgb.tif,1,2,30,40\nsouth_rgb.tif,1,2,30,40\n"
        "east_rgb.tif,1,2,30,40\n"
    )
    stack = {"B08": "*_B08_(Raw).tif", "B02": "*_B02_(Raw).tif"}
    catalog = catalog_of(tmp_path, stack=stack)
    assert catalog.scenes["scene"].tolist() == ["east", "north", "south"]
    assert catalog.bands == ["B08", "B02"]
    assert catalog.labels["scene"].tolist() == ["east", "north", "south"]
    row = next(one for one in catalog if one.scene == "north")
    with open_catalog_scene(row) as scene:
        assert scene.info.shape_hw == (150, 210)
        array, _ = scene.read(0, 0, 150, 210)
    import rasterio

    with rasterio.open(planes["north", "B08"]) as dataset:
        assert (array[0] == dataset.read(1)).all()
    parts = catalog_of(tmp_path, stack=stack, spatial_block_m=150.0, guard_m=80.0)
    assert {row.scene for row in parts if row.place.startswith("north")} == {
        "north~r0c0",
        "north~r0c1",
    }
    with open_catalog_scene(next(one for one in parts if one.scene == "north~r0c1")) as block:
        part, _ = block.read(0, 0, *block.shape_hw)
    assert (part == array[:, :, -part.shape[2] :]).all()
    planes["north", "B08"].unlink()
    with pytest.raises(DataError, match=r"north: 0 files match .* for the band B08"):
        catalog_of(tmp_path, stack=stack)


def test_the_airbus_scenes_enter_as_they_are(real_data: Path, tmp_path: Path) -> None:
    catalog = catalog_of(
        tmp_path,
        raw=real_data / "airbus-aircraft",
        native_gsd_m=0.5,
        labels="annotations.csv",
        classes={"Airplane": "aircraft"},
        ignore_classes=["Truncated_airplane"],
        groups="airport_groups.csv",
        group_column="airport",
    )
    report = catalog.report
    assert (report.scenes, report.labels, len(report.unlabelled_scenes)) == (70, 1815, 4)
    assert report.leaving_the_raster == 9
    assert (catalog.labels["role"] == "object").sum() == 1760
    assert catalog.scenes.groupby("place")["split"].nunique().max() == 1


def test_the_ships_enter_as_four_bands(real_data: Path, tmp_path: Path) -> None:
    stack = {band: f"*_{band}_(Raw).tiff" for band in ("B02", "B03", "B04", "B08")}
    catalog = catalog_of(
        tmp_path,
        raw=real_data / "sen2ships",
        stack=stack,
        gsd_m=10.0,
        labels="coco_annotations.json",
        split_fractions=[0.5, 0.0, 0.5],
    )
    assert catalog.scenes["scene"].tolist() == ["casablanca", "honolulu"]
    assert catalog.labels["scene"].value_counts().to_dict() == {"casablanca": 15, "honolulu": 12}
    assert catalog.scenes["gsd_x_m"].round(1).tolist() == [8.3, 9.3]
    assert catalog.labels["length_m"].between(10, 300).all()


def test_the_trees_enter_from_csv_xml_and_shapefile(real_data: Path, tmp_path: Path) -> None:
    one = {"raw": real_data / "neon-trees", "gsd_m": 0.1, "split_fractions": [1.0, 0.0, 0.0]}
    boxes = []
    for labels in ("OSBS_029.csv", "OSBS_029.xml"):
        found = catalog_of(tmp_path, rasters="OSBS_029.tif", labels=labels, **one)
        boxes.append(found.labels[["left", "top", "right", "bottom"]].to_numpy())
    assert len(boxes[0]) == len(boxes[1]) > 50
    assert np.array_equal(boxes[0], boxes[1])
    swapped_columns = catalog_of(tmp_path, rasters="2018*.tif", labels="2018*_truth.csv", **one)
    assert (swapped_columns.labels["right"] > swapped_columns.labels["left"]).all()
    assert (swapped_columns.labels["right"] <= 400).all()
    shape = catalog_of(
        tmp_path, rasters="australia.tif", labels="australia.shp", **(one | {"gsd_m": 0.018})
    )
    assert len(shape.labels) == 1


def test_the_dota_tile_enters(real_data: Path, tmp_path: Path) -> None:
    catalog = catalog_of(
        tmp_path,
        raw=real_data / "dota-plane-tile",
        native_gsd_m=0.5,
        split_fractions=[1.0, 0.0, 0.0],
    )
    assert catalog.labels["class"].tolist() == ["plane"] * len(catalog.labels)
    assert 1 <= len(catalog.labels) <= 4
