"""From a folder of rasters and labels to a catalog, and one sentence where that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from conftest import MakeScene
from toy_places import catalog_of, write_labels
from windhover.dataset.catalog import load_catalog, open_catalog_scene, save_catalog
from windhover.dataset.duplicate_labels import drop_near_duplicates
from windhover.dataset.label_coverage import LabelCoverage
from windhover.dataset.label_pieces import to_pixels
from windhover.dataset.raw_sources import notes_on_rasters
from windhover.dataset.write_catalog_report import summary_lines
from windhover.errors import DataError, FormatError, MissingFileError, UnsupportedError
from windhover.geometry import georef
from windhover.imagery.rasters import SceneInfo, inspect_scene


def test_boxes_come_back_in_native_px(three_places: Path) -> None:
    catalog = catalog_of(three_places)
    labels = catalog.labels_of("s1")
    assert np.allclose(
        labels[["left", "top", "right", "bottom"]],
        [(10, 20, 40, 50), (100, 60.5, 130, 80.25)],
        atol=1e-6,
    )
    assert np.allclose(labels[["col", "row"]], [(25, 35), (115, 70.375)], atol=1e-6)
    assert np.allclose(labels[["length_m", "width_m"]], [(37.5, 37.5), (37.5, 24.6875)])
    assert set(catalog.scenes["split"]) == {"train", "val", "test"}
    assert catalog.scenes["labeled"].all()
    assert catalog.classes == ["plane"]


def test_a_catalog_is_the_same_after_saving(three_places: Path) -> None:
    catalog = catalog_of(three_places)
    save_catalog(catalog, three_places / "out")
    again = load_catalog(three_places / "out")
    flat = [name for name in again.scenes.columns if name not in ("bands", "transform")]
    assert_frame_equal(again.scenes[flat], catalog.scenes[flat], check_dtype=False)
    assert [list(row) for row in again.scenes["transform"]] == catalog.scenes["transform"].tolist()
    flat = [name for name in again.labels.columns if name != "geometry"]
    assert_frame_equal(again.labels[flat], catalog.labels[flat], check_dtype=False)
    assert again.labels.geometry.geom_equals(catalog.labels.geometry).all()
    assert again.gsd_m == 1.25
    row = next(iter(again.split("test")))
    with open_catalog_scene(row, 2.5) as scene:
        assert scene.shape_hw == (75, 105)


def test_the_same_inputs_give_the_same_catalog(three_places: Path) -> None:
    first, second = catalog_of(three_places), catalog_of(three_places)
    assert first.scenes["split"].tolist() == second.scenes["split"].tolist()
    assert first.labels.drop(columns="geometry").equals(second.labels.drop(columns="geometry"))


@given(
    st.floats(0, 360),
    st.floats(-20, 20),
    st.sampled_from([-1.0, 1.0]),
    st.floats(0.3, 3),
    st.lists(
        st.tuples(st.floats(0, 900), st.floats(0, 900), st.floats(1, 90), st.floats(1, 90)),
        min_size=1,
        max_size=5,
    ),
)
@settings(max_examples=50, deadline=None)
def test_labels_come_back_through_any_affine_and_another_system(
    angle: float,
    shear: float,
    sign: float,
    stretch: float,
    boxes: list[tuple[float, float, float, float]],
) -> None:
    turn = Affine.rotation(angle) @ Affine.shear(shear, 0) @ Affine.scale(0.5, sign * 0.5 * stretch)
    info = SceneInfo(
        "s",
        "s.tif",
        1000,
        1000,
        ("b",),
        "uint8",
        None,
        "EPSG:32631",
        Affine.translation(4e5, 5e6) @ turn,
        (0.5, 0.5),
    )
    xyxy = np.array([(left, top, left + width, top + height) for left, top, width, height in boxes])
    shapes = georef.box_polygons(xyxy, info.transform)
    assert np.allclose(shapely.bounds(to_pixels(shapes, "EPSG:32631", info)), xyxy, atol=1e-6)
    degrees = geopandas.GeoSeries(list(shapes), crs="EPSG:32631").to_crs("EPSG:4326")
    assert np.allclose(
        shapely.bounds(to_pixels(np.array(degrees), "EPSG:4326", info)), xyxy, atol=1e-4
    )


def test_merged_labels_in_another_system_find_their_scenes(three_places: Path) -> None:
    files = sorted((three_places / "raw/labels").glob("*.gpkg"))
    merged = geopandas.pd.concat([geopandas.read_file(path).to_crs("EPSG:4326") for path in files])
    merged.to_file(three_places / "raw/labels.geojson", driver="GeoJSON", COORDINATE_PRECISION=12)
    expected = catalog_of(three_places)
    for path in files:
        path.unlink()
    found = catalog_of(three_places)
    assert found.labels["scene"].tolist() == expected.labels["scene"].tolist()
    columns = ["left", "top", "right", "bottom", "length_m"]
    assert np.allclose(found.labels[columns], expected.labels[columns], atol=1e-4)


def test_pixel_labels_of_every_image_format_agree(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene("raw/a.png", crs=None, driver="PNG")
    box = (10.5, 20.0, 40.25, 60.0)
    left, top, right, bottom = box
    center = f"{(left + right) / 2 / 210} {(top + bottom) / 2 / 150}"
    yolo = f"0 {center} {(right - left) / 210} {(bottom - top) / 150}"
    sides = "".join(
        f"<{name}>{value}</{name}>"
        for name, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    texts = {
        "a.csv": f"image,xmin,ymin,xmax,ymax\na.png,{left},{top},{right},{bottom}\n",
        "a.txt": yolo,
        "a.xml": "<annotation><object><name>x</name>"
        f"<bndbox>{sides}</bndbox></object></annotation>",
        "coco.json": json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.png"}],
                "annotations": [
                    {
                        "image_id": 1,
                        "category_id": 1,
                        "bbox": [left, top, right - left, bottom - top],
                    }
                ],
            }
        ),
        "dota.txt": f"{left} {top} {right} {top} {right} {bottom} {left} {bottom} x 0",
    }
    for name, text in texts.items():
        target = tmp_path / "raw" / name.replace("dota", "a")
        target.write_text(text)
        catalog = catalog_of(
            tmp_path, native_gsd_m=0.5, labels=target.name, split_fractions=[1.0, 0.0, 0.0]
        )
        assert np.allclose(catalog.labels[["left", "top", "right", "bottom"]], [box], atol=1e-6), (
            name
        )
        assert catalog.labels["length_m"].tolist() == pytest.approx([20.0])


def test_points_have_no_size(tmp_path: Path, make_scene: MakeScene) -> None:
    scene = make_scene("raw/a.tif")
    x, y = georef.pixel_to_world(inspect_scene(scene).transform, 33.5, 44.25)
    geopandas.GeoDataFrame(
        {"class": ["tree"]}, geometry=[shapely.Point(x, y)], crs="EPSG:32631"
    ).to_file(tmp_path / "raw/a.gpkg")
    label = catalog_of(tmp_path, split_fractions=[1.0, 0.0, 0.0]).labels.iloc[0]
    assert (label["col"], label["row"]) == pytest.approx((33.5, 44.25))
    assert np.isnan(label["length_m"])


def test_labels_outside_repeated_and_leaving_are_counted(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    scene = make_scene("raw/a.tif")
    boxes = [(10.0, 20, 40, 50), (10, 20, 40, 50), (200, 60, 216, 80), (300, 300, 310, 310)]
    write_labels(tmp_path / "raw/a.gpkg", scene, boxes)
    report = catalog_of(tmp_path, split_fractions=[1.0, 0.0, 0.0]).report
    assert report.labels == 2
    assert report.dropped["repeated"] == 1
    assert report.dropped["centre outside the raster"] == 1
    assert report.leaving_the_raster == 1


def test_labels_of_another_place_are_refused_with_a_hint(three_places: Path) -> None:
    for path in (three_places / "raw/labels").glob("*.gpkg"):
        path.unlink()
    far = geopandas.GeoDataFrame(
        {"class": ["a"]}, geometry=[shapely.box(1e5, 2e6, 1e5 + 9, 2e6 + 9)], crs="EPSG:32631"
    )
    far.to_file(three_places / "raw/labels.gpkg")
    with pytest.raises(DataError, match=r"labels\.gpkg: its labels lie on no scene.*another place"):
        catalog_of(three_places)


def test_swapped_axes_are_named(three_places: Path) -> None:
    path = next((three_places / "raw/labels").glob("s0.gpkg"))
    right = geopandas.read_file(path).to_crs("EPSG:4326")
    for other in (three_places / "raw/labels").glob("*.gpkg"):
        other.unlink()
    swapped = right.assign(
        geometry=shapely.transform(np.array(right.geometry), lambda points: points[:, ::-1])
    )
    swapped.to_file(three_places / "raw/labels.geojson", driver="GeoJSON")
    with pytest.raises(DataError, match="would with x and y swapped"):
        catalog_of(three_places)


def test_labels_of_other_pictures_are_refused(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene("raw/a.tif")
    (tmp_path / "raw/labels.csv").write_text("image,xmin,ymin,xmax,ymax\nother.tif,1,2,3,4\n")
    with pytest.raises(
        DataError, match=r"none of its images is among the rasters \(it names 'other.tif'"
    ):
        catalog_of(tmp_path)


def test_a_layer_without_system_on_a_georeferenced_scene_is_refused(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    make_scene("raw/a.tif")
    geopandas.GeoDataFrame({"class": ["a"]}, geometry=[shapely.Point(1, 2)]).to_file(
        tmp_path / "raw/a.shp"
    )
    with pytest.raises(DataError, match="has no coordinate system"):
        catalog_of(tmp_path)


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        MissingFileError, match=r"`scenes.raw` must be a folder, but .* does not exist"
    ):
        catalog_of(tmp_path, raw=tmp_path / "nowhere")
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match="holds no raster"):
        catalog_of(tmp_path)


def test_a_corrupt_tile_is_named_and_nothing_is_left(three_places: Path) -> None:
    path = three_places / "raw/s2.tif"
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(FormatError, match=r"s2\.tif"):
        catalog_of(three_places)
    assert not list((three_places / "made").iterdir())


def test_rasters_that_differ_need_a_choice(three_places: Path, make_scene: MakeScene) -> None:
    make_scene("raw/two.tif", bands=2, origin=(7e5, 5e6))
    with pytest.raises(
        DataError, match=r"two\.tif: has the bands band1, band2, but red, green, blue are those of"
    ):
        catalog_of(three_places)
    for name in ("red", "green", "blue", "two"):
        make_scene(
            f"{name}/a.tif",
            dtype="uint16" if name == "two" else "uint8",
            bands=1,
            origin=(7e5, 5e6),
        )
    with pytest.raises(
        DataError,
        match=r"two.a\.tif: dtype uint16, but .*blue.a\.tif has uint8: one model reads one dtype",
    ):
        catalog_of(three_places, raw=three_places, rasters="*/a.tif", labels="raw/labels/s0.gpkg")


def test_classes_are_mapped_ignored_or_refused(tmp_path: Path, make_scene: MakeScene) -> None:
    scene = make_scene("raw/a.tif")
    write_labels(
        tmp_path / "raw/a.gpkg",
        scene,
        [(1, 2, 9, 9), (20, 20, 40, 40), (60, 60, 90, 90)],
        ["A320", "B738", "cut"],
    )
    one = {"split_fractions": [1.0, 0.0, 0.0]}
    catalog = catalog_of(
        tmp_path, classes={"A320": "plane", "B738": "plane"}, ignore_classes=["cut"], **one
    )
    assert catalog.labels["role"].tolist() == ["object", "object", "ignore"]
    assert catalog.classes == ["plane"]
    with pytest.raises(
        DataError, match=r"hold the class 'cut', which is neither in `scenes.classes`"
    ):
        catalog_of(tmp_path, classes={"A320": "plane", "B738": "plane"}, **one)


def test_scenes_that_no_file_speaks_of_are_unlabeled_unless_stated(three_places: Path) -> None:
    (three_places / "raw/labels/s1.gpkg").unlink()
    assert catalog_of(three_places).report.unlabelled_scenes == ["s1"]
    assert catalog_of(three_places, empty_scenes="complete").report.unlabelled_scenes == []


def test_other_rasters_end_in_their_own_sentence(three_places: Path, make_scene: MakeScene) -> None:
    make_scene("raw/deep.tif", data=np.ones((3, 20, 30), np.float64))
    with pytest.raises(UnsupportedError, match=r"deep\.tif: dtype float64 is not taken"):
        catalog_of(three_places)


def test_a_folder_of_ready_patches_is_an_empty_catalog(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    np.savez(tmp_path / "raw/patches.npz", x=np.zeros(3))
    catalog = catalog_of(tmp_path, classes={"1": "plane"})
    assert catalog.scenes.empty
    assert "nothing is measured on scenes" in "\n".join(summary_lines(catalog))
    save_catalog(catalog, tmp_path / "out")
    assert load_catalog(tmp_path / "out").labels.empty


def test_an_object_marked_again_is_dropped_and_counted() -> None:
    edges = np.array(
        [[0, 0, 40, 30], [3, 2, 42, 31], [60, 0, 100, 30], [0, 0, 40, 30], [20, 0, 60, 30]], float
    )
    table = geopandas.GeoDataFrame(
        {"scene": ["a", "a", "a", "b", "a"], "class": ["plane"] * 5}
        | dict(zip(("left", "top", "right", "bottom"), edges.T, strict=True)),
        geometry=shapely.box(*edges.T),
    )
    kept, dropped = drop_near_duplicates(table, 0.6)
    assert dropped == 1
    assert kept[["scene", "left"]].to_numpy().tolist() == [
        ["a", 0.0],
        ["a", 60.0],
        ["b", 0.0],
        ["a", 20.0],
    ]
    assert drop_near_duplicates(table, 1.0)[1] == 0  # 1 keeps all
    assert (
        drop_near_duplicates(table, 0.3)[1] == 2
    )  # so does the half-shifted one go, at a lower bound


def test_ground_far_from_labels_is_unknown_where_labels_are_incomplete(three_places: Path) -> None:
    catalog = catalog_of(three_places, labelled_within_m=25.0)  # 20 px
    for row in catalog:
        areas = catalog.areas[catalog.areas["scene"] == row.scene]
        coverage = LabelCoverage.in_grid(areas, (1.0, 1.0))
        labels = catalog.labels_of(row.scene)
        centers = labels[["col", "row"]].to_numpy(float)
        assert coverage.is_background_known(centers).all()
        far = np.array([[205.0, 145.0], [75.0, 5.0], [70.0, 110.0]])
        assert not coverage.is_background_known(far).any()
        unknown = coverage.ignored_region_of_grid((row.height_px, row.width_px))
        assert shapely.contains_xy(unknown, *far.T).all()
        assert not shapely.contains_xy(unknown, *centers.T).any()
    assert len(catalog.labels) == 6


def test_a_scene_without_a_label_is_not_background_where_labels_are_incomplete(
    three_places: Path, make_scene: MakeScene
) -> None:
    make_scene("raw/s9.tif", origin=(7e5, 5e6), seed=9)
    catalog = catalog_of(three_places, labelled_within_m=25.0, empty_scenes="complete")
    areas = catalog.areas[catalog.areas["scene"] == "s9"]
    assert areas["role"].tolist() == ["positive_only"]
    assert areas.geometry.area.tolist() == [150.0 * 210.0]


def test_presumed_empty_ground_teaches_and_is_never_tested(three_places: Path) -> None:
    scenes = [f"s{number}" for number in range(3)]
    crs = inspect_scene(three_places / "raw/s0.tif", None).crs
    tops = [inspect_scene(three_places / f"raw/{name}.tif", None).transform for name in scenes]
    shapes = [shapely.box(top.c, top.f - 20, top.c + 30, top.f) for top in tops]
    geopandas.GeoDataFrame(
        {"role": ["presumed_empty"] * 3, "scene": scenes}, geometry=shapes, crs=crs
    ).to_file(three_places / "raw/areas.gpkg")
    catalog = catalog_of(three_places, areas="areas.gpkg")
    split_of = catalog.scenes.set_index("scene")["split"]
    assert set(split_of) == {"train", "val", "test"}
    for scene, role in zip(catalog.areas["scene"], catalog.areas["role"], strict=True):
        assert role == ("complete" if split_of[scene] == "train" else "positive_only")


def test_a_note_that_many_rasters_share_is_given_once(make_scene: MakeScene) -> None:
    paths = [make_scene(f"raw/s{number}.tif") for number in range(5)]
    infos = [inspect_scene(path, native_gsd_m=0.5) for path in paths]
    few, many = notes_on_rasters(infos[:2]), notes_on_rasters(infos)
    assert [line.split(": ")[0] for line in few] == [str(path) for path in paths[:2]]
    [line] = many
    assert line.startswith(f"5 rasters, such as {paths[0]}: the stated GSD is not used")
