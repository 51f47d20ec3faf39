"""STAC items as scenes: the asset with the model's bands, and nothing that is not said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest

from fake_models import write_bundle
from messages import recorded_messages
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest
from windhover.detection.stac_input import StacScene, read_stac_scenes
from windhover.errors import DataError, FormatError, MissingFileError
from windhover.export.detections import read_summary

pytest.importorskip("pystac", reason="needs pystac: pip install 'windhover-eo[stac]'")
RGB = ("red", "green", "blue")


def item(name: str = "one", bands: Any = ("blue", "green", "red"), href: str = "x.tif") -> Any:
    asset = {"href": href, "type": "image/tiff; application=geotiff", "roles": ["data"]}
    asset["eo:bands"] = [{"name": f"B{n}", "common_name": band} for n, band in enumerate(bands)]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": None,
        "properties": {"datetime": "2020-05-06T07:08:09Z"},
        "links": [],
        "assets": {
            "thumb": {"href": "t.png", "type": "image/png", "roles": ["thumbnail"]},
            "data": asset,
        },
    }


def written(folder: Path, content: Any, name: str = "items.json") -> Path:
    (folder / name).write_text(json.dumps(content))
    return folder / name


def test_the_asset_and_its_bands_are_the_models(tmp_path: Path) -> None:
    expected = StacScene(
        "one",
        str(tmp_path / "x.tif"),
        "2020-05-06T07:08:09Z",
        ("3", "2", "1"),
        source=str(tmp_path / "items.json"),
    )
    assert read_stac_scenes(written(tmp_path, item()), RGB) == [expected]
    both = {"type": "FeatureCollection", "features": [item(), item("two")]}
    scenes = read_stac_scenes(written(tmp_path, both), RGB)
    assert [scene.name for scene in scenes] == ["one", "two"]


def item_of_files(folder: Path, named: bool = True, **changed: Any) -> Any:
    """Return an item whose bands are in files of their own, as Sentinel-2's are."""
    content = item()
    content["assets"] = {}
    for name in ("blue", "green", "red", "nir"):
        asset = {"href": f"{name}.tif", "type": "image/tiff", "roles": ["data"]}
        if named:
            asset["eo:bands"] = [{"name": "B", "common_name": name}]
        content["assets"][name] = asset | changed.get(name, {})
    (folder / "items.json").write_text(json.dumps(content))
    return folder / "items.json"


@pytest.mark.parametrize("named", [True, False])
def test_bands_in_files_of_their_own_are_stacked_in_the_models_order(
    make_scene: Any, tmp_path: Path, named: bool
) -> None:
    """A search of the item finds what a search of one raster of these bands finds."""
    write_bundle(tmp_path / "model", threshold=0.5)
    rng = np.random.default_rng(2)
    pixels = {name: rng.integers(1, 255, (1, 150, 210), np.uint8) for name in (*RGB, "nir")}
    for name, data in pixels.items():
        make_scene(f"{name}.tif", data=data)
    whole = make_scene("whole.tif", data=np.concatenate([pixels[name] for name in RGB]))
    source = item_of_files(tmp_path, named)
    for scene, output in ((source, "of_item.parquet"), (whole, "of_raster.parquet")):
        detect_rasters(DetectRequest([str(scene)], tmp_path / "model", tmp_path / output))
    found, wanted = (
        geopandas.read_parquet(tmp_path / name).sort_values(["score", "x", "y"])
        for name in ("of_item.parquet", "of_raster.parquet")
    )
    assert len(found) > 3
    for column in ("score", "x", "y", "col", "row", "length_m"):
        assert found[column].tolist() == wanted[column].tolist()
    assert set(found["scene"]) == {"one"}
    (scene,) = read_summary(tmp_path / "of_item.parquet").scenes
    assert scene.stac_item == str(source)


def test_a_killed_search_of_stacked_bands_is_resumed(
    make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "model", threshold=0.5)
    for name in ("blue", "green", "red"):
        make_scene(f"{name}.tif", bands=1, shape_hw=(150, 330))
    source = item_of_files(tmp_path, nir={"roles": ["thumbnail"]})
    request = DetectRequest([str(source)], tmp_path / "model", tmp_path / "f.parquet", block_px=128)
    detect_rasters(request)
    whole = (tmp_path / "f.parquet").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("windhover.detection.detect_rasters._write_detections", _killed)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            detect_rasters(replace(request, resume=False))
    with recorded_messages() as messages:
        detect_rasters(replace(request, resume=True))
    assert any("going on after" in message for message in messages)
    assert (tmp_path / "f.parquet").read_bytes() == whole


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt("killed")


def test_bands_on_different_grids_are_one_sentence_and_nothing_is_written(
    make_scene: Any, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "model", threshold=0.5)
    for name in ("blue", "green"):
        make_scene(f"{name}.tif", bands=1)
    make_scene("red.tif", bands=1, gsd_m=2.5, shape_hw=(75, 105))
    request = DetectRequest(
        [str(item_of_files(tmp_path))], tmp_path / "model", tmp_path / "f.parquet"
    )
    with pytest.raises(DataError, match=r"item one: .*green\.tif: is on another grid than .*red"):
        detect_rasters(request)
    assert not list(tmp_path.glob("*f.parquet*"))


def test_data_of_the_models_type_is_preferred_to_a_picture(tmp_path: Path) -> None:
    """Sentinel-2 items hold a picture in bytes next to reflectance in files of single bands."""
    reflectance = {"raster:bands": [{"data_type": "uint16"}]}
    content = json.loads(
        item_of_files(tmp_path, **dict.fromkeys((*RGB, "nir"), reflectance)).read_text()
    )
    picture = item(bands=RGB)["assets"]["data"] | {"roles": ["visual"]}
    picture["raster:bands"] = [{"data_type": "uint8"}] * 3
    content["assets"]["visual"] = picture
    source = written(tmp_path, content)
    (data,) = read_stac_scenes(source, RGB, "uint16")
    assert [Path(band.path).stem for band in data.sources] == list(RGB)
    assert data.bands == ("1", "2", "3")
    (shown,) = read_stac_scenes(source, RGB, "uint8")
    assert (Path(shown.path).name, shown.sources) == ("x.tif", ())
    (both,) = read_stac_scenes(source, ("nir", "red"), "uint16")
    assert [band.number for band in both.sources] == [1, 1]


def test_bands_of_stac_1_1_are_read_and_servers_followed(tmp_path: Path) -> None:
    content = item(href="https://example.com/a.tif")
    asset = content["assets"]["data"]
    del asset["eo:bands"]
    asset["bands"] = [{"name": "b", "eo:common_name": name} for name in RGB]
    (scene,) = read_stac_scenes(written(tmp_path, content), RGB)
    assert (scene.path, scene.bands) == ("https://example.com/a.tif", ("1", "2", "3"))


def test_a_collection_is_read_from_disk_alone(tmp_path: Path) -> None:
    collection = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": "c",
        "description": "d",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[0, 0, 1, 1]]},
            "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]},
        },
        "links": [{"rel": "item", "href": "./in/one.json", "type": "application/json"}],
    }
    (tmp_path / "in").mkdir()
    written(tmp_path / "in", item(), "one.json")
    (scene,) = read_stac_scenes(written(tmp_path, collection), RGB)
    assert scene.path == str(tmp_path / "in" / "x.tif")
    collection["links"][0]["href"] = "https://example.com/one.json"
    with pytest.raises(DataError, match=r"not on this disk\. Download the items"):
        read_stac_scenes(written(tmp_path, collection), RGB)


def test_stac_geoparquet_is_read(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {"id": "one", "assets": item()["assets"], "datetime": "2020-05-06T07:08:09Z"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "items.parquet")
    (scene,) = read_stac_scenes(tmp_path / "items.parquet", RGB)
    assert (scene.name, scene.bands) == ("one", ("3", "2", "1"))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (item(bands=("red", "green")), r"item one has no asset with the model's bands"),
        (item(href="/vsicurl/https://a/b.tif"), "neither a file nor at https, http, s3"),
        (item(href="gopher://a/b.tif"), "neither a file nor at https, http, s3"),
        ({**item(), "assets": {}}, "has no asset that is a raster"),
        (
            {**item(), "assets": {"red": {"href": "r.tif"}, "nir": {"href": "n.tif"}}},
            "has no asset",
        ),
        ({"type": "FeatureCollection", "features": []}, "holds no item"),
    ],
)
def test_an_item_that_does_not_fit_is_one_sentence(
    tmp_path: Path, content: Any, match: str
) -> None:
    with pytest.raises(DataError, match=match):
        read_stac_scenes(written(tmp_path, content), RGB)


def test_a_search_of_an_item_without_the_bands_writes_nothing(
    make_scene: Any, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "model", threshold=0.5)
    make_scene("x.tif")
    source = written(tmp_path, item(bands=("coastal", "nir", "swir16")))
    request = DetectRequest([str(source)], tmp_path / "model", tmp_path / "f.gpkg")
    with pytest.raises(DataError, match=r"model's bands \(red, green, blue\); it has data: coas"):
        detect_rasters(request)
    assert not list(tmp_path.glob("*f.gpkg*"))


def test_what_is_no_stac_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        read_stac_scenes(tmp_path / "none.json", RGB)
    with pytest.raises(FormatError, match="is no STAC that can be read"):
        read_stac_scenes(written(tmp_path, {"a": 1}), RGB)
    (tmp_path / "bad.parquet").write_bytes(b"bad")
    with pytest.raises(FormatError, match="is no stac-geoparquet"):
        read_stac_scenes(tmp_path / "bad.parquet", RGB)
