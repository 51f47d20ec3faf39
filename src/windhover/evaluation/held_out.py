"""What the models of a cross-validation found on scenes that they had not seen, pooled.

A model that learned from every labelled scene has none left to be fitted on: on its own training
scenes it is surer, and more often right, than anywhere else. The models of the folds have such
scenes. Kept as two tables next to `kfold.json`; searches nothing and chooses no threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from windhover.evaluation.model_test import GROUND_TRUTH, ground_truth_of_counts
from windhover.files import atomic_file, check_output
from windhover.metrics.detection_metrics import DetectionMetrics
from windhover.metrics.ground_truth import GroundTruth
from windhover.report.csv_tables import object_counts
from windhover.table_record import Column, TableSchema

FOLDS = "folds"  # stands in place of the split that thresholds were chosen on
STAGE = "crossvalidate"
MATCHES_SUFFIX = "_matches.parquet"
COUNTS_SUFFIX = "_ground_truth.parquet"
MATCHES = TableSchema(
    STAGE,
    {
        "scene": Column("text"),
        "class": Column("text"),
        "score": Column("number"),  # raw logit
        "is_tp": Column("flag"),
    },
)
COUNTS = TableSchema(STAGE, GROUND_TRUTH.columns)


@dataclass(frozen=True)
class HeldOut:
    """Detections of scenes that were held out of training, each scene by one model.

    Attributes:
        matches: `scene`, `class`, `score` (raw logit), `is_tp`, `ignored` (never); in falling
            score.
        ground_truth: of the same scenes, without places in them.
    """

    matches: pd.DataFrame
    ground_truth: GroundTruth


def save_fold(test: DetectionMetrics, path: Path) -> None:
    """Write what the model of one fold found on the scenes that it was tested on.

    Args:
        test: metrics on them; its matches hold raw logits as `logit`.
        path: next to which the two files stand, such as `fold-0/held_out`.
    """
    counted = test.matches[~test.matches["ignored"]]
    matches = counted[["scene", "class", "is_tp"]].assign(score=counted["logit"])
    _save(matches[list(MATCHES.columns)], object_counts(test), path)


def pool_held_out(folds: Sequence[Path], path: Path) -> None:
    """Write the tables of all folds as one, next to a path.

    Args:
        folds: paths that `save_fold` was given.
        path: next to which the two files stand, such as `reports/kfold.json`.
    """
    matches = [MATCHES.read(_beside(fold, MATCHES_SUFFIX)) for fold in folds]
    counts = [COUNTS.read(_beside(fold, COUNTS_SUFFIX)) for fold in folds]
    pooled = pd.concat(matches, ignore_index=True)
    pooled = pooled.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    _save(pooled, pd.concat(counts, ignore_index=True), path)


def load_held_out(path: Path) -> HeldOut | None:
    """Read the tables next to a path; None where an earlier version left none.

    Args:
        path: of `kfold.json`.

    Raises:
        FormatError: a table is damaged.
        MissingFileError: one of the two is there alone.
    """
    files = held_out_files(path)
    if not any(file.is_file() for file in files):
        return None
    matches = MATCHES.read(files[0])
    counts = COUNTS.read(files[1])
    return HeldOut(matches.assign(ignored=False), ground_truth_of_counts(counts))


def check_held_out_files(path: Path) -> None:
    """Check that the two files next to a path can be written.

    Raises:
        ParameterError: one of them is of another program, or nothing can be written there.
    """
    for file, schema in zip(held_out_files(path), (MATCHES, COUNTS), strict=True):
        check_output(file, is_own=partial(_has_columns, schema))


def _has_columns(schema: TableSchema, path: Path) -> bool:
    try:
        return set(schema.columns) <= set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return False


def held_out_files(path: Path) -> tuple[Path, Path]:
    """Return the files of detections and of objects that stand next to a path."""
    return _beside(path, MATCHES_SUFFIX), _beside(path, COUNTS_SUFFIX)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.stem + suffix)


def _save(matches: pd.DataFrame, counts: pd.DataFrame, path: Path) -> None:
    for table, suffix in ((matches, MATCHES_SUFFIX), (counts, COUNTS_SUFFIX)):
        with atomic_file(_beside(path, suffix)) as temporary:
            table.to_parquet(temporary, index=False)
