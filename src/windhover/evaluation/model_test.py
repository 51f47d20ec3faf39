"""What is kept of a model's test: read from reports, MLflow runs, or the folds of places.

The folds of a cross-validation are pooled to one record: each place was tested once, by a model
that had not seen it and at the thresholds of that model. Compares nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from windhover.errors import DataError, MissingFileError
from windhover.geometry.arrays import Floats
from windhover.metrics.bootstrap import BootstrapSample
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.group_counts import counts_by_scene
from windhover.metrics.kfold_record import KFOLD_FILE, CrossValidationResult
from windhover.metrics.metrics_record import MetricsRecord
from windhover.table_record import Column, TableSchema

logger = logging.getLogger(__name__)

# files of a report, and their names in earlier versions
MATCHES_FILES = ("matches.parquet", "judged.parquet")
GROUND_TRUTH_FILES = ("ground_truth.parquet", "ground.parquet")
RENAMED_COLUMNS = {"hit": "is_tp"}
MATCHES = TableSchema(
    "evaluate",
    {
        "scene": Column("text"),
        "class": Column("text"),
        "score": Column("number"),
        "is_tp": Column("flag"),
    },
)
GROUND_TRUTH = TableSchema(
    "evaluate",
    {
        "scene": Column("text"),
        "place": Column("text"),
        "km2": Column("number", least=0),
        "class": Column("text", nullable=True),  # of a scene without objects
        "objects": Column("integer", least=0),
    },
)


@dataclass(frozen=True)
class TestRecord:
    """What is kept of a model's test.

    Attributes:
        model: name.
        matches: every detection that counts: `scene`, `class`, `score`, `is_tp`, `ignored`.
        ground_truth: scenes, and the scene and class of each object.
        thresholds: by class; of pooled folds those of the first one.
        folds: the tests that are pooled, each of its own places; none for a single model.
    """

    __test__ = False  # not a test case of pytest

    model: str
    matches: pd.DataFrame
    ground_truth: GroundTruth
    thresholds: Mapping[str, float]
    folds: tuple[TestRecord, ...] = ()

    @property
    def description(self) -> str:
        """What was tested, in words."""
        if self.folds:
            return f"{len(self.folds)} folds of places, models {self.model}"
        return f"model {self.model}"

    def counts_by_scene(self) -> pd.DataFrame:
        """Return the counts of each scene, from `windhover.metrics.group_counts`."""
        parts = [
            counts_by_scene(fold.matches, fold.ground_truth, fold.thresholds)
            for fold in self.folds or (self,)
        ]
        counts = pd.concat(parts).set_index("scene").loc[self.ground_truth.scenes["scene"]]
        return counts.reset_index()

    def thresholds_by_group(self, sample: BootstrapSample) -> dict[str, Floats]:
        """Return (G,) the threshold of each class in each group of scenes."""
        group_of = pd.Series(sample.group, index=self.ground_truth.scenes["scene"])
        by_class = {name: np.zeros(len(sample.names)) for name in self.thresholds}
        for fold in self.folds or (self,):
            groups = group_of[fold.ground_truth.scenes["scene"]].to_numpy()
            for name, thresholds in by_class.items():
                thresholds[groups] = fold.thresholds[name]
        return by_class


def find_test_record(name: str) -> TestRecord:
    """Return the test of a model, or of a cross-validation, wherever it is kept.

    Args:
        name: a folder of reports or of a cross-validation, `kfold.json`, or an MLflow run's id,
            name or model key.

    Raises:
        MissingFileError: a file or run is not there.
        DataError: nothing was tested on scenes, or a place was tested twice.
    """
    path = Path(name)
    if path.is_dir() and (path / KFOLD_FILE).is_file():
        result = CrossValidationResult.load(path / KFOLD_FILE)
        reports = [path / f"fold-{fold.fold}" / "reports" for fold in result.folds]
        return pool_folds([load_test_record(folder) for folder in reports])
    if path.is_dir():
        return load_test_record(path)
    from windhover.tracking.registry import download_run_files, has_run_file

    if not path.is_file():
        if not has_run_file(name, KFOLD_FILE):
            return load_test_record(download_run_files(name, "evaluation"))
        path = download_run_files(name, KFOLD_FILE)
    folds = CrossValidationResult.load(path).folds
    reports = [download_run_files(fold.model, "evaluation") for fold in folds]
    return pool_folds([load_test_record(folder) for folder in reports])


def pool_folds(folds: Sequence[TestRecord]) -> TestRecord:
    """Return the tests of several models as one: each place by the model that was tested on it.

    Raises:
        DataError: a place was tested by two of them, or they know different classes.
    """
    tested: dict[str, str] = {}
    for fold in folds:
        for place in fold.ground_truth.scenes["place"].unique():
            if place in tested:
                raise DataError(
                    f"place {place} was tested by two folds, {tested[place]} and {fold.model}, "
                    "and has to be judged once. Compare the folds of one cross-validation."
                )
            tested[place] = fold.model
        if set(fold.thresholds) != set(folds[0].thresholds):
            raise DataError(
                f"the folds know different classes: {', '.join(fold.thresholds)} and "
                f"{', '.join(folds[0].thresholds)}. Divide the places so that every fold has all."
            )
    scenes = pd.concat([fold.ground_truth.scenes for fold in folds])
    objects = pd.concat([fold.ground_truth.objects for fold in folds], ignore_index=True)
    ignored = pd.concat([fold.ground_truth.ignored for fold in folds], ignore_index=True)
    return TestRecord(
        model=", ".join(fold.model for fold in folds),
        matches=pd.concat([fold.matches for fold in folds], ignore_index=True),
        ground_truth=GroundTruth(scenes.sort_values("scene", ignore_index=True), objects, ignored),
        thresholds=folds[0].thresholds,
        folds=tuple(folds),
    )


def load_test_record(folder: Path) -> TestRecord:
    """Read the test of a model from its reports; those of earlier versions are read too.

    Raises:
        MissingFileError: a file is not there.
        DataError: the model was tested on no scene, as with ready-made patches alone.
    """
    matches_path = _existing_file(folder, MATCHES_FILES)
    rows = GROUND_TRUTH.read(_existing_file(folder, GROUND_TRUTH_FILES))
    metrics = MetricsRecord.load(_existing_file(folder, ("metrics.json",)))
    matches = _counted(MATCHES.read(matches_path, renamed=RENAMED_COLUMNS))
    if rows.empty:
        raise DataError(
            f"{folder}: this model was tested on patches alone, and models are compared on scenes. "
            "Give it labelled scenes in `test` and evaluate again, or use `dvc metrics diff` for "
            "its metrics on windows."
        )
    thresholds = {}
    for name, point in metrics.operating_point.items():
        thresholds[name] = _known_threshold(point.threshold.value, name)
    ground_truth = ground_truth_of_counts(rows)
    return TestRecord(metrics.model, matches.assign(ignored=False), ground_truth, thresholds)


def ground_truth_of_counts(rows: pd.DataFrame) -> GroundTruth:
    """Return scenes and objects, without places in them, from their numbers.

    Args:
        rows: of a table `GROUND_TRUTH`, a row each scene and class.
    """
    scenes = rows.drop_duplicates("scene")[["scene", "place", "km2"]]
    objects = rows.loc[rows.index.repeat(rows["objects"]), ["scene", "class"]]
    return GroundTruth(
        scenes=scenes.sort_values("scene", ignore_index=True),
        objects=objects.reset_index(drop=True),
        ignored=pd.DataFrame({"scene": [], "geometry": []}),
    )


def _counted(matches: pd.DataFrame) -> pd.DataFrame:
    """Return the detections of test that count; earlier versions kept no others."""
    if "split" in matches and "ignored" in matches:
        matches = matches[(matches["split"] == "test") & ~matches["ignored"].astype(bool)]
    return pd.DataFrame(matches[list(MATCHES.columns)]).reset_index(drop=True)


def _existing_file(folder: Path, names: tuple[str, ...]) -> Path:
    """Return the first of the names that is there; an older one is logged.

    Raises:
        MissingFileError: none is there.
    """
    for name in names:
        if (folder / name).is_file():
            if name != names[0]:
                logger.warning("%s: read as %s of an earlier version.", folder / name, names[0])
            return folder / name
    raise MissingFileError(
        f"{folder / names[0]}: no such file. Run evaluate again with this version of windhover."
    )


def _known_threshold(value: float | None, class_name: str) -> float:
    if value is None:
        raise DataError(f"metrics.json has no threshold of `{class_name}`. Run evaluate again.")
    return value
