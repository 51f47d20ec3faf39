"""Searches of what real folders hold: lists, overlaps, stale journals, outputs of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
from geopandas.testing import assert_geodataframe_equal

from fake_models import write_bundle
from messages import recorded_messages
from windhover.detection import detect_rasters as flow
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest, expand_scenes
from windhover.detection.overlaps import overlapping_scenes
from windhover.errors import DataError, FormatError, MissingFileError, ParameterError
from windhover.files import lock_output
from windhover.imagery.rasters import inspect_scene
from windhover.inference.detector import Detector


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "model", threshold=0.6)
    return tmp_path / "model"


def write_foreign_layer(path: Path) -> None:
    mine = geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.box(0, 0, 9, 9)], crs="EPSG:32631")
    mine.to_file(path, layer="my_fields")


def test_a_map_with_layers_of_others_is_kept_and_an_own_one_is_replaced(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    scene = str(make_scene(shape_hw=(90, 90)))
    request = DetectRequest([scene], model, tmp_path / "found.gpkg")
    detect_rasters(request)
    first = (tmp_path / "found.gpkg").read_bytes()
    detect_rasters(request)
    assert (tmp_path / "found.gpkg").read_bytes() == first
    write_foreign_layer(tmp_path / "found.gpkg")
    before = (tmp_path / "found.gpkg").read_bytes()
    with pytest.raises(ParameterError, match=r"found\.gpkg: is there already and was not written"):
        detect_rasters(request)
    assert (tmp_path / "found.gpkg").read_bytes() == before


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".geojson", ".csv"])
def test_any_own_map_is_known_and_any_other_file_refused_before_the_model_is_read(
    make_scene: Any, model: Path, tmp_path: Path, suffix: str
) -> None:
    scene = str(make_scene(shape_hw=(70, 70)))
    output = tmp_path / f"found{suffix}"
    detect_rasters(DetectRequest([scene], model, output))
    detect_rasters(DetectRequest([scene], model, output))
    output.write_text("my,own,table\n1,2,3\n")
    (tmp_path / "empty").mkdir()  # reading it would be another error
    with pytest.raises(ParameterError, match="was not written by this command"):
        detect_rasters(DetectRequest([scene], tmp_path / "empty", output))


def test_a_source_of_a_mosaic_is_no_score_map(make_scene: Any, model: Path, tmp_path: Path) -> None:
    source = make_scene("a.tif", shape_hw=(70, 70))
    rasterio.shutil.copy(source, tmp_path / "m.vrt", driver="VRT")
    request = DetectRequest([str(tmp_path / "m.vrt")], model, tmp_path / "f.gpkg", scores=source)
    with pytest.raises(ParameterError, match=r"a\.tif: is read by this command"):
        detect_rasters(request)


@pytest.mark.parametrize("busy", ["f.gpkg", "scores/a.tif"])
def test_a_second_search_into_one_file_is_refused(
    make_scene: Any, model: Path, tmp_path: Path, busy: str
) -> None:
    scene = str(make_scene("a.tif", shape_hw=(70, 70)))
    request = DetectRequest([scene], model, tmp_path / "f.gpkg", scores=tmp_path / "scores")
    sentence = "another run is writing this file or folder"
    with lock_output(tmp_path / busy), pytest.raises(ParameterError, match=sentence):
        detect_rasters(request)
    assert not (tmp_path / "f.gpkg").exists()


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt("stopped")


@pytest.mark.parametrize("change", ["nothing", "source", "sidecar"])
def test_a_search_is_resumed_on_the_same_picture_only(
    make_scene: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    source = make_scene("a.tif", shape_hw=(90, 90), seed=1)
    mosaic = tmp_path / "m.vrt"
    rasterio.shutil.copy(source, mosaic, driver="VRT")
    with monkeypatch.context() as patch:
        patch.setattr("windhover.export.write_detections.write_detections", interrupt)
        with pytest.raises(KeyboardInterrupt, match="stopped"):
            detect_rasters(DetectRequest([str(mosaic)], model, tmp_path / "f.gpkg"))
    if change == "source":
        with rasterio.open(source, "r+") as out:
            out.write(np.zeros((out.count, 90, 90), np.uint8))
    if change == "sidecar":
        mosaic.with_name("m.vrt.aux.xml").write_text(
            "<PAMDataset><Metadata><MDI key='a'>1</MDI></Metadata></PAMDataset>"
        )
    with recorded_messages() as messages:
        detect_rasters(DetectRequest([str(mosaic)], model, tmp_path / "f.gpkg", resume=True))
    is_resumed = any(line.startswith("going on after") for line in messages)
    assert is_resumed == (change == "nothing")


def test_a_mosaic_without_one_tile_is_searched_and_told(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    scene = make_scene("a.tif", shape_hw=(80, 80), seed=2)
    rasterio.shutil.copy(scene, tmp_path / "m.vrt", driver="VRT")
    text = (tmp_path / "m.vrt").read_text()
    extra = text.replace("a.tif", "lost.tif")
    start = extra.index("<SimpleSource>")
    source = extra[start : extra.index("</SimpleSource>") + len("</SimpleSource>")]
    lost = source.replace('xSize="80"', 'xSize="10"')
    (tmp_path / "m.vrt").write_text(text.replace("</VRTRasterBand>", lost + "</VRTRasterBand>"))
    outcome = detect_rasters(DetectRequest([str(tmp_path / "m.vrt")], model, tmp_path / "f.gpkg"))
    (failed,) = outcome.failed
    assert "its source" in failed.reason
    assert "lost.tif is missing or damaged, so rows 0 to 80 and columns 0 to 10" in failed.reason
    assert outcome.scenes[0].windows_searched > 0


def test_folders_and_lists_name_scenes(make_scene: Any, tmp_path: Path) -> None:
    one, two = (make_scene(f"tiles/{name}.tif", shape_hw=(70, 70)) for name in "ab")
    (tmp_path / "tiles" / "list.txt").write_text(f"# mine\n\na.tif\nhttps://h/c.tif\n{two}\n")
    assert expand_scenes([str(tmp_path / "tiles")]) == [str(one), str(two)]
    listed = expand_scenes([str(tmp_path / "tiles" / "list.txt")])
    assert listed == [str(one), "https://h/c.tif", str(two)]


def test_folders_and_lists_without_scenes_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfea")
    for name in ("empty", "empty.txt"):
        with pytest.raises(DataError, match=f"{name}: names no raster"):
            expand_scenes([str(tmp_path / name)])
    with pytest.raises(FormatError, match=r"bytes\.txt: is not a text in UTF-8"):
        expand_scenes([str(tmp_path / "bytes.txt")])
    with pytest.raises(MissingFileError, match=r"none\.txt: no such file"):
        expand_scenes([str(tmp_path / "none.txt")])


def test_tiles_that_overlap_are_found_and_tiles_that_touch_are_not(make_scene: Any) -> None:
    infos = []
    for name, left in (("a", 400_000), ("b", 400_075), ("c", 400_120)):
        path = make_scene(f"{name}.tif", shape_hw=(60, 60), origin=(left, 5_000_000))
        infos.append(inspect_scene(path))
    assert overlapping_scenes(infos) == [("b", "c")]
    assert overlapping_scenes(infos[1:]) == [("b", "c")]
    assert overlapping_scenes(infos[2:]) == []


def test_mistaken_arguments_in_python_are_sentences(model: Path, make_scene: Any) -> None:
    detector = Detector.from_bundle(model, device="cpu", inference_precision="fp32")
    with pytest.raises(ParameterError, match=r"`raster` must be a path.*got ndarray"):
        detector.detect(np.zeros((3, 70, 70), np.uint8))  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="`gsd_m` must be metres per px, got 'unknown'"):
        detector.detect(make_scene(), gsd_m="unknown")  # type: ignore[arg-type]


def test_an_area_is_given_by_its_path_in_python_too(
    model: Path, make_scene: Any, tmp_path: Path
) -> None:
    path = make_scene(shape_hw=(120, 120), seed=3)
    info = inspect_scene(path)
    left, top = info.transform.c, info.transform.f
    box = shapely.box(left, top - 60, left + 60, top)
    geopandas.GeoSeries([box], crs=info.crs).to_file(tmp_path / "aoi.gpkg")
    detector = Detector.from_bundle(model, device="cpu", inference_precision="fp32")
    by_path = detector.detect(path, threshold=0.01, aoi=tmp_path / "aoi.gpkg")
    by_shape = detector.detect(path, threshold=0.01, aoi=box)
    assert len(by_path) > 0
    assert_geodataframe_equal(by_path, by_shape)


def test_a_px_larger_than_the_models_window_is_refused(
    model: Path, make_scene: Any, tmp_path: Path
) -> None:
    picture = make_scene("p.tif", shape_hw=(70, 70), crs=None)
    with pytest.raises(DataError, match="is larger than the model's whole window of 64 px"):
        detect_rasters(DetectRequest([str(picture)], model, tmp_path / "f.gpkg", gsd_m=90.0))
    with pytest.raises(DataError, match="are less than one px of the model"):
        detect_rasters(DetectRequest([str(picture)], model, tmp_path / "f.gpkg", gsd_m=0.005))


def test_a_long_search_says_how_much_is_to_be_done_before_it_begins(
    model: Path, make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "LONG_SEARCH_MPX", 0.001)
    with recorded_messages() as messages:
        detect_rasters(DetectRequest([str(make_scene())], model, tmp_path / "f.gpkg"))
    assert any("Mpx are to be searched in" in line for line in messages)
