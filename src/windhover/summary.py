"""The short table that ends `make repro`: what was found, how good it is on test, how long it took,
where it lies.

    python -m windhover.summary

Reads what the stages wrote and computes nothing. A stage that has not run is named, not guessed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from windhover.errors import WindhoverError
from windhover.files import read_json
from windhover.stages import SECONDS_LOG, last_seconds

METRICS, SEARCHED = Path("reports/metrics.json"), Path("data/detections/summary.json")
HEADLINE = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "ap": "AP",
    "false_alarms_per_km2": "false alarms per km2",
}
ORDER = ("simulate", "scenes", "patches", "augment", "train", "evaluate", "detect", "export")
PLACES = {
    "map": (
        "data/map/detections.gpkg",
        "data/map/detections.parquet",
        "data/map/detections.geojson",
    ),
    "report": ("reports/index.html",),
    "curves": ("reports/pr_scenes.png", "reports/froc_scenes.png", "reports/operating_point.png"),
    "errors": ("reports/errors.png",),
    "model": ("data/model",),
    "experiments": ("mlflow.db",),
}


def summary_lines(root: Path = Path()) -> list[str]:
    """Return the table, one line an item.

    Args:
        root: the project's root.

    Raises:
        MissingFileError: nothing has been evaluated.
        FormatError: what the stages wrote cannot be read.
    """
    metrics = _read(root / METRICS)
    lines = ["", *_found(root / SEARCHED, metrics), "", *_quality(metrics)]
    lines += ["", *_seconds(root / SECONDS_LOG), "", *_places(root), ""]
    return lines


def _found(path: Path, metrics: dict[str, Any]) -> list[str]:
    test = metrics["scenes"].get("test")
    said = "no labelled scene"
    if test is not None:
        said = f"{test['reported']} reported of {test['objects']} there: {test['found']} found, "
        said += f"{test['false_alarms']} false alarms"
    there = _row("on test", said)
    if not path.is_file():
        return ["objects", there]
    total = _read(path)["total"]
    everywhere = f"{total['objects']} in {total['scenes']} scenes, {total['km2']:.3g} km2"
    return ["objects found", _row("in all", everywhere), there]


def _quality(metrics: dict[str, Any]) -> list[str]:
    test = metrics["scenes"].get("test")
    if test is None:
        lines = ["on the patches of test (no scene of it is labelled)"]
        for name, figures in metrics["windows"]["test"].items():
            value = "undefined" if figures["ap_sampled"] is None else f"{figures['ap_sampled']:.3f}"
            lines.append(_row(f"AP, {name}", value))
    else:
        drawn = f"95 % intervals over {test['intervals_drawn_over']}"
        lines = [f"on test ({test['scenes']} scenes of {test['places']} places; {drawn})"]
    for key, label in HEADLINE.items() if test is not None else ():
        figure = test[key]
        value = "undefined" if figure["value"] is None else f"{figure['value']:.3f}"
        span = "" if figure["low"] is None else f"   [{figure['low']:.3f}, {figure['high']:.3f}]"
        lines.append(_row(label, f"{value}{span}"))
    for name, point in metrics["operating_point"].items():
        figure = point["threshold"]
        span = "" if figure["low"] is None else f"   [{figure['low']:.3f}, {figure['high']:.3f}]"
        lines.append(_row(f"threshold, {name}", f"{figure['value']:.3f}{span}   chosen on val"))
    return lines + [f"  note: {note}" for note in metrics["notes"]]


def _seconds(log: Path) -> list[str]:
    seconds = last_seconds(log)
    known = [stage for stage in ORDER if stage in seconds]
    lines = [_row(stage, f"{seconds[stage]:8.1f}") for stage in known]
    return [
        "seconds, last run of each stage",
        *lines,
        _row("together", f"{sum(seconds[s] for s in known):8.1f}"),
    ]


def _places(root: Path) -> list[str]:
    lines = []
    for label, paths in PLACES.items():
        there = [path for path in paths if (root / path).exists()]
        lines += [_row(label if not index else "", path) for index, path in enumerate(there)]
    return ["files", *lines]


def _row(label: str, value: str) -> str:
    return f"  {label:22s}{value}"


def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = read_json(
        path, "Run `make repro` first.", "Run the stage that writes it again."
    )
    return values


def main() -> None:
    """Print the table."""
    try:
        print("\n".join(summary_lines()))
    except WindhoverError as error:
        print(f"summary: {error.sentence()}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
