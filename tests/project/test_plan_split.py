"""The split keeps labels: places, else blocks that lose few, else folds, else all trains."""

from __future__ import annotations

import re
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from rasterio.transform import Affine

from conftest import MakeScene
from windhover.dataset.build_catalog import build_catalog
from windhover.errors import DataError, ParameterError
from windhover.params.scenes import ScenesParams
from windhover.project.measure import MeasuredData, measure
from windhover.project.plan_split import ENOUGH_TO_LEARN, MAX_LOST, SplitPlan, plan_split
from windhover.project.request import ProjectRequest

GSD_M = 1.25
ORIGIN = (400_000.0, 5_000_000.0)


def write_boxes(path: Path, centers_m: np.ndarray, side_m: float = 20.0) -> Path:
    """Write boxes around points that are metres east and south of the first scene's corner."""
    x = ORIGIN[0] + centers_m[:, 0]
    y = ORIGIN[1] - centers_m[:, 1]
    half = side_m / 2
    shapes = shapely.box(x - half, y - half, x + half, y + half)
    frame = geopandas.GeoDataFrame(
        {"class": ["boat"] * len(shapes)}, geometry=shapes, crs="EPSG:32631"
    )
    frame.to_file(path, engine="pyogrio")
    return path


def points(
    low: tuple[float, float], high: tuple[float, float], count: int, seed: int = 0
) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, (count, 2))


def measured(scenes: Path, labels: Path) -> MeasuredData:
    return measure(ProjectRequest(Path("project"), scenes=scenes, labels=labels))


def planned_catalog(data: MeasuredData, plan: SplitPlan, folder: Path, gsd_m: float = GSD_M):
    assert plan.blocks is not None
    plan.blocks.save(folder / "blocks.json")
    out = folder / "catalog"
    out.mkdir(exist_ok=True)
    params = ScenesParams(
        raw=data.record.raw,
        labels=data.record.labels,
        gsd_m=gsd_m,
        groups=None,
        blocks=str(folder / "blocks.json"),
    )
    return build_catalog(params, out, out)


def test_enough_places_are_divided_whole(make_scene: MakeScene, tmp_path: Path) -> None:
    centers = []
    for number in range(5):
        offset = 5000.0 * number
        make_scene(f"s/{number}.tif", origin=(ORIGIN[0] + offset, ORIGIN[1]), seed=number)
        centers.append(points((20, 20), (240, 160), 11, number) + np.array([offset, 0]))
    labels = write_boxes(tmp_path / "l.gpkg", np.concatenate(centers))
    data = measured(tmp_path / "s", labels)
    plan = plan_split(data, GSD_M)
    assert plan.kind == "places"
    assert plan.blocks is None
    assert sum(plan.objects.values()) == 55
    assert plan.objects["train"] >= ENOUGH_TO_LEARN


def test_one_scene_is_cut_where_few_objects_are_lost_and_the_stage_follows(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    groups = [
        points((100 + 500 * c, 80 + 560 * r), (380 + 500 * c, 420 + 560 * r), 14, 3 * r + c)
        for r in range(2)
        for c in range(3)
    ]
    labels = write_boxes(tmp_path / "l.gpkg", np.concatenate(groups))
    data = measured(tmp_path / "s", labels)
    plan = plan_split(data, GSD_M)
    assert plan.kind == "blocks"
    assert plan.lost <= MAX_LOST * 84
    catalog = planned_catalog(data, plan, tmp_path)
    split_of = dict(zip(catalog.scenes["scene"], catalog.scenes["split"], strict=True))
    counts = catalog.labels["scene"].map(split_of).value_counts()
    assert {split: int(counts[split]) for split in plan.objects} == plan.objects
    assert len(catalog.labels) == 84 - plan.lost


def test_adjoining_tiles_are_one_place_and_their_cuts_run_through(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    shape = (400, 500)  # 500 m x 625 m
    for row in range(2):
        for col in range(3):
            origin = (ORIGIN[0] + 625 * col, ORIGIN[1] - 500 * row)
            make_scene(f"s/t{row}{col}.tif", shape, origin=origin, seed=3 * row + col)
    labels = write_boxes(tmp_path / "l.gpkg", points((20, 20), (1850, 980), 160))
    data = measured(tmp_path / "s", labels)
    assert len(data.record.objects_by_place) == 1
    plan = plan_split(data, GSD_M)
    assert plan.kind == "blocks"
    catalog = planned_catalog(data, plan, tmp_path)
    table = catalog.scenes
    assert set(table["split"]) == {"train", "val", "test"}
    outlines = shapely.from_wkt(table["footprint_wkt_4326"].to_numpy(object))
    degrees = 64 * GSD_M / 111_320
    for one in range(len(table)):
        for other in range(one):
            if table["split"].iloc[one] != table["split"].iloc[other]:
                assert outlines[one].distance(outlines[other]) >= 0.98 * degrees


def test_few_objects_everywhere_are_learned_whole_and_folds_measure(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (400, 430))
    labels = write_boxes(tmp_path / "l.gpkg", points((10, 10), (530, 490), 60))
    plan = plan_split(measured(tmp_path / "s", labels), GSD_M)
    assert plan.kind == "folds"
    assert plan.blocks is not None
    assert min(plan.objects.values()) >= 5
    assert "cross-validation" in plan.reason


def test_ground_that_cannot_be_cut_all_trains_and_no_accuracy_is_known(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (110, 130))
    labels = write_boxes(tmp_path / "l.gpkg", points((10, 10), (150, 130), 12))
    plan = plan_split(measured(tmp_path / "s", labels), GSD_M)
    assert plan.kind == "none"
    assert plan.objects == {"train": 12, "val": 0, "test": 0}
    assert "no accuracy is known" in plan.reason


def test_a_place_that_is_no_grid_of_tiles_stays_whole(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/upright.tif", (400, 430))
    turned = Affine(0.9, 0.85, ORIGIN[0] + 200, 0.85, -0.9, ORIGIN[1] - 200)
    make_scene("s/turned.tif", (400, 430), transform=turned)
    labels = write_boxes(tmp_path / "l.gpkg", points((10, 10), (530, 490), 60))
    plan = plan_split(measured(tmp_path / "s", labels), GSD_M)
    assert plan.kind == "none"
    assert plan.blocks is None or set(plan.blocks.scenes) == {"upright", "turned"}


def test_a_plan_does_not_fit_a_coarser_gsd_or_a_smaller_scene(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    labels = write_boxes(tmp_path / "l.gpkg", points((20, 20), (1600, 1100), 90))
    data = measured(tmp_path / "s", labels)
    plan = plan_split(data, GSD_M)
    with pytest.raises(ParameterError, match="guard of 80 m, but a window is 128 m"):
        planned_catalog(data, plan, tmp_path, gsd_m=2.0)
    make_scene("s/one.tif", (500, 700))
    with pytest.raises(DataError, match="but it has 700 x 500 px"):
        planned_catalog(data, plan, tmp_path)


def test_few_objects_of_two_places_are_learned_whole_too(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    """Blocks would lose none of 27, and leave half of them to learn from."""
    make_scene("s/one.tif", (600, 900), gsd_m=GSD_M, origin=ORIGIN)
    make_scene("s/two.tif", (600, 900), gsd_m=GSD_M, origin=(ORIGIN[0] + 5000, ORIGIN[1]))
    near = np.concatenate([points((20, 20), (300, 700), 8), points((700, 20), (1100, 700), 6, 1)])
    far = points((5020, 20), (5300, 700), 13, 2)
    labels = write_boxes(tmp_path / "l.gpkg", np.concatenate([near, far]))
    data = measured(tmp_path / "s", labels)
    plan = plan_split(data, GSD_M)
    assert plan.kind == "folds"
    assert "of 27 objects to learn from" in plan.reason
    assert plan.n_folds == 3


def test_places_whose_halves_are_too_few_are_two_folds(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (200, 300), gsd_m=GSD_M, origin=ORIGIN)
    make_scene("s/two.tif", (200, 300), gsd_m=GSD_M, origin=(ORIGIN[0] + 5000, ORIGIN[1]))
    groups = [points((5000 * n + 20, 20), (5000 * n + 340, 220), 7 + n, n) for n in range(2)]
    labels = write_boxes(tmp_path / "l.gpkg", np.concatenate(groups))
    plan = plan_split(measured(tmp_path / "s", labels), GSD_M)
    assert plan.n_folds == 2
    assert "2 models of 2 places measure" in plan.reason
    assert (plan.lost, sorted(plan.objects.values())) == (0, [7, 8])


@pytest.mark.parametrize(
    ("counts", "folds", "reason"),
    [
        ((4, 4, 4), [4, 4, 4], "blocks would leave 7 of 12 objects .* 3 models of 3 places "),
        ((9, 6, 8, 7, 5), [9, 13, 13], "whole places would leave 21 of 35 .* 3 groups of places"),
        ((2, 2, 2), [2, 2, 2], "blocks would leave . of 6 objects"),
    ],
)
def test_few_objects_of_many_places_are_learned_whole_and_groups_of_places_measure(
    make_scene: MakeScene, tmp_path: Path, counts: tuple[int, ...], folds: list[int], reason: str
) -> None:
    centers = []
    for number, count in enumerate(counts):
        offset = 5000.0 * number
        make_scene(f"s/{number}.tif", (200, 300), origin=(ORIGIN[0] + offset, ORIGIN[1]))
        centers.append(points((20, 20), (340, 220), count, number) + np.array([offset, 0]))
    labels = write_boxes(tmp_path / "l.gpkg", np.concatenate(centers))
    data = measured(tmp_path / "s", labels)
    plan = plan_split(data, GSD_M)
    assert re.search(reason, plan.reason)
    assert (plan.kind, plan.n_folds, plan.lost) == ("folds", len(folds), 0)
    assert sorted(plan.objects.values()) == folds
    # the stage divides the places as planned
    assert plan.blocks is not None
    plan.blocks.save(tmp_path / "blocks.json")
    tested = []
    for fold in range(len(folds)):
        params = ScenesParams(
            raw=data.record.raw,
            labels=data.record.labels,
            gsd_m=GSD_M,
            groups=None,
            blocks=str(tmp_path / "blocks.json"),
            folds=len(folds),
            fold=fold,
            fold_val=False,
        )
        catalog = build_catalog(params, tmp_path / "out", tmp_path / "out")
        split_of = dict(zip(catalog.scenes["scene"], catalog.scenes["split"], strict=True))
        tested.append(int((catalog.labels["scene"].map(split_of) == "test").sum()))
    assert sorted(tested) == folds


def test_one_place_with_most_objects_is_cut_and_the_reason_names_its_share(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/0.tif", (900, 1300))
    centers = [points((20, 20), (1600, 1100), 90)]
    for number in (1, 2, 3):
        make_scene(f"s/{number}.tif", (200, 300), origin=(ORIGIN[0] + 5000 * number, ORIGIN[1]))
        centers.append(points((20, 20), (340, 220), 5, number) + np.array([5000 * number, 0]))
    labels = write_boxes(tmp_path / "l.gpkg", np.concatenate(centers))
    plan = plan_split(measured(tmp_path / "s", labels), GSD_M)
    assert plan.kind == "blocks"
    assert plan.reason.startswith("one of 4 places has 86% of what is labelled: they are cut into ")
