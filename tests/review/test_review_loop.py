"""A review from detections to a new version of the labels: what is edited comes back, once."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
from defusedxml import ElementTree

from toy_results import searched
from toy_reviews import edit, with_verdicts
from windhover.errors import FormatError, ParameterError
from windhover.export.write_detections import write_detections
from windhover.review.apply_review import ApplyRequest, apply_review
from windhover.review.make_review import ReviewRequest, make_empty_review, make_review
from windhover.review.review_record import read_record

BOXES = [(40 + 30 * n, 30 + 20 * (n % 4), 10, 14) for n in range(5)]


def reviewed(make_scene: Any, folder: Path, **request: Any) -> Path:
    """Return a review of two scenes with five detections each."""
    paths = [
        make_scene("a.tif", shape_hw=(150, 210)),
        make_scene("b.tif", shape_hw=(150, 210), origin=(410_000.0, 5_000_000.0), seed=1),
    ]
    table, summary = searched(paths, *BOXES)
    write_detections(table, summary, folder / "detections.gpkg")
    output = folder / "review.gpkg"
    make_review(folder / "detections.gpkg", ReviewRequest(output=output, **request))
    return output


def labels_of(folder: Path, version: int = 1) -> list[dict[str, Any]]:
    document = json.loads((folder / f"labels/v{version:03d}/labels.json").read_text())
    return document["annotations"]


def apply(folder: Path, *files: Path) -> list[str]:
    return apply_review(ApplyRequest(files or [folder / "review.gpkg"], root=folder / "labels"))


def test_verdicts_become_labels_and_a_second_apply_changes_nothing(
    make_scene: Any, tmp_path: Path
) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, n_areas=2)
    edit(path, "review", with_verdicts("object", "object", "not an object", "unsure"))
    lines = apply(tmp_path)
    kept = labels_of(tmp_path)
    assert sorted(label["iscrowd"] for label in kept) == [0, 0, 1]
    record = read_record(path)
    first = next(label for label in kept if label["label_id"] == f"d-{record.rows[0].id}")
    left, top, right, bottom = record.rows[0].box
    assert first["bbox"] == pytest.approx([left, top, right - left, bottom - top], abs=1e-6)
    assert first["provenance"]["model"] == "model"
    assert any("labels/v001: 2 added, 1 ignored, 1 rejected" in line for line in lines)
    again = apply(tmp_path)
    assert "nothing new: all 4 changes were applied before" in again
    assert not (tmp_path / "labels/v002").exists()
    assert lines[-1] == again[-1]


def test_scenes_without_georeference_stand_side_by_side(make_scene: Any, tmp_path: Path) -> None:
    paths = [make_scene(f"{name}.tif", crs=None, shape_hw=(150, 210)) for name in "ab"]
    table, summary = searched(paths, *BOXES, gsd=2.0)
    write_detections(table, summary, tmp_path / "detections.gpkg")
    make_review(
        tmp_path / "detections.gpkg", ReviewRequest(output=tmp_path / "review.gpkg", budget=10)
    )
    footprints = pyogrio.read_dataframe(tmp_path / "review.gpkg", layer="scenes")
    assert footprints.geometry.iloc[0].disjoint(footprints.geometry.iloc[1])

    left, _, _, top = footprints.set_index("scene").geometry["b"].bounds
    with rasterio.open(tmp_path / "review_rasters/b.vrt") as below, rasterio.open(paths[1]) as own:
        np.testing.assert_array_equal(below.read(), own.read())
        assert below.transform @ (150, 100) == pytest.approx((left + 300, top - 200))
    project = ElementTree.parse(tmp_path / "review.qgs")
    sources = [entry.text for entry in project.iterfind(".//datasource")]
    assert sources[0] == "./review.gpkg|layername=review"
    assert all(Path(str(source)).is_file() for source in sources[4:])

    def draw(table: Any) -> Any:
        """Draw an object around px (150, 100) of the second scene."""
        x, y = left + 150 * 2.0, top - 100 * 2.0
        new = {"class": "plane", "geometry": shapely.box(x - 10, y - 20, x + 10, y + 20)}
        return geopandas.GeoDataFrame(pd.concat([table, pd.DataFrame([new])]), geometry="geometry")

    edit(tmp_path / "review.gpkg", "labels", draw)
    apply(tmp_path)
    (label,) = labels_of(tmp_path)
    assert label["bbox"] == pytest.approx([145, 90, 10, 20], abs=1e-6)


def test_moved_other_class_and_drawn_shapes(make_scene: Any, tmp_path: Path) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, classes=("ship",))
    record = read_record(path)

    def change(table: Any) -> Any:
        table = with_verdicts("object", "other class")(table)
        table.loc[1, "other_class"] = "ship"
        moved = shapely.affinity.translate(table.geometry[0], 5.0, -2.5)
        table.loc[0, "geometry"] = moved
        return table

    edit(path, "review", change)
    apply(tmp_path)
    kept = {label["label_id"]: label for label in labels_of(tmp_path)}
    left, top, *_ = record.rows[0].box
    moved = kept[f"d-{record.rows[0].id}"]
    assert moved["bbox"][:2] == pytest.approx([left + 4, top + 2], abs=1e-6)
    assert kept[f"d-{record.rows[1].id}"]["provenance"]["words"] == "class ship"


def test_a_file_in_another_system_gives_the_same_labels(make_scene: Any, tmp_path: Path) -> None:
    path = reviewed(make_scene, tmp_path, budget=10)
    edit(path, "review", lambda table: with_verdicts(*["object"] * 4)(table).to_crs(4326))
    apply(tmp_path)
    boxes = {f"d-{row.id}": row.box for row in read_record(path).rows}
    for label in labels_of(tmp_path):
        left, top, right, bottom = boxes[label["label_id"]]
        assert label["bbox"] == pytest.approx([left, top, right - left, bottom - top], abs=1e-6)


def test_two_reviewers_who_disagree_are_listed_and_nothing_is_decided(
    make_scene: Any, tmp_path: Path
) -> None:
    path = reviewed(make_scene, tmp_path, budget=10)
    other = tmp_path / "other.gpkg"
    other.write_bytes(path.read_bytes())
    edit(path, "review", with_verdicts("object", "object", reviewer="ann"))
    edit(other, "review", with_verdicts("not an object", "object", reviewer="bob"))
    lines = apply(tmp_path, path, other)
    assert len(labels_of(tmp_path)) == 1
    assert "1 conflict, not decided:" in lines
    (told,) = [line for line in lines if "gives way" in line]
    assert "ann has object but bob has not an object" in told
    changes = json.loads((tmp_path / "labels/v001/changes.json").read_text())
    assert len(changes["conflicts"]) == 1


def test_one_after_another_a_second_reviewer_cannot_overrule_the_first(
    make_scene: Any, tmp_path: Path
) -> None:
    path = reviewed(make_scene, tmp_path, budget=10)
    edit(path, "review", with_verdicts("object", reviewer="ann"))
    apply(tmp_path)
    edit(path, "review", with_verdicts("not an object", reviewer="bob"))
    lines = apply(tmp_path)
    assert "nothing was applied: all changes are in conflict" in lines
    edit(path, "review", with_verdicts("not an object", reviewer="ann"))  # she changes her mind
    lines = apply(tmp_path)
    assert any(line.endswith("v002: 1 removed") for line in lines)
    assert labels_of(tmp_path, 2) == []


@pytest.mark.parametrize(
    ("layer", "change", "match"),
    [
        ("review", lambda table: table.drop(columns="verdict"), "has no column 'verdict'"),
        ("review", lambda table: table.drop(columns="row_id"), "has no column 'row_id'"),
        ("review", with_verdicts("maybe"), "`verdict` must be object, .* got 'maybe'"),
        ("review", with_verdicts("other class"), "`other_class` names no other one"),
        ("areas", lambda table: table.assign(state="done"), "`state` must be complete, .*'done'"),
        (
            "review",
            with_verdicts("other class", other_class="plan"),
            "the class 'plan' is none of plane. Choose one of them, or .* --classes plan",
        ),
    ],
)
def test_a_half_edited_file_is_one_sentence(
    make_scene: Any, tmp_path: Path, layer: str, change: Any, match: str
) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, n_areas=2)
    edit(path, layer, change)
    with pytest.raises(FormatError, match=match):
        apply(tmp_path)
    assert not (tmp_path / "labels/v001").exists()


def test_a_renamed_layer_and_a_foreign_file_are_one_sentence(
    make_scene: Any, tmp_path: Path
) -> None:
    path = reviewed(make_scene, tmp_path, budget=10)
    copy = tmp_path / "renamed.gpkg"
    pyogrio.write_dataframe(pyogrio.read_dataframe(path, layer="review"), copy, layer="rows")
    with pytest.raises(FormatError, match="is no file of `windhover review`"):
        apply(tmp_path, copy)
    edit(path, "review", lambda table: table)
    table = pyogrio.read_dataframe(path, layer="areas")
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE areas")
        database.execute("DELETE FROM gpkg_contents WHERE table_name = 'areas'")
        database.execute("DELETE FROM gpkg_geometry_columns WHERE table_name = 'areas'")
    pyogrio.write_dataframe(table, path, layer="my areas", append=False)
    with pytest.raises(FormatError, match=r"has no layer 'areas', only .*my areas"):
        apply(tmp_path)


def test_deleted_rows_and_optional_columns_are_told_and_the_rest_applied(
    make_scene: Any, tmp_path: Path
) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, n_areas=0)

    def change(table: Any) -> Any:
        kept = with_verdicts("object", "object")(table).drop(columns=["comment", "scene", "class"])
        return kept.iloc[:-2]

    edit(path, "review", change)
    lines = apply(tmp_path)
    assert len(labels_of(tmp_path)) == 2
    assert "2 rows deleted from" in lines[0]
    assert "counted as not reviewed" in lines[0]


def test_areas_declared_complete_confirm_what_they_hold(make_scene: Any, tmp_path: Path) -> None:
    path = reviewed(make_scene, tmp_path, budget=4, n_areas=2, area_m=1000.0)
    edit(path, "areas", lambda table: table.assign(state="complete"))
    lines = apply(tmp_path)
    assert len(labels_of(tmp_path)) == 10
    assert "recall 1.00" in lines[-1]
    areas = pyogrio.read_dataframe(tmp_path / "labels/v001/areas.gpkg")
    assert set(areas["role"]) == {"complete"}
    assert set(areas["scene"]) == {"a", "b"}


def test_in_a_raster_that_was_not_labelled_only_the_answers_are_known(
    make_scene: Any, tmp_path: Path
) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, n_areas=0)
    edit(path, "review", with_verdicts("object", "not an object"))
    apply(tmp_path)
    areas = pyogrio.read_dataframe(tmp_path / "labels/v001/areas.gpkg")
    rejected = read_record(path).rows[1]
    of_scene = areas[areas["scene"] == rejected.scene]
    assert sorted(of_scene["role"]) == ["complete", "positive_only"]
    complete, rest = of_scene.sort_values("role").geometry
    assert complete.intersection(rest).area == pytest.approx(0, abs=1e-6)
    assert complete.area + rest.area == pytest.approx(150 * 210 * 1.25**2)


def test_scenes_are_labelled_from_nothing(make_scene: Any, tmp_path: Path) -> None:
    scene = make_scene("new.tif", shape_hw=(150, 210))
    output = tmp_path / "review.gpkg"
    make_empty_review([scene], ReviewRequest(output=output, classes=("hut",), n_areas=1))

    def draw(table: Any) -> Any:
        x, y = 400_000 + 100 * 1.25, 5_000_000 - 60 * 1.25
        new = {"geometry": [shapely.box(x - 5, y - 5, x + 5, y + 5)]}
        return geopandas.GeoDataFrame(new, geometry="geometry", crs=table.crs)

    edit(output, "labels", draw)
    lines = apply(tmp_path)
    (label,) = labels_of(tmp_path)
    assert label["bbox"] == pytest.approx([96, 56, 8, 8], abs=1e-6)
    assert any("1 added" in line for line in lines)


def test_a_review_is_never_written_over(make_scene: Any, tmp_path: Path) -> None:
    path = reviewed(make_scene, tmp_path, budget=10)
    before = path.read_bytes()
    with pytest.raises(ParameterError, match="is there already, and may hold answers"):
        make_review(tmp_path / "detections.gpkg", ReviewRequest(output=path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("order", ["doubt", "diverse", "false-alarms", "grid", "random"])
def test_every_order_asks_for_each_detection_once(
    make_scene: Any, tmp_path: Path, order: str
) -> None:
    rows = read_record(reviewed(make_scene, tmp_path, budget=6, n_areas=0, order=order)).rows
    assert len({row.id for row in rows}) == len(rows) == 6
    assert sum(row.is_random for row in rows) == 3


@pytest.mark.parametrize(("operating_point", "nearest"), [({}, 0.1), ({"hut": 0.6}, 0.6)])
def test_doubt_is_about_the_operating_point_where_the_search_went_below(
    make_scene: Any, tmp_path: Path, operating_point: dict[str, float], nearest: float
) -> None:
    path = make_scene("a.tif", shape_hw=(250, 410))
    boxes = [(30 + 40 * n, 30 + 20 * (n % 4), 10, 14) for n in range(9)]
    table, summary = searched([path], *boxes)
    table["score"] = np.linspace(0.1, 0.9, 9)
    low = summary.model_copy(
        update={"thresholds": {"hut": 0.1}, "operating_point": operating_point}
    )
    write_detections(table.assign(**{"class": "hut"}), low, tmp_path / "detections.gpkg")
    make_review(
        tmp_path / "detections.gpkg",
        ReviewRequest(output=tmp_path / "review.gpkg", budget=4, n_areas=0),
    )
    rows = read_record(tmp_path / "review.gpkg").rows
    ordered = sorted(abs(row.score - nearest) for row in rows if row.is_ordered)
    assert ordered == pytest.approx([0.0, 0.1], abs=1e-6)


def test_a_shape_moved_off_its_raster_is_left_out_and_told(make_scene: Any, tmp_path: Path) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, n_areas=0)

    def change(table: Any) -> Any:
        table = with_verdicts(*["object"] * 10)(table)
        table.loc[0, "geometry"] = shapely.box(0, 0, 5, 5)
        return table

    edit(path, "review", change)
    lines = apply(tmp_path)
    assert len(labels_of(tmp_path)) == 9
    assert "row 1 of the layer 'review': left out, since it was moved off its raster" in lines[0]


def test_one_row_with_two_verdicts_is_a_conflict(make_scene: Any, tmp_path: Path) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, n_areas=0)

    def change(table: Any) -> Any:
        table = with_verdicts("object", "object")(table)
        again = table.iloc[[0]].assign(verdict="not an object")
        return geopandas.GeoDataFrame(pd.concat([table, again]), crs=table.crs)

    edit(path, "review", change)
    assert "1 conflict, not decided:" in apply(tmp_path)
    assert len(labels_of(tmp_path)) == 1


def test_a_drawn_shape_of_two_parts_is_two_objects(make_scene: Any, tmp_path: Path) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, n_areas=0)
    x, y = 400_000.0, 5_000_000.0
    parts = [shapely.box(x + left, y - 180, x + left + 9, y - 170) for left in (20, 200)]

    def draw(table: Any) -> Any:
        new = {"class": ["plane"], "geometry": [shapely.MultiPolygon(parts)]}
        return geopandas.GeoDataFrame(new, geometry="geometry", crs=table.crs)

    edit(path, "labels", draw)
    apply(tmp_path)
    boxes = sorted(label["bbox"] for label in labels_of(tmp_path))
    assert [box[0] for box in boxes] == pytest.approx([16, 160])


@pytest.mark.parametrize("verdict", ["", "object"])
def test_a_copied_row_on_another_object_is_one_that_was_drawn(
    make_scene: Any, tmp_path: Path, verdict: str
) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, n_areas=0)
    row = read_record(path).rows[0]

    def change(table: Any) -> Any:
        table = with_verdicts("object")(table)
        copy = table.iloc[[0]].assign(verdict=verdict)
        copy["geometry"] = copy.translate(0.0, -100.0)
        return geopandas.GeoDataFrame(pd.concat([table, copy]), crs=table.crs)

    edit(path, "review", change)
    apply(tmp_path)
    tops = sorted(label["bbox"][1] for label in labels_of(tmp_path))
    assert tops == pytest.approx([row.box[1], row.box[1] + 80], abs=1e-6)


def test_rows_of_unknown_or_lost_ids_are_left_out_and_told(make_scene: Any, tmp_path: Path) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, n_areas=0)

    def change(table: Any) -> Any:
        changed = with_verdicts("object", "not an object", "object", "unsure")(table)
        changed.loc[1, "row_id"] = "of another review"
        changed.loc[[2, 3, 4], "row_id"] = None  # the last one without a verdict
        return changed

    edit(path, "review", change)
    told = "\n".join(apply(tmp_path))
    assert [one["label_id"] for one in labels_of(tmp_path)] == [f"d-{read_record(path).rows[0].id}"]
    assert "row 2 of the layer 'review': left out, since this review has no row of its id" in told
    assert "row 3 of the layer 'review' and 1 more: left out, since a detection stands" in told
    assert "row 4 of the layer 'review': left out, since its verdict is not that of" in told


def test_a_file_that_another_program_writes_is_one_sentence(
    make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, n_areas=0)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda name, **how: connect(name, timeout=0, **how))
    with closing(connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(FormatError, match=r"review\.gpkg: another program is writing it"):
            apply(tmp_path)
    assert not (tmp_path / "labels").exists()


def test_ground_around_a_rejected_detection_is_known_but_for_unanswered_ones(
    make_scene: Any, tmp_path: Path
) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, n_areas=0)
    rows = {row.id: row for row in read_record(path).rows if row.scene == "a"}
    near = [row for row in rows.values() if row.others]
    rejected = near[0]
    confirmed, *unanswered = rejected.others
    assert unanswered
    verdict_of = {rejected.id: "not an object"}
    verdict_of |= {row.id: "object" for row in rows.values() if row.box == confirmed}

    def answer(table: Any) -> Any:
        table["verdict"] = table["row_id"].map(verdict_of)
        return table

    edit(path, "review", answer)
    apply(tmp_path)
    document = json.loads((tmp_path / "labels/v001/labels.json").read_text())
    (known,) = [
        shapely.from_wkt(area["wkt"]) for area in document["areas"] if area["role"] == "complete"
    ]
    assert known.contains(shapely.box(*rejected.box).centroid)
    window = known.envelope
    assert known.contains(shapely.box(*confirmed) & window)
    for box in unanswered:
        assert known.intersection(shapely.box(*box)).area == 0
    assert known.area == pytest.approx(
        window.difference(shapely.union_all([shapely.box(*box) for box in unanswered])).area
    )


@pytest.mark.parametrize(("searched_down_to", "is_deep"), [(0.02, True), (0.3, False)])
def test_ground_where_a_deep_search_found_nothing_is_presumed_empty(
    make_scene: Any, tmp_path: Path, searched_down_to: float, is_deep: bool
) -> None:
    scene = make_scene("a.tif", shape_hw=(300, 420))
    table, summary = searched([scene], *BOXES)
    thresholds = {"plane": searched_down_to}
    write_detections(
        table, summary.model_copy(update={"thresholds": thresholds}), tmp_path / "d.gpkg"
    )
    output = tmp_path / "review.gpkg"
    make_review(tmp_path / "d.gpkg", ReviewRequest(output=output, budget=2, n_areas=0))
    edit(output, "review", with_verdicts("object", "object"))
    lines = apply(tmp_path)
    assert any(line.startswith("presumed empty: ") for line in lines) == is_deep
    document = json.loads((tmp_path / "labels/v001/labels.json").read_text())
    ground = {area["role"]: shapely.from_wkt(area["wkt"]) for area in document["areas"]}
    assert ("presumed_empty" in ground) == is_deep
    whole = shapely.box(0, 0, 420, 300)
    assert shapely.union_all(list(ground.values())).equals(whole)
    if is_deep:
        for left, top, width, height in BOXES:  # none is in it, also of those not reviewed
            box = shapely.box(left, top, left + width, top + height)
            assert ground["presumed_empty"].intersection(box).area == 0
        assert ground["presumed_empty"].contains(shapely.Point(400, 280))


def test_scores_below_the_least_are_not_asked_for(make_scene: Any, tmp_path: Path) -> None:
    path = reviewed(make_scene, tmp_path, budget=10, n_areas=0, least_score=0.5)
    rows = read_record(path).rows
    assert rows
    assert all(row.score >= 0.5 for row in rows)
    with pytest.raises(ParameterError, match=r"--least-score must be in \[0, 1\), got 1\."):
        make_review(tmp_path / "x", ReviewRequest(tmp_path / "y.gpkg", least_score=1.0))
