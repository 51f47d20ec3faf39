"""The finished model of coverage described: card, README and STAC item written into its folder."""

from __future__ import annotations

from pathlib import Path

from windhover.dataset.catalog import Catalog
from windhover.evaluation.describe_model import (
    data_version,
    nameless,
    native_gsd_of,
    write_description,
)
from windhover.metrics.coverage_record import CoverageMetricsRecord, CoverageSplitRecord
from windhover.metrics.evaluation_result import EVALUATED_SPLITS
from windhover.metrics.metrics_record import EstimateRecord
from windhover.models.model_description import Accuracy, Figure, ModelDescription, place_hashes
from windhover.params.evaluate import ModelCardParams

FIGURES = {
    "iou": "IoU",
    "f1": "F1",
    "producers_accuracy": "producer's accuracy",
    "users_accuracy": "user's accuracy",
    "false_positive_rate": "false-positive rate",
}


def describe_coverage_model(
    folder: Path,
    record: CoverageMetricsRecord,
    catalog: Catalog,
    *,
    texts: ModelCardParams,
    patches: Path,
    gsd_m: float,
) -> None:
    """Write the description of a finished model: into its card, as a page and as a STAC item.

    Args:
        folder: of the model, complete otherwise.
        record: of its evaluation.
        catalog: that it was trained and measured on.
        texts: what no file knows.
        patches: folder of the patches.
        gsd_m: of the training.
    """
    train = catalog.split("train")
    places = {}
    for split in ("train", *EVALUATED_SPLITS):
        places[split] = place_hashes(map(str, catalog.split(split).scenes["place"]))
    accuracy = None
    if "test" in record.scenes:
        accuracy = _accuracy(record.scenes["test"], gsd_m)
    description = ModelDescription(
        sensor=texts.sensor,
        native_gsd_m=native_gsd_of(train.scenes),
        places=places,
        scenes=len(train.scenes),
        data_version=data_version(catalog, patches),
        license=texts.license,
        data_license=texts.data_license,
        limits=(*texts.limits, *nameless(record.notes, catalog.scenes)),
        accuracy=accuracy,
    )
    write_description(folder, description)


def _accuracy(test: CoverageSplitRecord, gsd_m: float) -> Accuracy:
    """Return the figures on the scenes of test."""
    figures = {"balanced accuracy": _figure(test.balanced_accuracy)}
    for name, row in test.classes.items():
        if row.ap is None:
            continue
        for key, title in FIGURES.items():
            figures[f"{title}, {name}"] = _figure(row.accuracies[key])
        if row.share is not None:
            figures[f"error of the share, {name}"] = _figure(row.share.mean_abs_error)
    return Accuracy(
        scenes=test.scenes,
        places=test.places,
        objects=0,
        km2=float(f"{test.px * gsd_m**2 / 1e6:.6g}"),
        match="pixel by pixel",
        figures=figures,
    )


def _figure(estimate: EstimateRecord) -> Figure:
    return Figure(value=estimate.value, low=estimate.low, high=estimate.high)
