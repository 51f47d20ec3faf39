"""All that an evaluation found, as plain data: what the report is written from. Computes and writes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from windhover.metrics.detection_metrics import Assessment, Point
from windhover.metrics.ground_truth import Ground
from windhover.metrics.match_detections import Match
from windhover.metrics.window_metrics import WindowFigures
from windhover.params.evaluate import EvaluateParams
from windhover.report.plots import Chip, Explained

Windows = dict[str, dict[str, WindowFigures]]  # by split, by class
SPLITS = ("val", "test")


@dataclass(frozen=True)
class Findings:
    """All that an evaluation found.

    Attributes:
        model: name of the finished model, its content key.
        card: what was trained here, and on what, plain values; its name is that of its own weights.
        classes: names, in the model's order.
        params: of the stage.
        windows: figures on patches, by split and class.
        scenes: figures on whole scenes, by split.
        points: operating point by class.
        calibration: temperatures and biases by name.
        notes: what could not be done as asked, in sentences.
        errors: the worst false alarms and the worst misses of test, and some hits.
        explained: the very worst of both, with what the network looked at.
        learnt: the ground of the scenes that were learnt from.
        patches: a sheet of patches of each split; None where there are none.
        training: pictures that the training left, with what they show.
    """

    model: str
    card: Mapping[str, Any]
    classes: tuple[str, ...]
    params: EvaluateParams
    windows: Windows
    scenes: Mapping[str, Assessment]
    points: Mapping[str, Point]
    calibration: Mapping[str, float | tuple[float, ...]]
    notes: tuple[str, ...]
    errors: tuple[tuple[str, tuple[Chip, ...]], ...] = ()
    explained: tuple[Explained, ...] = ()
    learnt: Ground | None = None
    patches: Image | None = None
    training: tuple[tuple[Path, str], ...] = ()

    @property
    def has_scenes(self) -> bool:
        """Whether anything was measured on scenes; ready-made patches alone have none."""
        return any(len(made.per_scene) for made in self.scenes.values())


def match_of(params: EvaluateParams) -> Match:
    """Return the rule of nearness among the stage's parameters."""
    return Match(params.match_by, params.match_value, params.point_match_radius_m)


def thresholds_of(findings: Findings) -> dict[str, float]:
    """Return the threshold of each class."""
    return {name: point.threshold for name, point in findings.points.items()}


def describe(made: Assessment) -> str:
    """Say in a line what was searched and what intervals are drawn over."""
    table = made.per_scene
    searched = (
        f"{len(table)} scenes of {table['place'].nunique()} places, {table['km2'].sum():.3g} km²"
    )
    return f"test: {int(table['objects'].sum())} objects in {searched}; intervals over {made.drawn.over}"
