"""Radii of the labels follow the training GSD, or are metres; they fit stride and window."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from conftest import MakeScene
from toy_catalog import CENTERS, catalog_of, cut, write_labels
from windhover.dataset.label_rule import LabelRule
from windhover.errors import ParameterError
from windhover.params import check_params
from windhover.params.patches import PatchesParams
from windhover.params.scenes import ScenesParams
from windhover.patches.cut_patches import label_rule_of, summary_lines


def rule(gsd_m: float, **changes: Any) -> LabelRule:
    return label_rule_of(PatchesParams.model_validate(changes), gsd_m)


@pytest.mark.parametrize("gsd_m", [0.05, 0.15, 0.3, 1.25, 10.0, 30.0])
def test_the_default_is_the_same_in_px_at_every_gsd(gsd_m: float) -> None:
    assert rule(gsd_m) == LabelRule(8.0, 15.0, "square")


def test_metres_are_absolute_and_each_radius_has_its_own_unit() -> None:
    assert rule(1.25, positive_radius_m=10.0, ignore_radius_m=18.75) == rule(1.25)
    assert rule(2.5, positive_radius_m=20.0) == LabelRule(8.0, 15.0, "square")
    assert rule(0.5, ignore_radius_m=10.0) == LabelRule(8.0, 20.0, "square")
    assert rule(1.25, positive_radius_px=32.0, ignore_radius_px=64.0).positive_px == 32
    assert rule(1.25, positive_radius_px=4.0).positive_px == 4


@pytest.mark.parametrize(
    ("gsd_m", "changes", "sentence"),
    [
        (
            10.0,
            {"positive_radius_m": 10.0, "ignore_radius_m": 18.75},
            (
                "`patches.positive_radius_m`: must be at least half a stride (4 px = 40 m), "
                "got 1 px = 10 m at the training GSD of 10 m"
            ),
        ),
        (
            0.25,
            {"positive_radius_m": 10.0, "ignore_radius_m": 18.75},
            (
                "`patches.positive_radius_m`: must be at most half a window (32 px = 8 m), "
                "got 40 px = 10 m"
            ),
        ),
        (
            1.25,
            {"positive_radius_px": 3.9},
            "`patches.positive_radius_px`: must be at least half a stride (4 px = 5 m), got 3.9 px",
        ),
        (
            1.0,
            {"positive_radius_px": 33, "ignore_radius_px": 40},
            "`patches.positive_radius_px`: must be at most half a window (32 px = 32 m), got 33 px",
        ),
        (
            5.0,
            {"ignore_radius_m": 18.75},
            (
                "`patches.ignore_radius_m`: must be at least `patches.positive_radius_px` "
                "(8 px = 40 m), got 3.75 px = 18.75 m"
            ),
        ),
        (
            1.0,
            {"ignore_radius_m": 65.0},
            "`patches.ignore_radius_m`: must be at most a window (64 px = 64 m), got 65 px",
        ),
    ],
)
def test_radii_that_fit_neither_stride_nor_window_are_refused(
    gsd_m: float, changes: dict[str, float], sentence: str
) -> None:
    with pytest.raises(ParameterError, match=re.escape(sentence)):
        rule(gsd_m, **changes)


@pytest.mark.parametrize("unit", ["m", "px"])
def test_the_order_of_the_radii_is_checked_when_parameters_are_read(unit: str) -> None:
    changes = {f"positive_radius_{unit}": 12.0, f"ignore_radius_{unit}": 11.0}
    with pytest.raises(ParameterError, match=rf"ignore_radius_{unit} \(11 {unit}\) must be at lea"):
        check_params("patches", PatchesParams, changes)


def test_the_stage_prints_the_radii_in_both_units(tmp_path: Path, make_scene: MakeScene) -> None:
    for number in range(3):
        scene = make_scene(
            f"raw/s{number}.tif", shape_hw=(210, 400), origin=(4e5 + 1e4 * number, 5e6), seed=number
        )
        write_labels(tmp_path / f"raw/s{number}.gpkg", scene, CENTERS[:2], ["a", "a"])
    line = summary_lines(cut(catalog_of(tmp_path), tmp_path / "out"))[0]
    assert "within 8 px = 10 m (square), background begins beyond 15 px = 18.75 m" in line
    assert "a window is 64 px = 80 m" in line


def test_the_guard_strip_is_one_window_unless_it_is_stated() -> None:
    assert ScenesParams().guard_width_m == 80.0
    assert ScenesParams(gsd_m=10.0, spatial_block_m=2200.0).guard_width_m == 640.0
    assert ScenesParams(gsd_m=0.2, guard_m=80.0, spatial_block_m=900.0).guard_width_m == 80.0
    with pytest.raises(ValidationError, match=r"64 px = 640 m.*got 8 px = 80 m"):
        ScenesParams(gsd_m=10.0, guard_m=80.0, spatial_block_m=2200.0)
    with pytest.raises(ValidationError, match=r"larger than guard_m \(640 m\)"):
        ScenesParams(gsd_m=10.0, spatial_block_m=640.0)
