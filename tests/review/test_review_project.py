"""A review inside a project: the next catalog is made of the new version, and the old one stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from typer.testing import CliRunner

from project import ROOT
from test_flow import PLACES, make_raw
from toy_results import searched
from toy_reviews import edit, with_verdicts
from windhover.cli.app import app
from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.catalog import Catalog
from windhover.dataset.label_coverage import LabelCoverage
from windhover.errors import ParameterError
from windhover.export.write_detections import write_detections
from windhover.params import load_params
from windhover.params.parameter_sets import set_parameters
from windhover.params.scenes import ScenesParams
from windhover.review.apply_review import ApplyRequest, apply_review
from windhover.review.make_review import ReviewRequest, make_review
from windhover.review.project_params import project_params
from windhover.review.review_record import read_record


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of four labelled scenes with nine objects each."""
    make_raw(tmp_path / "data" / "raw")
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def catalog_of(folder: Path) -> Catalog:
    """Return the catalog that the parameters of a project make now."""
    out = folder / "catalog"
    out.mkdir(exist_ok=True)
    return build_catalog(load_params("scenes", ScenesParams), out, out)


def review_of(paths: list[Path], *boxes: Any, gsd: float | None = None, **request: Any) -> Path:
    table, summary = searched(paths, *boxes, gsd=gsd)
    write_detections(table.assign(**{"class": "shed"}), summary, "detections.gpkg")
    output = Path("review.gpkg")
    asked = ReviewRequest(output=output, budget=50, **request)
    make_review(Path("detections.gpkg"), asked, project_params())
    return output


def apply(params_file: Path | None = Path("params.yaml")) -> list[str]:
    return apply_review(ApplyRequest([Path("review.gpkg")], project_params(), params_file))


def test_edits_of_labels_are_in_the_next_catalog_and_nothing_else(project: Path) -> None:
    before = catalog_of(project)
    raw = {path: path.read_bytes() for path in (project / "data/raw").rglob("*") if path.is_file()}
    path = review_of([project / "data/raw/oak.tif"], (60, 60, 10, 14), n_areas=1, classes=("hut",))
    of_oak = read_record(path).labels
    assert len(of_oak) == 9

    def change(table: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
        table.loc[1, "geometry"] = shapely.affinity.translate(table.geometry[1], 3.0, 0.0)
        table.loc[2, "class"] = "hut"
        return table.iloc[1:]

    edit(path, "labels", change)
    lines = apply()
    assert "labels/v001: 1 removed, 1 moved, 1 reclassified" in lines
    after = catalog_of(project)
    assert len(after.labels) == len(before.labels) - 1
    assert sorted(after.labels["class"].unique()) == ["hut", "shed"]
    columns = ["scene", "left", "top", "right", "bottom"]
    others = [
        catalog.labels[catalog.labels["scene"] != "oak"][columns].reset_index(drop=True)
        for catalog in (before, after)
    ]
    np.testing.assert_allclose(others[0].iloc[:, 1:], others[1].iloc[:, 1:], atol=1e-5)
    assert after.scenes["labeled"].all()
    assert not len(after.areas), "scenes that were labelled as a whole still are"
    for old, content in raw.items():
        assert old.read_bytes() == content
    again = apply()
    assert any("nothing new" in line for line in again)
    assert load_params("scenes", ScenesParams).labels == "labels/v001/labels.json"


def test_a_rejected_detection_takes_its_label_away_and_a_found_one_stays(project: Path) -> None:
    before = catalog_of(project)
    label = before.labels_of("oak").iloc[0]
    box = (label["col"], label["row"], label["right"] - label["left"], 9.0)
    path = review_of([project / "data/raw/oak.tif"], box, n_areas=0)
    edit(path, "review", with_verdicts("not an object"))
    assert "labels/v001: 1 removed" in apply()
    assert len(catalog_of(project).labels_of("oak")) == 8
    # the label is back by the same person's second thought, as the detection it was
    edit(path, "review", with_verdicts("object"))
    assert "labels/v002: 1 added" in apply()
    assert len(catalog_of(project).labels_of("oak")) == 9
    assert [folder.name for folder in sorted(Path("labels").iterdir())] == ["v001", "v002"]


def test_unlabelled_scenes_without_georeference_keep_what_is_unknown(
    project: Path, make_scene: Any
) -> None:
    for name in PLACES:  # all scenes of another kind of project: pictures alone, no label
        (project / f"data/raw/{name}.tif").unlink()
        (project / f"data/raw/labels/{name}.gpkg").unlink()
    (project / "data/raw/places.csv").unlink()
    paths = [
        make_scene(f"data/raw/{name}.png", shape_hw=(300, 420), crs=None, driver="PNG", seed=seed)
        for seed, name in enumerate("abcd")
    ]
    set_parameters(
        Path("params.yaml"), ["scenes.native_gsd_m=1.25", "scenes.groups=null", "scenes.gsd_m=1.25"]
    )
    path = review_of(paths, (100, 100, 10, 14), (250, 150, 10, 14), gsd=1.25, n_areas=1)
    record = read_record(path)
    of_a = [row for row in record.rows if row.scene == "a"]
    true, false = of_a[0].id, of_a[1].id

    def answer(table: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
        table.loc[table["row_id"] == true, "verdict"] = "object"
        table.loc[table["row_id"] == false, "verdict"] = "not an object"
        return table

    edit(path, "review", answer)
    lines = apply()
    assert any("scenes.areas=labels/v001/areas.gpkg" in line for line in lines)
    catalog = catalog_of(project)
    assert list(catalog.labels["scene"]) == ["a"]
    assert set(catalog.areas["scene"]) == {"a"}
    labeled = dict(zip(catalog.scenes["scene"], catalog.scenes["labeled"], strict=True))
    assert labeled == {"a": True, "b": False, "c": False, "d": False}
    coverage = LabelCoverage.from_areas(catalog.areas_of("a"))
    left, top, right, bottom = of_a[1].box
    center = [[(left + right) / 2, (top + bottom) / 2]]
    assert coverage.is_background_known(np.array(center)).all()
    assert coverage.is_window_known(np.array(center), 32.0).all()
    assert not coverage.is_background_known(np.array([[20.0, 280.0]])).any()
    # objects outside the known ground still count as objects
    label = catalog.labels.iloc[0]
    extent = shapely.box(0, 0, 420, 300)
    at = shapely.Point(label["col"], label["row"])
    assert not coverage.unlabeled_region(extent).intersects(at)


def test_params_can_be_left_alone(project: Path) -> None:
    text = Path("params.yaml").read_text()
    path = review_of([project / "data/raw/oak.tif"], (60, 60, 10, 14), n_areas=0)
    edit(path, "review", with_verdicts("object"))
    lines = apply(None)
    assert "to learn from it: windhover set scenes.labels=labels/v001/labels.json" in lines
    assert Path("params.yaml").read_text() == text
    assert "nothing new: labels/v001 holds these changes" in apply(None)
    assert [folder.name for folder in Path("labels").iterdir()] == ["v001"]


def test_what_changed_is_kept_by_scene_with_its_origin(project: Path) -> None:
    path = review_of([project / "data/raw/oak.tif"], (60, 60, 10, 14), n_areas=0)
    edit(path, "review", with_verdicts("object", reviewer="ann", comment="sure"))
    apply()
    changes = json.loads(Path("labels/v001/changes.json").read_text())
    assert changes["by_scene"] == {"oak": {"added": 1}}
    labels = json.loads(Path("labels/v001/labels.json").read_text())["annotations"]
    added = [label for label in labels if label["provenance"]["origin"] == "review"]
    (provenance,) = [label["provenance"] for label in added]
    assert provenance["reviewer"] == "ann"
    assert provenance["comment"] == "sure"
    assert provenance["model"] == "model"
    assert len(provenance["date"]) == 10
    origins = {label["provenance"]["origin"] for label in labels}
    assert origins == {"review", *(f"{name}.gpkg" for name in PLACES)}


def test_an_unsure_verdict_alone_is_an_ignored_label_and_no_object(
    project: Path, make_scene: Any
) -> None:
    for path in (project / "data/raw/labels").iterdir():
        path.unlink()
    path = review_of([project / "data/raw/oak.tif"], (60, 60, 10, 14), n_areas=0)
    edit(path, "review", with_verdicts("unsure"))
    assert "labels/v001: 1 ignored" in apply()
    assert list(catalog_of(project).labels["role"]) == ["ignore"]


def test_detections_on_spatial_blocks_are_reviewed_on_their_raster(project: Path) -> None:
    before = catalog_of(project).labels_of("oak")
    set_parameters(
        Path("params.yaml"),
        ["scenes.spatial_block_m=250", "scenes.guard_m=90", "scenes.groups=null"],
    )
    catalog = catalog_of(project)
    row = next(row for row in catalog if row.scene == "oak~r0c1")
    assert row.origin_col_px > 0
    table, summary = searched([project / "data/raw/oak.tif"], (60, 60, 10, 14))
    block = summary.scenes[0].model_copy(
        update={
            "scene": row.scene,
            "path": row.path,
            "width_px": row.width_px,
            "height_px": row.height_px,
            "origin_px": (row.origin_col_px, row.origin_row_px),
            "transform": row.transform,
        }
    )
    label = before.iloc[0]
    (shape,) = shapely.transform(
        [shapely.box(*label[["left", "top", "right", "bottom"]])],
        lambda xy: np.stack(
            Affine(*row.transform)
            @ Affine.translation(-row.origin_col_px, -row.origin_row_px)
            @ (xy[:, 0], xy[:, 1]),
            axis=1,
        ),
    )
    found = table.assign(scene=row.scene, geometry=[shape], **{"class": "shed"})
    write_detections(found, summary.of([block]), "detections.gpkg")
    asked = ReviewRequest(output=Path("review.gpkg"), budget=4, n_areas=0)
    make_review(Path("detections.gpkg"), asked, project_params())
    record = read_record(Path("review.gpkg"))
    assert record.scenes[0].path == "data/raw/oak.tif"
    np.testing.assert_allclose(
        record.rows[0].box,
        shapely.bounds(
            shapely.from_wkt(
                next(
                    one.wkt
                    for one in record.labels
                    if shapely.from_wkt(one.wkt).intersects(shapely.box(*record.rows[0].box))
                )
            )
        ),
        atol=1e-3,
    )
    chips = pyogrio.read_dataframe("review.gpkg", layer="review", use_arrow=True)["chip"]
    assert all(len(chip) > 1000 for chip in chips)
    edit(Path("review.gpkg"), "review", with_verdicts("not an object"))
    assert "labels/v001: 1 removed" in apply()


def test_the_command_makes_and_applies_a_review(project: Path) -> None:
    table, summary = searched([project / "data/raw/oak.tif"], (60, 60, 10, 14))
    write_detections(table.assign(**{"class": "shed"}), summary, "detections.parquet")
    runner = CliRunner()
    made = runner.invoke(app, ["review", "detections.parquet", "--budget", "4", "--areas", "1"])
    assert made.exit_code == 0, made.output
    assert "review.gpkg: 1 row of 1 detections and 1 area to review in QGIS" in made.output
    edit(Path("review.gpkg"), "areas", lambda table: table.assign(state="complete"))
    applied = runner.invoke(app, ["review", "--apply", "review.gpkg"])
    assert applied.exit_code == 0, applied.output
    last = applied.output.splitlines()[-1]
    assert last == "precision 1.00 [1.00, 1.00], recall 0.10 (no interval) from 1 row and 1 area"
    assert load_params("scenes", ScenesParams).labels == "labels/v001/labels.json"
    both = runner.invoke(app, ["review", "--apply", "--empty", "review.gpkg"])
    assert isinstance(both.exception, ParameterError)
