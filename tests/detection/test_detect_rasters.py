"""Detection in raster files: one file, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from toy_searches import run
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import (
    SCALES_OF_UNKNOWN_GSD,
    DetectRequest,
    parse_gsd,
    parse_scales,
)
from windhover.detection.detect_scene import SceneRun
from windhover.errors import DataError, FormatError, MissingFileError, ParameterError
from windhover.geometry.lattice import Lattice
from windhover.imagery.scenes import Scene, open_scene
from windhover.inference.detection_columns import COLUMNS
from windhover.inference.detector import Detector
from windhover.models.apply_calibration import window_scores
from windhover.progress import counted


def test_scenes_are_searched_into_one_file_and_counted(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    scenes = [
        make_scene(f"{name}.tif", shape_hw=(157, 211), seed=seed) for seed, name in enumerate("ab")
    ]
    said = run(scenes, model, tmp_path / "found.gpkg")
    found = geopandas.read_file(tmp_path / "found.gpkg", layer="detections")
    assert list(found.columns) == list(COLUMNS)
    assert set(found["scene"]) == {"a", "b"}
    counts = found["scene"].value_counts()
    assert [
        f"{name}: {counted(counts[name], 'object')} ({counts[name]} aircraft) in 0.05 km2"
        for name in "ab"
    ] == said[2:]
    assert "1 pair of scenes overlap, such as a and b" in said[0]
    assert "scored densely at stride 8 px on cpu in fp32" in said[1]
    assert sorted(path.name for path in tmp_path.glob("*found*")) == ["found.gpkg"]
    assert not list(tmp_path.glob(".found*"))


def test_one_is_not_many() -> None:
    assert [counted(number, "object") for number in (0, 1, 2)] == [
        "0 objects",
        "1 object",
        "2 objects",
    ]


def test_detections_of_different_scenes_never_remove_one_another(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    one, twin = (make_scene(f"{name}.tif", seed=3) for name in "ab")
    run([one], model, tmp_path / "one.parquet")
    run([one, twin], model, tmp_path / "two.parquet")
    assert len(geopandas.read_parquet(tmp_path / "two.parquet")) == 2 * len(
        geopandas.read_parquet(tmp_path / "one.parquet")
    )


def test_the_score_map_holds_every_windows_score_at_its_place(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    path = make_scene(shape_hw=(157, 211), nodata=0)
    run([path], model, tmp_path / "f.parquet", scores=tmp_path / "s.tif", block_px=96)
    from windhover.inference.detector import Detector
    from windhover.models.bundle import load_bundle

    bundle = load_bundle(model)
    with rasterio.open(tmp_path / "s.tif") as dataset, open_scene(path) as scene:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.descriptions == ("aircraft",)
        lattice = Lattice(scene.shape_hw, 64, 8)
        assert dataset.shape == lattice.shape_cells
        corner = dataset.transform @ (4, 4)  # of the window at scene px 0
        assert corner == pytest.approx(scene.transform @ (28, 28))
        logits = Detector(bundle).scorer.score(scene.read(0, 0, *scene.shape_hw)[0]).logits
        inner = (
            dataset.read()[:, 4 : 4 + logits.shape[1], 4 : 4 + logits.shape[2]] * dataset.scales[0]
        )
    assert np.abs(inner - window_scores(logits, bundle.calibration)).max() < 0.5 / 254 + 1e-6


@pytest.mark.parametrize(("scales", "shown"), [("0.5,1,2", 1.0), ("2,0.4", 2.0), ("0.7,4", 0.7)])
def test_the_score_map_shows_the_pass_nearest_to_the_training_where_it_lies(
    make_scene: Any, model: Path, tmp_path: Path, scales: str, shown: float
) -> None:
    path = make_scene(shape_hw=(301, 477))
    run(
        [path],
        model,
        tmp_path / "f.parquet",
        scores=tmp_path / "s.tif",
        scales=parse_scales(scales),
    )
    with rasterio.open(tmp_path / "s.tif") as dataset, rasterio.open(path) as scene:
        assert dataset.res == pytest.approx((8 * 1.25 * shown,) * 2, rel=0.01)
        assert dataset.bounds == pytest.approx(scene.bounds, abs=8 * 1.25 * shown)


@pytest.mark.parametrize("scales", [None, "0.5,1"])
def test_the_searched_km2_is_that_of_the_area(
    make_scene: Any, model: Path, tmp_path: Path, scales: str | None
) -> None:
    path = make_scene(shape_hw=(400, 600))
    with open_scene(path) as scene:
        ring = [scene.transform @ corner for corner in [(-90, 100), (420, 130), (300, 330)]]
    area = shapely.Polygon(ring)
    geopandas.GeoSeries([area], crs="EPSG:32631").to_file(tmp_path / "aoi.gpkg")
    inside = area.intersection(shapely.box(400_000, 4_999_500, 400_750, 5_000_000)).area / 1e6
    wanted = DetectRequest(
        [str(path)],
        model,
        tmp_path / "f.gpkg",
        aoi=tmp_path / "aoi.gpkg",
        scales=parse_scales(scales),
    )
    km2 = detect_rasters(wanted).scenes[0].km2
    assert km2 == pytest.approx(inside, rel=1e-3)


def test_a_transform_without_system_is_told(make_scene: Any, model: Path, tmp_path: Path) -> None:
    path = make_scene(shape_hw=(157, 211), crs=None, transform=Affine(0.5, 0, 4e5, 0, -0.5, 5e6))
    said = run([path], model, tmp_path / "f.gpkg", gsd_m=1.25)
    assert said[0].startswith(
        "scene: a transform without coordinate system: a local grid is used. To keep its place"
    )
    with pytest.raises(
        DataError, match=r"--gsd\)\. Or name the system of its transform: gdal_translate"
    ):
        run([path], model, tmp_path / "f.gpkg")
    assert run([make_scene()], model, tmp_path / "f.gpkg", gsd_m=1.0)[0].startswith(
        "scene: the stated GSD is not used"
    )


def test_pictures_that_wait_for_their_turn_hold_no_pixels(
    make_scene: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 500, 380)).astype(np.uint8)
    paths = [
        make_scene(f"{name}.jpg", data=pixels, driver="JPEG", crs=None, photometric="RGB")
        for name in "ab"
    ]
    scenes: list[Scene] = []
    open_scene_of = Detector.open
    run_scene = SceneRun.run

    def watched(self: Detector, *given: Any) -> Scene:
        scenes.append(open_scene_of(self, *given))
        return scenes[-1]

    def first(self: SceneRun, *given: Any, **options: Any) -> Any:
        assert [scene._reader.jpeg.is_empty for scene in scenes] == [True, True]
        return run_scene(self, *given, **options)

    monkeypatch.setattr(Detector, "open", watched)
    monkeypatch.setattr(SceneRun, "run", first)
    run(paths, model, tmp_path / "f.gpkg", gsd_m=1.25, scales=(1.0, 2.0, 4.0))


def test_a_large_score_map_has_overviews_and_unsearched_places_are_nodata(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    data = np.random.default_rng(0).integers(1, 255, (3, 300, 4400), dtype=np.uint8)
    data[:, :, 2200:] = 0
    path = make_scene(data=data, nodata=0, tiled=True)
    run([path], model, tmp_path / "f.parquet", scores=tmp_path / "s.tif", threshold=1.0)
    with rasterio.open(tmp_path / "s.tif") as dataset:
        assert dataset.overviews(1) == [2]
        values = dataset.read(1)
    assert (values[:, 2200 // 8 + 4 :] == 255).all()
    assert (values[:, : 2200 // 8 + 4] < 255).all()


def test_an_area_in_another_system_limits_the_search(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    path = make_scene(shape_hw=(400, 600))
    run([path], model, tmp_path / "whole.parquet")
    whole = geopandas.read_parquet(tmp_path / "whole.parquet")
    with open_scene(path) as scene:
        ring = [scene.transform @ corner for corner in [(150, 100), (420, 130), (300, 330)]]
    area = geopandas.GeoSeries([shapely.Polygon(ring)], crs=whole.crs)
    area.to_crs("EPSG:4326").to_file(tmp_path / "aoi.geojson")
    run([path], model, tmp_path / "part.parquet", aoi=tmp_path / "aoi.geojson", block_px=128)
    part = geopandas.read_parquet(tmp_path / "part.parquet")
    inside = whole[
        shapely.contains_xy(
            area[0], *(np.array([scene.transform @ xy for xy in whole[["col", "row"]].values]).T)
        )
    ]
    assert 3 < len(part) < len(whole)
    assert sorted(part["col"].round(2)) == sorted(inside["col"].round(2))


def test_the_style_is_in_the_file_before_it_takes_its_place(
    make_scene: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill in SQLite leaves a journal, which beside the finished file would be rolled back into
    the next one.
    """
    styled = []
    monkeypatch.setattr(
        "windhover.export.geopackage.add_style",
        lambda path, layer: styled.append((path, path.exists())),
    )
    run([make_scene()], model, tmp_path / "f.gpkg")
    [(path, there)] = styled
    assert there
    assert path != tmp_path / "f.gpkg"
    assert not path.exists()


def test_scales_may_be_named_where_the_gsd_is_not_well_known(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    path = make_scene(shape_hw=(257, 311))
    summaries = []
    for scales in (None, "1", "0.7,1,1.4"):
        wanted = DetectRequest(
            [str(path)], model, tmp_path / "f.gpkg", threshold=0.05, scales=parse_scales(scales)
        )
        summaries.append(detect_rasters(wanted).scenes[0])
    assert summaries[0].objects == summaries[1].objects
    assert summaries[2].windows_searched > 2 * summaries[0].windows_searched
    assert summaries[2].objects != summaries[0].objects


def test_an_image_of_unknown_gsd_is_searched_at_many(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    """Places are px; what would need metres is left empty; what is found at each GSD is among what
    is found.
    """
    path = make_scene("l.png", crs=None, driver="PNG", shape_hw=(157, 211))
    said = run([path], model, tmp_path / "f.gpkg", gsd_m=parse_gsd("unknown"), threshold=0.05)
    found = geopandas.read_file(tmp_path / "f.gpkg", layer="detections")
    assert said[-1] == f"l: {len(found)} objects ({len(found)} aircraft) at an unknown GSD"
    assert found["length_m"].isna().all()
    assert found["width_m"].isna().all()
    centers = found.geometry.centroid
    assert np.allclose(np.abs(centers.y), found["row"])
    assert np.allclose(centers.x, found["col"])
    run(
        [path], model, tmp_path / "g.gpkg", gsd_m=1.25, threshold=0.05, scales=SCALES_OF_UNKNOWN_GSD
    )
    same = geopandas.read_file(tmp_path / "g.gpkg", layer="detections")
    assert same["col"].tolist() == found["col"].tolist()
    assert same["length_m"].notna().all()


def test_a_gsd_that_is_known_or_none_is_refused(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"its georeference gives its GSD, 1\.25 m"):
        run([make_scene()], model, tmp_path / "f.gpkg", gsd_m="unknown")
    with pytest.raises(
        ParameterError, match="--gsd must be metres per px or `unknown`, got 'half'"
    ):
        parse_gsd("half")


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"output": "f.shp"}, ParameterError, r"must end in one of \.gpkg"),
        ({"model": "none"}, MissingFileError, "no such model folder"),
        ({"aoi": "none.geojson"}, MissingFileError, "Give a GeoJSON"),
        ({"threshold": 2.0}, ParameterError, r"must be in 0\.\.1"),
        ({"stride_px": 5}, ParameterError, "stride must be 8 or 4"),
        ({"batch_px": 9}, ParameterError, "batch_px must hold one window"),
        ({"batch_px": 0}, ParameterError, "batch_px must hold one window"),
        ({"block_px": 0}, ParameterError, "--block-px must be 64 or more, got 0"),
        (
            {"output": "model/model.json/f.gpkg"},
            ParameterError,
            "is a file, so nothing can be written below it",
        ),
        ({"output": "folder.gpkg"}, ParameterError, "is a folder, and a file is to be written"),
        ({"scores": "s.png"}, ParameterError, r"must end in \.tif, or be a folder"),
        (
            {"scores": "scene.tif"},
            ParameterError,
            "is read by this command and would be overwritten",
        ),
        ({"scores": ""}, ParameterError, "is read by this command and would be overwritten"),
        ({"output": "aoi.gpkg", "aoi": "aoi.gpkg"}, ParameterError, "would be overwritten"),
        ({"scenes": ["none.tif"]}, MissingFileError, "none.tif: no such file"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_left(
    make_scene: Any, model: Path, tmp_path: Path, options: dict, error: type, sentence: str
) -> None:
    path = make_scene()
    (tmp_path / "folder.gpkg").mkdir()
    area = geopandas.GeoSeries(
        [shapely.box(400_000, 4_999_900, 400_100, 5_000_000)], crs="EPSG:32631"
    )
    area.to_file(tmp_path / "aoi.gpkg")
    before = sorted(tmp_path.rglob("*"))
    wanted = {"scenes": [str(path)], "model": model, "output": "f.gpkg"} | options
    places = {
        key: tmp_path / wanted[key] for key in ("model", "output", "aoi", "scores") if key in wanted
    }
    with pytest.raises(error, match=sentence):
        detect_rasters(DetectRequest(**{**wanted, **places}))
    assert sorted(tmp_path.rglob("*")) == before


def test_scenes_that_cannot_share_a_file_are_refused(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    placed, local = make_scene(), make_scene("local.png", crs=None, driver="PNG")
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / "scene.tif"
    twin.write_bytes(placed.read_bytes())
    with pytest.raises(ParameterError, match="two scenes are called `scene`"):
        run([placed, twin], model, tmp_path / "f.gpkg")
    with pytest.raises(DataError, match="cannot share one file"):
        run([placed, local], model, tmp_path / "f.gpkg", gsd_m=1.25)
    with pytest.raises(DataError, match="no longitude and latitude for GeoJSON"):
        run([local], model, tmp_path / "f.geojson", gsd_m=1.25)
    with pytest.raises(DataError, match="no georeference and no GSD is stated"):
        run([local], model, tmp_path / "f.gpkg")
    with pytest.raises(ParameterError, match="several scenes need a folder"):
        run([placed, make_scene("b.tif")], model, tmp_path / "f.gpkg", scores=tmp_path / "s.tif")


def test_an_area_far_larger_than_the_scene_is_no_limit(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    """Corners of the world have no place in the scene's system."""
    run([make_scene()], model, tmp_path / "f.parquet")
    geopandas.GeoSeries([shapely.box(-180, -90, 180, 90)], crs="EPSG:4326").to_file(
        tmp_path / "world.geojson"
    )
    run([make_scene()], model, tmp_path / "g.parquet", aoi=tmp_path / "world.geojson")
    one, other = (geopandas.read_parquet(tmp_path / f"{name}.parquet") for name in "fg")
    assert len(one) > 5
    assert one["col"].tolist() == other["col"].tolist()


def test_a_raster_much_coarser_than_the_model_is_said(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    said = run([make_scene(shape_hw=(30, 40), gsd_m=5.0)], model, tmp_path / "f.gpkg")
    assert said[1] == (
        "scene: its px is 5 m, the model's 1.25 m: enlarged 4 times, "
        "what is found there is doubtful"
    )


def test_an_area_elsewhere_or_nowhere_is_refused(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    far = geopandas.GeoSeries([shapely.box(10, 10, 11, 11)], crs="EPSG:4326")
    far.to_file(tmp_path / "far.geojson")
    with pytest.raises(DataError, match="no part of it lies in the area"):
        run([make_scene()], model, tmp_path / "f.gpkg", aoi=tmp_path / "far.geojson")
    moved = make_scene("there.tif", crs="EPSG:32632", origin=(609_700, 1_161_000))
    said = run([make_scene(), moved], model, tmp_path / "f.gpkg", aoi=tmp_path / "far.geojson")
    assert said[1] == "scene: no part of it lies in the area, not searched"
    assert set(geopandas.read_file(tmp_path / "f.gpkg", layer="detections")["scene"]) == {"there"}
    with pytest.raises(DataError, match="has no georeference, so"):
        run(
            [make_scene("l.png", crs=None, driver="PNG")],
            model,
            tmp_path / "f.gpkg",
            aoi=tmp_path / "far.geojson",
            gsd_m=1.25,
        )
    geopandas.GeoSeries([shapely.Point(0, 0)], crs="EPSG:4326").to_file(tmp_path / "point.geojson")
    with pytest.raises(DataError, match="holds no polygon"):
        run([make_scene()], model, tmp_path / "f.gpkg", aoi=tmp_path / "point.geojson")
    (tmp_path / "text.geojson").write_text("no vectors here")
    with pytest.raises(FormatError, match="cannot be read as a layer"):
        run([make_scene()], model, tmp_path / "f.gpkg", aoi=tmp_path / "text.geojson")
