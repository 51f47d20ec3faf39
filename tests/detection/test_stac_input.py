"""STAC items as scenes: the asset with the model's bands, and nothing that is not said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from windhover.detection.stac_input import StacScene, read_stac_scenes
from windhover.errors import DataError, FormatError, MissingFileError

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
    expected = StacScene("one", str(tmp_path / "x.tif"), "2020-05-06T07:08:09Z", ("3", "2", "1"))
    assert read_stac_scenes(written(tmp_path, item()), RGB) == [expected]
    both = {"type": "FeatureCollection", "features": [item(), item("two")]}
    scenes = read_stac_scenes(written(tmp_path, both), RGB)
    assert [scene.name for scene in scenes] == ["one", "two"]


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
        ({"type": "FeatureCollection", "features": []}, "holds no item"),
    ],
)
def test_an_item_that_does_not_fit_is_one_sentence(
    tmp_path: Path, content: Any, match: str
) -> None:
    with pytest.raises(DataError, match=match):
        read_stac_scenes(written(tmp_path, content), RGB)


def test_what_is_no_stac_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        read_stac_scenes(tmp_path / "none.json", RGB)
    with pytest.raises(FormatError, match="is no STAC that can be read"):
        read_stac_scenes(written(tmp_path, {"a": 1}), RGB)
    (tmp_path / "bad.parquet").write_bytes(b"bad")
    with pytest.raises(FormatError, match="is no stac-geoparquet"):
        read_stac_scenes(tmp_path / "bad.parquet", RGB)
