"""The `windhover assess` flow: any two vector files judged against each other, printed and written
as one table.

For people who never train with us: detections of any tool, truth of any source, any coordinate
system. Knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from windhover.errors import ParameterError
from windhover.evaluation.vector_truth import by_blocks, load_pair
from windhover.files import atomic_file, write_json
from windhover.metrics.ap_by_threshold import sweep
from windhover.metrics.detection_metrics import Assessment, Figure, assess, draw, thinned
from windhover.metrics.match_detections import Match, MatchBy, judge

DRAWS = 1000
KINDS: dict[str, tuple[MatchBy, float]] = {
    "centre": ("size", 0.5),
    "metres": ("distance", 10.0),
    "iou": ("iou", 0.5),
    "oriented-iou": ("oriented_iou", 0.5),
}
LABELS = {
    "ap": "AP",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "recall_at_1_per_km2": "recall at 1 false alarm per km2",
    "recall_at_5_per_km2": "recall at 5 false alarms per km2",
    "false_alarms_per_km2": "false alarms per km2",
    "count_error": "count error per scene, mean size",
    "count_bias": "count error per scene, mean",
}


@dataclass(frozen=True)
class Request:
    """What to assess, and how."""

    detections: Path
    truth: Path
    aoi: Path | None = None
    match: str = "centre"
    value: float | None = None
    score: str = "score"
    threshold: float | None = None
    ignore: tuple[str, ...] = ()
    output: Path | None = None
    sweep: bool = False


def assess_files(request: Request) -> list[str]:
    """Assess two vector files; write the figures as JSON, the curve and the scenes as CSV beside it
    where asked to.

    Returns:
        the table, one line an item.

    Raises:
        ParameterError: the kind of matching is unknown, or its value out of range.
        windhover.errors.WindhoverError: a file is missing, broken, or does not fit the other.
    """
    if request.match not in KINDS:
        raise ParameterError(
            f"--match must be one of {', '.join(KINDS)}, got {request.match!r}. Choose one of them."
        )
    by, usual = KINDS[request.match]
    match = Match(by, usual if request.value is None else request.value)
    pair = load_pair(request.detections, request.truth, request.aoi, request.score, request.ignore)
    judged, ground = judge(pair.found, pair.ground, match), pair.ground
    classes = sorted({*pair.found["class"], *ground.objects["class"]})
    steps = sweep(pair.found, ground, classes, by) if request.sweep else None
    if pair.blocks:
        judged, ground = by_blocks(judged, ground)
    threshold = -np.inf if request.threshold is None else request.threshold
    made = assess(judged, ground, dict.fromkeys(classes, threshold), draw(ground.scenes, DRAWS, 0))
    over = "blocks" if pair.blocks else "scenes"
    notes = list(pair.notes)
    if request.output is not None:
        _write(request.output, made, match, over, notes, steps)
    return _lines(made, match, over, notes, steps)


def _lines(made: Assessment, match: Match, over: str, notes: list[str], steps: Any) -> list[str]:
    table = made.per_scene
    counts = (
        f"{len(made.ground.objects)} objects, {int(table['reported'].sum())} detections that count"
    )
    lines = [
        f"{counts}; a detection is an object when: {match}",
        f"95 % intervals: {DRAWS} draws over {len(table)} {over}",
        "",
    ]
    lines += [
        _row(LABELS[name], made.figures[name])
        for name in LABELS
        if made.figures.get(name) is not None
    ]
    if len(made.per_class) > 1:
        for name, figures in made.per_class.items():
            lines += [
                "",
                f"class {name}",
                *(_row(LABELS[key], figures[key]) for key in ("ap", "precision", "recall", "f1")),
            ]
    if steps is not None:
        lines += ["", f"AP by nearness ({match.by})"]
        lines += [
            f"  {'mean' if np.isnan(value) else f'{value:g}':34s}{ap:.3f}"
            for _, value, ap in steps.itertuples(index=False)
        ]
    return [*lines, "", *(f"note: {note}" for note in notes)] if notes else lines


def _row(label: str, figure: Figure) -> str:
    value = "undefined" if figure.value is None else f"{figure.value:.3f}"
    span = "" if figure.low is None else f"   [{figure.low:.3f}, {figure.high:.3f}]"
    return f"  {label:34s}{value}{span}"


def _write(
    output: Path, made: Assessment, match: Match, over: str, notes: list[str], steps: Any
) -> None:
    """Write `output` (JSON) and beside it the curve and the scenes (CSV)."""
    document: dict[str, Any] = {
        "match": str(match),
        "intervals_drawn_over": over,
        "figures": {name: figure._asdict() for name, figure in made.figures.items()},
        "classes": {
            name: {key: f._asdict() for key, f in part.items()}
            for name, part in made.per_class.items()
        },
        "notes": notes,
    }
    if steps is not None:
        rows = [
            (None if np.isnan(value) else value, None if np.isnan(ap) else ap)
            for _, value, ap in steps.itertuples(index=False)
        ]
        document["ap_by_nearness"] = [{"value": value, "ap": ap} for value, ap in rows]
    write_json(output, document)
    for name, table in (("curve", thinned(made.pooled, 2000)), ("scenes", made.per_scene)):
        with atomic_file(output.with_name(f"{output.stem}_{name}.csv")) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
