"""The label curve: AP on places never seen against the number of labelled scenes in training.

Each division of the places has a test of its own; its training scenes are drawn several times, a
larger draw holding the smaller one. A finished training is not run again, so a stopped curve goes
on. Works in a folder of its own: the project's data, model and reports stay as they are.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from windhover.dataset.catalog import Catalog, save_catalog
from windhover.errors import DataError, ParameterError
from windhover.evaluation.evaluate_model import EvaluationFolders, evaluate
from windhover.evaluation.model_test import TestRecord, load_test_record, pool_folds
from windhover.experiments.cross_validation import (
    INTERMEDIATE,
    FlowParams,
    FoldFolders,
    check_no_pretrained_model,
    flow_key,
    make_catalog,
    make_patches,
    train_fold,
)
from windhover.files import is_json_with_keys, lock_output, write_json
from windhover.geometry.arrays import Floats
from windhover.metrics.bootstrap import resample
from windhover.metrics.detection_metrics import weighted_metrics
from windhover.metrics.place_intervals import leave_one_out_weights, share_interval
from windhover.params import change_params
from windhover.rendering.plot_style import MARK_COLOR, TEST_COLOR, add_titles, plot_file
from windhover.training.distributed import require_one_process

logger = logging.getLogger(__name__)

WORK = Path(".windhover/label-curve")
COUNTS = (1, 2, 4, 8, 16)
MIN_FOLDS = 3  # of a division into train, val and test
DONE_FILE = "done.json"


@dataclass(frozen=True)
class CurveRequest:
    """How the curve is measured.

    Attributes:
        counts: labelled scenes in training; as many as every division has are added.
        n_draws: draws of the training scenes.
        n_divisions: divisions of the places.
        seed: of the draws.
    """

    counts: tuple[int, ...] = COUNTS
    n_draws: int = 3
    n_divisions: int = 2
    seed: int = 0

    def check(self) -> None:
        """Check the numbers.

        Raises:
            ParameterError: one is below 1.
        """
        numbers = (*self.counts, self.n_draws, self.n_divisions)
        if min(numbers) < 1:
            raise ParameterError(
                f"--counts, --draws and --divisions must be 1 or more, got {min(numbers)}. Give "
                "larger ones."
            )


class CurvePoint(BaseModel):
    """AP with some number of labelled scenes.

    Attributes:
        n_scenes: labelled scenes in training.
        ap: mean over draws, None where undefined.
        low: lower end of its 95 % interval over the tested places, None where there is none.
        high: upper end.
        draws: AP of each draw, all divisions pooled.
        places: that were tested.
    """

    model_config = ConfigDict(frozen=True)

    n_scenes: int
    ap: float | None
    low: float | None
    high: float | None
    draws: tuple[float, ...]
    places: int


class LabelCurve(BaseModel):
    """The curve.

    Attributes:
        curve: from few scenes to all of them.
        divisions: of the places.
    """

    model_config = ConfigDict(frozen=True)

    curve: tuple[CurvePoint, ...]
    divisions: int

    def save(self, path: Path) -> None:
        """Write the curve as JSON."""
        write_json(path, self.model_dump(mode="json"))

    def lines(self) -> list[str]:
        """Return the curve as a table."""
        lines = ["scenes     AP   95 % interval over places   draws"]
        for point in self.curve:
            interval = "no interval"
            if point.low is not None and point.high is not None:
                interval = f"[{point.low:.3f}, {point.high:.3f}]"
            draws = " ".join(f"{value:.3f}" for value in point.draws)
            ap = "    -" if point.ap is None else f"{point.ap:.3f}"
            lines.append(f"{point.n_scenes:6d}  {ap}   {interval:26s}   {draws}")
        return lines


def is_own_curve(path: Path) -> bool:
    """Return whether a file that is there is a `LabelCurve`."""
    return is_json_with_keys(path, ("curve", "divisions"))


def measure_label_curve(params: FlowParams, request: CurveRequest) -> LabelCurve:
    """Train with few and more labelled scenes, and test each model on places it has not seen.

    Args:
        params: of the stages; `scenes.folds` and `scenes.fold` are set here.
        request: how the curve is measured.

    Raises:
        ParameterError: a number is out of its range, or a model may have seen the tested places.
        DataError: fewer places than folds, or no labelled scene to train on.
    """
    request.check()
    check_no_pretrained_model(params)
    require_one_process(params.train, "label-curve")
    n_folds = max(MIN_FOLDS, request.n_divisions)
    root = WORK / flow_key(params, n_folds)
    with lock_output(root):
        catalogs = []
        for division in range(request.n_divisions):
            changed = change_params("scenes", params.scenes, {"folds": n_folds, "fold": division})
            catalogs.append(make_catalog(changed, root / f"division-{division}" / "scenes"))
        orders = [_orders_of_scenes(catalog, request) for catalog in catalogs]
        # divisions are pooled, so each has the same numbers of scenes
        n_scenes = min(len(draws[0]) for draws in orders)
        points = []
        for count in [*sorted(one for one in set(request.counts) if one < n_scenes), n_scenes]:
            pooled = []
            for draw in range(request.n_draws):
                tests = []
                for division, catalog in enumerate(catalogs):
                    folders = FoldFolders(
                        root / f"division-{division}" / f"{count}-scenes-draw-{draw}"
                    )
                    scenes = orders[division][draw][:count]
                    tests.append(_train_and_test(params, catalog, scenes, folders=folders))
                pooled.append(pool_folds(tests))
            points.append(curve_point(count, pooled))
    return LabelCurve(curve=tuple(points), divisions=request.n_divisions)


def _orders_of_scenes(catalog: Catalog, request: CurveRequest) -> list[list[str]]:
    """Return the training scenes in a random order of each draw.

    Raises:
        DataError: none has an object.
    """
    train = catalog.split("train")
    with_objects = set(train.labels.loc[train.labels["role"] == "object", "scene"])
    names = sorted(row.scene for row in train if row.labeled and row.scene in with_objects)
    if not names:
        raise DataError("no training scene has a labelled object. Bring labelled scenes.")
    rng = np.random.default_rng(request.seed)
    return [list(rng.permutation(names)) for _ in range(request.n_draws)]


def with_training_scenes(catalog: Catalog, names: Sequence[str]) -> Catalog:
    """Return a catalog whose split `train` holds some scenes alone; the others are left out."""
    is_kept = (catalog.scenes["split"] != "train") | catalog.scenes["scene"].isin(list(names))
    scenes = catalog.scenes[is_kept].reset_index(drop=True)
    kept = set(scenes["scene"])
    return replace(
        catalog,
        scenes=scenes,
        labels=catalog.labels[catalog.labels["scene"].isin(kept)].reset_index(drop=True),
        areas=catalog.areas[catalog.areas["scene"].isin(kept)].reset_index(drop=True),
    )


def _train_and_test(
    params: FlowParams, catalog: Catalog, scenes: Sequence[str], *, folders: FoldFolders
) -> TestRecord:
    """Train on some scenes and return the test; one that is finished is read."""
    reports = folders.of_stage("reports")
    if not (folders.root / DONE_FILE).is_file():
        logger.info("label curve: %s", folders.root.name)
        smaller = with_training_scenes(catalog, scenes)
        if not folders.of_stage("scenes").is_dir():
            save_catalog(smaller, folders.of_stage("scenes"))
        make_patches(params, smaller, folders)
        train_fold(params, folders.root.name, folders)
        names = ("scenes", "patches", "train", "model", "reports")
        evaluate(
            params.evaluate, EvaluationFolders(**{name: folders.of_stage(name) for name in names})
        )
        write_json(folders.root / DONE_FILE, {"scenes": list(scenes)})
        for name in INTERMEDIATE:
            shutil.rmtree(folders.of_stage(name), ignore_errors=True)
    return load_test_record(reports)


def curve_point(n_scenes: int, draws: Sequence[TestRecord]) -> CurvePoint:
    """Return the mean AP of several draws on the same places, with its interval over places.

    Args:
        n_scenes: labelled scenes in training.
        draws: the tests of each draw, all on the same places.
    """
    values = []
    without_one = []
    sizes: Floats = np.zeros(0)
    for record in draws:
        sample = resample(record.ground_truth.scenes, 0, seed=0)
        metrics = weighted_metrics(
            record.matches,
            record.ground_truth,
            record.thresholds_by_group(sample),
            sample=sample,
            per_scene=record.counts_by_scene(),
        )
        n_groups = len(sample.names)
        values.append(float(metrics(np.ones((n_groups, 1)))["ap"][0]))
        without_one.append(metrics(leave_one_out_weights(n_groups))["ap"])
        sizes = metrics.counts_by_group()[""].n_gt
    mean = float(np.mean(values))
    interval = share_interval(
        mean, np.mean(without_one, axis=0), sizes=sizes, n_trials=float(np.sum(sizes))
    )
    low, high = interval or (None, None)
    return CurvePoint(
        n_scenes=n_scenes,
        ap=mean if np.isfinite(mean) else None,
        low=low,
        high=high,
        draws=tuple(value for value in values if np.isfinite(value)),
        places=draws[0].ground_truth.scenes["place"].nunique(),
    )


def plot_label_curve(curve: LabelCurve, path: Path) -> None:
    """Write a picture of the curve."""
    known = [point for point in curve.curve if point.ap is not None]
    with plot_file(path, (6.4, 4.2)) as (_, axes):
        x = [point.n_scenes for point in known]
        axes.plot(x, [point.ap for point in known], color=TEST_COLOR, marker="o", label="mean")
        for point in known:
            if point.low is not None:
                axes.plot(
                    [point.n_scenes] * 2, [point.low, point.high], color=TEST_COLOR, alpha=0.5
                )
            axes.plot(
                [point.n_scenes] * len(point.draws), point.draws, ".", color=MARK_COLOR, alpha=0.7
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(x, [str(value) for value in x])
        axes.set_ylim(0, 1.01)
        axes.set_xlabel("labelled scenes in training")
        axes.set_ylabel("AP on places never seen")
        places = max((point.places for point in known), default=0)
        subtitle = f"{places} places in {curve.divisions} divisions; dots: draws; bars: 95 %"
        add_titles(axes, "What one more labelled scene brings", subtitle)
