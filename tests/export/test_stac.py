"""A result as STAC: valid by the core schema, links to what it comes from, times and places."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from fake_models import write_bundle
from toy_results import BOX, searched
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest
from windhover.export import stac
from windhover.export.export_map import (
    ExportRequest,
    export_file,
    export_result,
    model_item,
    require_model_item,
)
from windhover.export.write_detections import write_detections

pystac = pytest.importorskip("pystac", reason="needs pystac: pip install 'windhover-eo[stac]'")


def test_a_result_is_a_valid_collection(make_scene: Any, tmp_path: Path) -> None:
    from pystac.validation import validate_dict

    table, summary = searched([make_scene("a.tif"), make_scene("b.tif")], BOX)
    write_bundle(tmp_path / "model")
    request = ExportRequest(
        tmp_path / "out", ("parquet", "stac"), model_item=model_item(tmp_path / "model")
    )
    export_result(table, summary, request)
    collection = pystac.Collection.from_file(str(tmp_path / "out/stac/collection.json"))
    validate_dict(collection.to_dict(), extensions=[])  # those of extensions are on the network
    items = list(collection.get_items())
    assert [item.id for item in items] == ["a", "b"]
    for item in items:
        validate_dict(item.to_dict(), extensions=[])
        assert Path(item.assets["detections"].get_absolute_href()).is_file()
        assert item.properties["proj:code"] == "EPSG:32631"
        assert item.properties["proj:shape"] == [150, 210]
        source, of_model = item.get_links("derived_from")
        assert source.href.endswith(f"{item.id}.tif")
        assert of_model.href == (tmp_path / "model" / "model.json").as_uri()
    assert collection.get_single_link("derived_from").href == of_model.href
    assert items[0].properties["windhover:objects"] == 1


def test_one_item_is_in_memory_at_a_time(
    make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, summary = searched([make_scene(f"{name}.tif") for name in "abcd"], BOX)
    made: list[weakref.ref[Any]] = []
    n_alive = []

    def make_item(*arguments: Any) -> Any:
        gc.collect()
        n_alive.append(sum(item() is not None for item in made))
        item = of_scene(*arguments)
        made.append(weakref.ref(item))
        return item

    of_scene = stac._item
    monkeypatch.setattr(stac, "_item", make_item)
    stac.write_stac(summary, tmp_path / "stac", detections_href="../found.parquet")
    assert n_alive == [0, 1, 1, 1]  # the one before is forgotten when its name is given anew
    collection = pystac.Collection.from_file(str(tmp_path / "stac" / "collection.json"))
    assert [item.id for item in collection.get_items()] == list("abcd")


def test_score_maps_that_a_search_wrote_are_assets_with_their_own_grid(
    make_scene: Any, tmp_path: Path
) -> None:
    from pystac.validation import validate_dict

    write_bundle(tmp_path / "model", threshold=0.5)
    scenes = []
    for name, shape_hw in (("a", (150, 210)), ("b", (90, 300))):
        scenes.append(str(make_scene(f"{name}.tif", shape_hw=shape_hw)))
        clouds = np.zeros((1, *shape_hw), np.uint8)
        clouds[:, :40, :60] = 1
        make_scene(f"clouds/{name}_mask.tif", data=clouds)
    found = tmp_path / "found.parquet"
    detect_rasters(
        DetectRequest(
            scenes,
            tmp_path / "model",
            found,
            scores=tmp_path / "maps",
            mask=tmp_path / "clouds",
            mask_values=("1",),
        )
    )
    request = ExportRequest(tmp_path / "deep" / "out", ("parquet", "stac"))
    (tmp_path / "deep").mkdir()
    assert not any("not in STAC" in line for line in export_file(found, request))
    for name in "ab":
        item = pystac.Item.from_file(str(tmp_path / f"deep/out/stac/{name}/{name}.json"))
        validate_dict(item.to_dict(), extensions=[])
        asset = item.assets["scores"]
        assert not asset.href.startswith(("/", "file:"))
        with rasterio.open(asset.get_absolute_href()) as dataset:
            fields = asset.extra_fields
            assert fields["proj:shape"] == [dataset.height, dataset.width]
            assert fields["proj:transform"][:6] == list(dataset.transform)[:6]
            assert fields["bands"][0]["name"] == dataset.descriptions[0]
            assert fields["bands"][0]["nodata"] == 255
        assert asset.roles == ["data", "probability"]
        mask = item.assets["mask"]
        assert mask.roles == ["data", "mask"]
        assert Path(mask.get_absolute_href()) == tmp_path / f"clouds/{name}_mask.tif"
    (tmp_path / "maps" / "b.tif").unlink()
    lines = export_file(found, request)
    assert any("1 raster not in STAC" in line for line in lines)
    item = pystac.Item.from_file(str(tmp_path / "deep/out/stac/b/b.json"))
    assert set(item.assets) == {"detections", "mask"}


def test_a_local_grid_has_no_place_in_stac(make_scene: Any, tmp_path: Path) -> None:
    found = searched([make_scene("l.png", crs=None, driver="PNG")], BOX, gsd=0.5)
    export_result(*found, ExportRequest(tmp_path / "out", ("stac",)))
    item = pystac.Item.from_file(str(tmp_path / "out/stac/l/l.json"))
    assert (item.geometry, item.bbox) == (None, None)


def test_an_export_replaces_its_own_and_nothing_else(make_scene: Any, tmp_path: Path) -> None:
    from windhover.errors import ParameterError

    write_detections(*searched([make_scene()], BOX), tmp_path / "found.parquet")
    request = ExportRequest(tmp_path / "out", ("csv", "stac", "counts"))
    export_file(tmp_path / "found.parquet", request)
    export_file(tmp_path / "found.parquet", request)
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ParameterError, match="would be replaced whole"):
        export_file(tmp_path / "found.parquet", request)
    assert (tmp_path / "out" / "mine.txt").is_file()
    with pytest.raises(ParameterError, match="--formats must be of gpkg"):
        export_file(tmp_path / "found.parquet", ExportRequest(tmp_path / "new", ("shp",)))


def test_items_link_to_a_table_and_a_model_that_are_there(make_scene: Any, tmp_path: Path) -> None:
    from windhover.errors import MissingFileError

    write_detections(*searched([make_scene("a.tif")], BOX), tmp_path / "found.parquet")
    request = ExportRequest(tmp_path / "out", ("stac", "csv", "stac"))
    lines = export_file(tmp_path / "found.parquet", request)
    assert len(lines) == 3
    item = pystac.Item.from_file(str(tmp_path / "out/stac/a/a.json"))
    assert Path(item.assets["detections"].get_absolute_href()).is_file()
    assert require_model_item(None) is None
    with pytest.raises(MissingFileError, match=r"holds no model\.json"):
        require_model_item(tmp_path / "nowhere")


def test_areas_that_no_format_counts_in_are_a_sentence(make_scene: Any, tmp_path: Path) -> None:
    from windhover.errors import ParameterError

    write_detections(*searched([make_scene()], BOX), tmp_path / "found.parquet")
    request = ExportRequest(tmp_path / "out", ("csv",), areas=tmp_path / "areas.gpkg")
    with pytest.raises(ParameterError, match="Add it: --formats csv,counts"):
        export_file(tmp_path / "found.parquet", request)


@pytest.mark.parametrize("name", ["a#b?c%20d", "../../evil", "S2/A", ".."])
def test_items_of_any_name_are_in_folders_of_their_own(
    make_scene: Any, tmp_path: Path, name: str
) -> None:
    table, summary = searched([make_scene("a.tif")], BOX)
    scene = summary.scenes[0].model_copy(update={"scene": name})
    named = summary.model_copy(update={"scenes": [scene]})
    table["scene"] = name
    export_result(table, named, ExportRequest(tmp_path / "deep" / "out", ("stac",)))
    collection = pystac.Collection.from_file(str(tmp_path / "deep/out/stac/collection.json"))
    (item,) = collection.get_items()
    assert item.id == name
    place = Path(item.get_self_href()).resolve()
    assert place.parent.parent == (tmp_path / "deep/out/stac").resolve()
    assert Path(item.assets["detections"].get_absolute_href()).is_file()
