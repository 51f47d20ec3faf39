"""Parameters of small built-in worlds."""

from __future__ import annotations

from typing import Any

from project import ROOT
from windhover.params import check_params, read_yaml
from windhover.params.simulate import SimulateParams

DEFAULTS: dict[str, Any] = dict(read_yaml(ROOT / "params.yaml")["simulate"])
TINY: dict[str, Any] = {
    "train_places": 1,
    "val_places": 1,
    "test_places": 1,
    "scene_width_px": 330,
    "scene_height_px": 260,
    "fine_scenes": 1,
    "fine_width_px": 400,
    "fine_height_px": 300,
    "aircraft_per_scene": 3,
    "search_tiles": 4,
    "search_tile_px": 160,
    "search_empty": 2,
    "search_aircraft": 3,
}


def params_with(**changes: Any) -> SimulateParams:
    """Return the committed parameters with some changed."""
    return check_params("simulate", SimulateParams, {**DEFAULTS, **changes})
