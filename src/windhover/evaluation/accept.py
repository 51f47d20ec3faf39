"""The gate of `windhover accept OLD NEW`: may the new model take the place of the old one.

Compared are places that both tested against the same truth: where a review changed the labels of a
place, it proves nothing and is left out. Several divisions are pooled where one has too few places.
AP decides; the scenes of `acceptance.yaml` must be passed too.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from windhover.errors import DataError
from windhover.evaluation.acceptance_list import AcceptanceList
from windhover.evaluation.check_scenes import SceneOutcome, check_scenes
from windhover.evaluation.compare import compare, comparison_lines
from windhover.evaluation.model_test import TestRecord, find_test_record, pool_folds
from windhover.files import is_json_with_keys, write_json
from windhover.inference.detector import Detector
from windhover.metrics.ground_truth import GroundTruth

BETTER = 0
WORSE = 4
NO_VERDICT = 5
FAILED_SCENE = 6
SAME_KM2 = 1e-6  # relative difference of two areas that are one
VERDICTS = {
    BETTER: "accepted: the new model is better",
    WORSE: "not accepted: the new model is worse",
    NO_VERDICT: "no verdict: the difference may be chance",
    FAILED_SCENE: "not accepted: a scene of the acceptance list failed",
}


@dataclass(frozen=True)
class AcceptRequest:
    """What is compared, and what must hold.

    Attributes:
        old: reports, folds or MLflow runs, with commas between those of several divisions.
        new: the same of the new model.
        model: folder of the new model, for the acceptance list.
        acceptance: file of the list; one that is not there is no list.
        image_folder: folder of the pictures of failed scenes.
    """

    old: str
    new: str
    model: Path | None
    acceptance: Path
    image_folder: Path


@dataclass(frozen=True)
class Acceptance:
    """The outcome of the gate.

    Attributes:
        code: exit code: `BETTER`, `WORSE`, `NO_VERDICT` or `FAILED_SCENE`.
        lines: for the terminal.
        scenes: of the acceptance list.
    """

    code: int
    lines: list[str]
    scenes: list[SceneOutcome]

    @staticmethod
    def is_own(path: Path) -> bool:
        """Return whether a file that is there is such an outcome."""
        return is_json_with_keys(path, ("code", "verdict", "scenes"))

    def save(self, path: Path) -> None:
        """Write the outcome as JSON."""
        scenes = [{"scene": scene.name, "faults": scene.faults} for scene in self.scenes]
        write_json(path, {"code": self.code, "verdict": self.lines[-1], "scenes": scenes})


def accept(request: AcceptRequest) -> Acceptance:
    """Compare two models on untouched places, and check the new one on the acceptance list.

    Raises:
        windhover.errors.WindhoverError: a run or file is missing, or nothing can be compared.
    """
    wanted = None
    if os.path.lexists(request.acceptance):
        wanted = AcceptanceList.read(request.acceptance)
    old = find_pooled_record(request.old)
    new = find_pooled_record(request.new)
    first, second, n_touched = untouched_places(old, new)
    table = compare(first, second)
    lines = comparison_lines(table, first, second, names=(request.old, request.new))
    if n_touched:
        lines.append(f"{n_touched} places whose truth is not the same in both are left out")
    code = {"second is better": BETTER, "first is better": WORSE}.get(
        str(table["verdict"].iloc[0]), NO_VERDICT
    )
    outcomes: list[SceneOutcome] = []
    if wanted is not None:
        if request.model is None:
            raise DataError(
                f"{request.acceptance}: its scenes are searched with the new model. Name its "
                "folder: --model."
            )
        detector = Detector.from_bundle(request.model)
        outcomes = check_scenes(detector, wanted, request.image_folder)
        lines += ["", *(line for outcome in outcomes for line in outcome.lines())]
        if any(outcome.faults for outcome in outcomes):
            code = FAILED_SCENE
    return Acceptance(code, [*lines, "", VERDICTS[code]], outcomes)


def find_pooled_record(names: str) -> TestRecord:
    """Return the test of a model; of several divisions, with commas between, all as one.

    Raises:
        MissingFileError: a file or run is not there.
        DataError: a place was tested twice.
    """
    records = [find_test_record(name.strip()) for name in names.split(",") if name.strip()]
    if len(records) == 1:
        return records[0]
    return pool_folds([fold for record in records for fold in record.folds or (record,)])


def untouched_places(first: TestRecord, second: TestRecord) -> tuple[TestRecord, TestRecord, int]:
    """Return both tests on the places with the same scenes, objects and area, and how many differ.

    Raises:
        DataError: there is no such place.
    """
    known = [_truth_by_place(record) for record in (first, second)]
    both = set(known[0]) & set(known[1])
    same = {place for place in both if _is_same_truth(known[0][place], known[1][place])}
    if not same:
        raise DataError(
            "the two models were tested on no place with the same labels, so nothing can be "
            "compared. Evaluate both on the same data."
        )
    n_touched = len(set(known[0]) | set(known[1])) - len(same)
    return only_places(first, same), only_places(second, same), n_touched


def _truth_by_place(record: TestRecord) -> dict[str, pd.DataFrame]:
    """Return place -> scene, area and number of objects by class."""
    truth = record.ground_truth
    counts = truth.objects.groupby(["scene", "class"]).size().unstack(fill_value=0)
    table = truth.scenes.set_index("scene").join(counts).fillna(0)
    return {str(place): rows.drop(columns="place") for place, rows in table.groupby("place")}


def _is_same_truth(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Return whether two tables of a place have the same scenes, classes and numbers."""
    first = first.loc[:, (first != 0).any()]
    second = second.loc[:, (second != 0).any()]
    if set(first.index) != set(second.index) or set(first.columns) != set(second.columns):
        return False
    second = second.loc[first.index, first.columns]
    return bool(np.allclose(first.to_numpy(float), second.to_numpy(float), rtol=SAME_KM2))


def only_places(record: TestRecord, places: Collection[str]) -> TestRecord:
    """Return the part of a test that is of some places."""
    truth = record.ground_truth
    scenes = truth.scenes[truth.scenes["place"].isin(list(places))].reset_index(drop=True)
    names = set(scenes["scene"])

    def part(table: pd.DataFrame) -> pd.DataFrame:
        return table[table["scene"].isin(names)].reset_index(drop=True)

    folds = [only_places(fold, places) for fold in record.folds]
    return replace(
        record,
        matches=part(record.matches),
        ground_truth=GroundTruth(scenes, part(truth.objects), part(truth.ignored)),
        folds=tuple(fold for fold in folds if len(fold.ground_truth.scenes)),
    )


def check_acceptance(model: Path, acceptance: Path, image_folder: Path) -> Sequence[SceneOutcome]:
    """Check a model on an acceptance list, for its promotion.

    Args:
        model: folder of it.
        acceptance: file of the list.
        image_folder: folder of the pictures of failed scenes.

    Raises:
        DataError: it fails on a scene, which the message names.
    """
    wanted = AcceptanceList.read(acceptance)
    outcomes = check_scenes(Detector.from_bundle(model), wanted, image_folder)
    failed = [outcome for outcome in outcomes if outcome.faults]
    if failed:
        more = f", and {len(failed) - 1} more scenes failed" if len(failed) > 1 else ""
        raise DataError(
            f"{acceptance}: the scene {failed[0].name!r} failed: {failed[0].faults[0]}{more}. "
            f"Pictures are in {image_folder}; promote another model, or correct the list."
        )
    return outcomes
