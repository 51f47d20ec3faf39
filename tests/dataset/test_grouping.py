"""A table of places counts for every raster it names, or says which row and raster it misses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from affine import Affine

from conftest import MakeScene
from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.catalog import Catalog
from windhover.dataset.grouping import join_touching
from windhover.errors import DataError
from windhover.geometry.georef import footprint_4326
from windhover.params.scenes import ScenesParams

RASTERS = ("jan/k.tif", "jan/m.tif", "jun/k.tif", "jun/m.tif", "jun/n.tif")


@pytest.fixture
def two_dates(tmp_path: Path, make_scene: MakeScene) -> Path:
    """Rasters of two dates with the same names, without georeference, one label each."""
    for name in RASTERS:
        make_scene(f"raw/{name}", crs=None, shape_hw=(90, 80))
    rows = "".join(f"{name},10,10,30,30,ship\n" for name in RASTERS)
    (tmp_path / "raw/labels.csv").write_text(f"image,xmin,ymin,xmax,ymax,class\n{rows}")
    return tmp_path


def catalog_of(tmp_path: Path, places: str, **changes: Any) -> Catalog:
    (tmp_path / "raw/spots.csv").write_text(places)
    out = tmp_path / "made"
    out.mkdir(exist_ok=True)
    values = {"labels": "labels.csv", "groups": "spots.csv", "native_gsd_m": 1.0} | changes
    return build_catalog(ScenesParams(raw=str(tmp_path / "raw"), **values), out, out)


def test_clashing_names_are_told_apart_by_their_folders(two_dates: Path) -> None:
    rows = "".join(f"{name},{Path(name).stem}\n" for name in RASTERS)
    catalog = catalog_of(two_dates, f"image,place\n{rows}")
    place_of = dict(zip(catalog.scenes["scene"], catalog.scenes["place"], strict=True))
    assert place_of["jan--k"] == place_of["jun--k"] == "k"
    assert place_of["jan--m"] == place_of["jun--m"] == "m"
    assert len(catalog.labels) == len(RASTERS)
    assert catalog.report.notes == []
    assert catalog.scenes.groupby("place")["split"].nunique().max() == 1


def test_rows_and_rasters_without_a_counterpart_are_told(two_dates: Path) -> None:
    catalog = catalog_of(
        two_dates, "image ; place\njan/k ;a\njun/k.tif; a\njun/m.tif;b\njun/zz.tif;b\njun/n.tif;\n"
    )
    assert catalog.report.notes == [
        "spots.csv: 1 of 5 rows name no raster ('jun/zz.tif')",
        "spots.csv: 1 rasters are not named in it, each is a place of its own ('jan--m')",
    ]
    assert catalog.scenes["place"].tolist() == ["a", "jan--m", "a", "b", "n"]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("k.tif,a,\n", r"line 2: 'k\.tif' may be jan--k or jun--k\. Write the folder"),
        ("jun/n.tif,a,\nn,b,\n", r"line 3: the raster n.* has the place 'b', but line 2 .* 'a'"),
        ("jun/n.tif,a,val\njun/n,a,test\n", r"line 3: .* the split test, but line 2 .* split val"),
        ("jun/n.tif,a,\njun/N.TIF,b,\n", r"line 3: 'jun/N\.TIF' names no raster, but jun/n\.tif"),
        ("x,a,\ny,b,\n", r"none of its 2 rows names a raster .*the first is 'x'"),
    ],
)
def test_what_decides_a_split_wrongly_is_refused(two_dates: Path, rows: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        catalog_of(two_dates, f"image,place,split\n{rows}")


def test_the_column_that_names_rasters_is_taken(two_dates: Path) -> None:
    rows = "".join(f"{number},{name},p{number}\n" for number, name in enumerate(RASTERS))
    catalog = catalog_of(two_dates, f"image_id,file_name,place\n{rows}")
    assert sorted(catalog.scenes["place"]) == ["p0", "p1", "p2", "p3", "p4"]


@pytest.mark.parametrize(("gsd_y_m", "is_one"), [(4.0, True), (2.0, False)])
def test_a_gap_of_less_than_the_longer_side_of_a_px_is_none(gsd_y_m: float, is_one: bool) -> None:
    footprints = []
    for left in (4e5, 4e5 + 100 + 3, 5e5):  # 3 m between the first two, 100 m wide each
        transform = Affine(0.5, 0, left, 0, -gsd_y_m, 5e6)
        footprints.append(footprint_4326(transform, "EPSG:32631", (40, 200)))
    wkt = [None if shape is None else shape.wkt for shape in footprints]
    scenes = pd.DataFrame({"footprint_wkt_4326": wkt, "gsd_x_m": 0.5, "gsd_y_m": gsd_y_m})
    names, pairs = join_touching(["p", "q", "r"], scenes)
    assert names == (["p", "p", "r"] if is_one else ["p", "q", "r"])
    assert pairs == ([("p", "q")] if is_one else [])


def test_rasters_with_and_without_a_place_on_earth_are_one_catalog(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    make_scene("raw/here.tif", shape_hw=(90, 80))
    make_scene("raw/nowhere.tif", crs=None, shape_hw=(90, 80))
    rows = "".join(f"{name}.tif,10,10,30,30,ship\n" for name in ("here", "nowhere"))
    (tmp_path / "raw/labels.csv").write_text(f"image,xmin,ymin,xmax,ymax,class\n{rows}")
    places = "scene,place,split\nhere,one,train\nnowhere,two,val\n"
    catalog = catalog_of(tmp_path, places, group_column="place")
    assert {row.scene: (row.place, row.split) for row in catalog} == {
        "here": ("one", "train"),
        "nowhere": ("two", "val"),
    }
