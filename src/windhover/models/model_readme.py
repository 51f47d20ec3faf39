"""The model card for people: `README.md` of a model folder, in Hugging Face's form.

Everything in it is in the card and the operating point; a model without a description gets a
shorter page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML

from windhover.models.card import Card
from windhover.models.model_description import Accuracy, Figure, ModelDescription
from windhover.models.operating_point import OperatingPoint
from windhover.models.stac_item import item_name

README = "README.md"
NOT_NAMED = "not named"
UNKNOWN_ACCURACY = (
    "No accuracy is known: no labelled scene was kept for a test. Label scenes of another place, "
    "and evaluate again."
)
CROSS_VALIDATED = "cross-validation:"  # begins the sentence of folds that stand for this model
FIGURE_TITLES = {
    "ap": "AP",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "false_alarms_per_km2": "false alarms per km²",
}
FILES = (
    "`weights.safetensors` holds the weights, `graphs/` the same network as ONNX, `model.json` "
    "this card for programs, `calibration.json` and `operating_point.json` what makes scores "
    "and thresholds, `item.json` a STAC item by the MLM extension. Nothing is unpickled."
)
TAGS = ["remote-sensing", "earth-observation", "windhover"]
HUB_TASKS = {"objects": "object-detection", "coverage": "image-segmentation"}
LICENSE_NAME = re.compile(r"[a-z0-9.-]+")  # as Hugging Face writes them


def model_readme(card: Card, point: OperatingPoint | None) -> str:
    """Return the page of a model: YAML front matter, then sections in Markdown."""
    about = card.description or ModelDescription()
    verb = "Finds"
    output = "detections.gpkg"
    if card.task == "coverage":
        verb = "Maps"
        output = "coverage"
    sections = [
        f"---\n{_front_matter(card, about)}---",
        f"# {item_name(card)}",
        f"{verb} {', '.join(card.classes)} in satellite and aerial rasters. Made by Windhover.",
        "## Input",
        _table(_input_rows(card, about)),
        "## Use",
        f"```\nwindhover detect scene.tif --model THIS_FOLDER -o {output}\n```",
        "## Training data",
        _table(_training_rows(card, about)),
        "## Accuracy",
        _accuracy(card, about, point),
        "## Limits",
        "\n".join(f"- {sentence}" for sentence in _limits(card, about)),
        "## Files",
        FILES,
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(card: Card, about: ModelDescription) -> str:
    """Return the metadata that Hugging Face reads, as YAML."""
    values: dict[str, Any] = {**_license_values(about.license)}
    values["library_name"] = "windhover"
    values["pipeline_tag"] = HUB_TASKS[card.task]
    values["tags"] = [HUB_TASKS[card.task], *TAGS]
    if about.accuracy is not None:
        values["model-index"] = [
            {"name": item_name(card), "results": [_results(card, about.accuracy, about)]}
        ]
    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(values, text)
    return text.getvalue()


def _license_values(name: str | None) -> dict[str, str]:
    """Return the licence as Hugging Face names it."""
    if name is None:
        return {"license": "unknown"}
    if LICENSE_NAME.fullmatch(name.lower()):
        return {"license": name.lower()}
    return {"license": "other", "license_name": name}


def _results(card: Card, accuracy: Accuracy, about: ModelDescription) -> dict[str, Any]:
    """Return the figures as an entry of Hugging Face's index of results."""
    metrics = [
        {"type": name, "name": FIGURE_TITLES.get(name, name), "value": figure.value}
        for name, figure in accuracy.figures.items()
        if figure.value is not None
    ]
    dataset = {
        "type": "windhover-catalog",
        "name": f"labelled scenes {about.data_version}".strip(),
        "split": accuracy.split,
    }
    return {"task": {"type": HUB_TASKS[card.task]}, "dataset": dataset, "metrics": metrics}


def _input_rows(card: Card, about: ModelDescription) -> Iterator[tuple[str, str]]:
    """Yield what a raster must be."""
    yield "GSD", f"{card.gsd_m:g} m per px; rasters of other GSD are resampled to it"
    if about.native_gsd_m is not None:
        finest, coarsest = about.native_gsd_m
        yield "GSD of the training scenes", f"{finest:.4g} to {coarsest:.4g} m"
    yield "bands", ", ".join(card.bands)
    yield "number type", card.dtype
    for index, band in enumerate(card.bands):
        text = f"mean {card.mean[index]:.5g}, standard deviation {card.std[index]:.5g}"
        if card.ranges is not None:
            lowest, highest = card.ranges.bands[index]
            text += f", from {lowest:.5g} to {highest:.5g}"
        yield f"training pixels, {band}", text
    yield "sensor", about.sensor or NOT_NAMED
    yield "window", f"{card.window_px} px, every {card.stride_px} px"


def _training_rows(card: Card, about: ModelDescription) -> Iterator[tuple[str, str]]:
    """Yield what the model was made of."""
    if about.scenes:
        yield "scenes", str(about.scenes)
    if about.scenes and card.task == "objects":
        yield "objects", str(about.objects)
    yield "data version", f"`{about.data_version or 'unknown'}`"
    yield "licence of the data", about.data_license or NOT_NAMED
    yield "licence of the model", about.license or NOT_NAMED
    for split, hashes in about.places.items():
        text = " ".join(f"`{digits}`" for digits in hashes) or "none"
        yield f"places of {split} (SHA-256 of their names, 16 digits)", text


def _accuracy(card: Card, about: ModelDescription, point: OperatingPoint | None) -> str:
    """Return what was measured, and the thresholds it was measured at."""
    accuracy = about.accuracy
    lines = []
    if accuracy is None:
        folds = [limit for limit in about.limits if limit.startswith(CROSS_VALIDATED)]
        lines += [f"By {folds[0]}"] if folds else [UNKNOWN_ACCURACY]
    else:
        ground = f"{accuracy.scenes} scenes of {accuracy.places} places, {accuracy.km2:.3g} km²"
        line = (
            f"On {accuracy.split}: {accuracy.objects} objects in {ground}; a detection is an "
            f"object where {accuracy.match}."
        )
        if card.task == "coverage":
            line = f"On {accuracy.split}: {ground}, {accuracy.match}."
        lines.append(line)
        lines.append(_figure_table(accuracy.figures))
    if about.exported is not None:
        lines.append(f"Exported as ONNX for programs with tiles. {about.exported.line()}")
    if point is not None:
        thresholds = ", ".join(f"{name} {cut:.3f}" for name, cut in point.thresholds().items())
        lines.append(f"Threshold: {thresholds}.")
    return "\n\n".join(lines)


def _figure_table(figures: dict[str, Figure]) -> str:
    """Return figures with intervals as a table."""
    lines = ["| figure | value | 95 % interval |", "|---|---|---|"]
    for name, figure in figures.items():
        interval = "–"
        if figure.low is not None and figure.high is not None:
            interval = f"{figure.low:.3f} to {figure.high:.3f}"
        value = "–" if figure.value is None else f"{figure.value:.3f}"
        lines.append(f"| {FIGURE_TITLES.get(name, name)} | {value} | {interval} |")
    return "\n".join(lines)


def _limits(card: Card, about: ModelDescription) -> Iterator[str]:
    """Yield sentences: where the model is not to be trusted."""
    if card.task == "objects":
        yield (
            f"Objects larger than a window ({card.window_px * card.gsd_m:g} m) need several "
            "scales, and those of a few px are seldom found."
        )
    else:
        yield (
            f"A px of the map is {card.stride_px * card.gsd_m:g} m: borders are no finer, and what "
            "is smaller is seldom mapped."
        )
    yield (
        "Sensors, seasons and landscapes that the training did not show were not measured: label "
        "a few scenes of your own, and assess."
    )
    if not card.sized and card.task == "objects":
        yield "The training labels were points: the sizes of the boxes mean nothing."
    yield from (limit for limit in about.limits if not limit.startswith(CROSS_VALIDATED))


def _table(rows: Iterator[tuple[str, str]]) -> str:
    """Return rows of names and texts as a table in Markdown."""
    lines = ["| | |", "|---|---|"]
    lines += [f"| {name} | {text.replace('|', chr(92) + '|')} |" for name, text in rows]
    return "\n".join(lines)
