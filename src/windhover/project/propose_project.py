"""The whole proposal of a project: parameters, split and findings, from what was measured."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from windhover.geometry.windows import WINDOW_PX
from windhover.progress import counted
from windhover.project.measure import MeasuredData
from windhover.project.measurements import Measurements
from windhover.project.plan_split import SplitPlan, plan_split
from windhover.project.proposal import Finding, Proposal, ProposedValue
from windhover.project.propose import (
    DEFAULT_POINT_PX,
    propose_amounts,
    propose_augmentation,
    propose_classes,
    propose_duplicates,
    propose_gsd,
    propose_labels,
    propose_measures,
    propose_search,
)
from windhover.project.request import POSITIVE_ONLY, ProjectRequest, absolute_path
from windhover.project.write_dvc_yaml import CROSS_VALIDATION

BLOCKS_FILE = "blocks.json"
MANY_EPOCHS = 400  # more than fit: the minutes decide
FOLDS_SHARE = 0.5  # of the minutes, where folds measure
OTHER_MINUTES = 3.0  # reading, cutting and augmenting patches, report, map
MPX_PER_MINUTE = 150.0  # searched at stride 8 with re-scored peaks, two cores
N_SHOWN = 3
SPLIT_FOLDERS = ("train", "training", "val", "valid", "validation", "test", "testing")


def propose_project(
    data: MeasuredData, request: ProjectRequest, gsd_m: float | None = None
) -> tuple[Proposal, SplitPlan]:
    """Return what is proposed for a project, and its plan of the split.

    Args:
        data: the measured scenes and labels.
        request: what the person asks for.
        gsd_m: of training, where a person has set it; None proposes one.
    """
    record = data.record
    gsd = propose_gsd(record)
    if gsd_m is not None:
        gsd = ProposedValue(name="scenes.gsd_m", value=gsd_m, reason="set by hand")
    plan = plan_split(data, gsd.value)
    values = [
        *data_values(record, request),
        gsd,
        *propose_classes(record),
        *propose_duplicates(record),
        *split_values(plan),
        *propose_labels(record, gsd.value),
        *propose_amounts(record, _n_training(plan), _shortest_minutes(plan, request)),
        *propose_augmentation(record, gsd.value),
        *_labelled_values(request, gsd.value),
        *time_values(plan, request),
        *propose_search(record, gsd.value),
        *propose_measures(record, gsd.value),
    ]
    minutes = _expected_minutes(record, values, request)
    proposal = Proposal(
        values=tuple(values),
        findings=tuple(_findings(record, plan, request, minutes)),
        split_kind=plan.kind,
        objects_by_split=plan.objects,
        minutes=round(minutes, 1),
    )
    return proposal, plan


def data_values(record: Measurements, request: ProjectRequest) -> Iterator[ProposedValue]:
    """Yield where scenes and labels are, and which are used."""
    yield ProposedValue(name="scenes.raw", value=record.raw, reason="--scenes")
    if record.rasters is not None:
        yield ProposedValue(name="scenes.rasters", value=record.rasters, reason="--scenes")
    if record.left_out:
        names = [one.name for one in record.left_out]
        reason = "; ".join(f"{one.name}: {one.reason}" for one in record.left_out[:N_SHOWN])
        yield ProposedValue(name="scenes.exclude", value=names, reason=reason)
    if record.stack is not None:
        yield ProposedValue(
            name="scenes.stack",
            value=record.stack,
            reason="bands are in files of their own, one folder a scene",
        )
    if record.stated_gsd_m is not None:
        yield ProposedValue(name="scenes.native_gsd_m", value=record.stated_gsd_m, reason="--gsd")
    if not record.all_bands:
        yield ProposedValue(
            name="scenes.bands", value=list(record.bands), reason="the bands that all scenes have"
        )
    if record.labels != "auto":
        key = "scenes.masks" if request.is_coverage else "scenes.labels"
        yield ProposedValue(name=key, value=record.labels, reason="--labels")
    if request.class_column is not None:
        yield ProposedValue(
            name="scenes.class_column", value=request.class_column, reason="--class-column"
        )
    groups = None
    reason = "no table of places: scenes that touch are one place"
    if all(scene.crs is None for scene in record.scenes):
        reason = "no table of places: each picture is a place of its own"
    if request.groups is not None:
        groups = str(absolute_path(request.groups))
        reason = "--groups"
    yield ProposedValue(name="scenes.groups", value=groups, reason=reason)
    if request.group_column is not None or groups is None:
        yield ProposedValue(name="scenes.group_column", value=request.group_column, reason=reason)
    if request.areas is not None:
        yield ProposedValue(
            name="scenes.areas", value=str(absolute_path(request.areas)), reason="--labelled"
        )


def split_values(plan: SplitPlan) -> Iterator[ProposedValue]:
    """Yield how the scenes are divided, where that is not by whole places."""
    if plan.kind == "blocks":
        yield ProposedValue(
            name="scenes.blocks", value=BLOCKS_FILE, reason=plan.reason, evidence="split"
        )
    elif plan.kind in ("folds", "none"):
        yield ProposedValue(
            name="scenes.split_fractions",
            value=[1.0, 0.0, 0.0],
            reason=plan.reason,
            evidence="split",
        )
    if plan.kind == "folds":
        yield ProposedValue(
            name="evaluate.cross_validation",
            value=CROSS_VALIDATION,
            reason="how models did on ground that they had not seen",
        )


def _labelled_values(request: ProjectRequest, gsd_m: float) -> Iterator[ProposedValue]:
    if request.labelled == POSITIVE_ONLY:
        yield ProposedValue(
            name="scenes.labelled_within_m",
            value=float(f"{WINDOW_PX * gsd_m:.3g}"),
            reason="--labelled positive-only: who labels an object has looked at the ground beside "
            "it, one window wide; farther away nothing is learned as background",
        )


def _n_training(plan: SplitPlan) -> int:
    """Return the objects that the model learns from."""
    return plan.objects.get("train", sum(plan.objects.values()) + plan.lost)


def _own_minutes(plan: SplitPlan, request: ProjectRequest) -> float:
    """Return the training time of the project's model, without the folds that measure it."""
    share = 1 - FOLDS_SHARE if plan.kind == "folds" else 1.0
    return round(request.minutes * share, 2)


def _shortest_minutes(plan: SplitPlan, request: ProjectRequest) -> float:
    """Return the training time of one model: of a fold, where folds measure."""
    return fold_minutes(plan, request) if plan.kind == "folds" else request.minutes


def time_values(plan: SplitPlan, request: ProjectRequest) -> Iterator[ProposedValue]:
    """Yield how long is trained."""
    reason = f"--minutes {request.minutes:g}"
    if plan.kind == "folds":
        reason += f": half for this model, half for the {plan.n_folds} that measure it"
    yield ProposedValue(name="train.max_minutes", value=_own_minutes(plan, request), reason=reason)
    yield ProposedValue(
        name="train.epochs", value=MANY_EPOCHS, reason="as many as fit into the minutes"
    )


def fold_minutes(plan: SplitPlan, request: ProjectRequest) -> float:
    """Return the training time of each fold."""
    return round(request.minutes * FOLDS_SHARE / plan.n_folds, 2)


def _expected_minutes(
    record: Measurements, values: list[ProposedValue], request: ProjectRequest
) -> float:
    """Return the minutes until the map is there, a rough guess for two cores."""
    chosen = {one.name: one.value for one in values}
    megapixels = record.megapixels * (record.native_gsd_m / chosen["scenes.gsd_m"]) ** 2
    passes = sum(1 / scale**2 for scale in chosen.get("evaluate.scales", [1.0]))
    stride = chosen.get("evaluate.stride_px", 8)
    search = megapixels * passes * (8 / stride) ** 2 / MPX_PER_MINUTE
    return float(request.minutes + OTHER_MINUTES + 2 * search)


def _findings(
    record: Measurements, plan: SplitPlan, request: ProjectRequest, minutes: float
) -> Iterator[Finding]:
    """Yield what a person should know, one sentence each."""
    yield from left_out_findings(record)
    for reason, count in record.dropped.items():
        yield Finding(kind="left out", sentence=f"{counted(count, 'label')}: {reason}")
    if record.length_m is None:
        yield Finding(
            kind="assumed",
            sentence=f"labels are points, so objects are taken to be about {DEFAULT_POINT_PX:g} px "
            f"long: outlines or boxes would give their size, and with it the size of a pixel",
        )
    yield from _places_findings(record, request)
    yield from _folder_findings(record, request)
    yield from _labelled_findings(request)
    yield from unlabeled_findings(
        record,
        "labels",
        command="windhover set scenes.empty_scenes=complete, where they hold no object",
    )
    for name, count in record.classes.items():
        ignored = [one for one in propose_classes(record) if name in one.value]
        if ignored:
            yield Finding(
                kind="assumed",
                sentence=f"{counted(count, 'label')} of the class {name} "
                f"{'counts' if count == 1 else 'count'} neither way",
                command="windhover set scenes.ignore_classes=[]",
            )
    yield from last_findings(plan, minutes)


def unlabeled_findings(record: Measurements, what: str, command: str = "") -> Iterator[Finding]:
    """Yield which scenes nothing is learned from.

    Args:
        record: the measurements.
        what: they lack, such as labels.
        command: that changes it.
    """
    names = [scene.scene for scene in record.scenes if not scene.labeled]
    if names:
        shown = ", ".join(names[:N_SHOWN]) + ", ..." * (len(names) > N_SHOWN)
        yield Finding(
            kind="assumed",
            sentence=f"{len(names)} of {len(record.scenes)} scenes have no {what} ({shown}): they "
            "are searched, and nothing is learned from them",
            command=command,
        )


def last_findings(plan: SplitPlan, minutes: float) -> Iterator[Finding]:
    """Yield how the scenes are divided, and when the map is there."""
    yield Finding(kind="split", sentence=plan.reason)
    yield Finding(
        kind="time",
        sentence=f"about {minutes:.0f} minutes until the map is there, on two cores",
        command="--minutes",
    )


def left_out_findings(record: Measurements) -> Iterator[Finding]:
    """Yield which rasters and bands are not used, and what the readers note."""
    for one in record.left_out[:N_SHOWN]:
        yield Finding(kind="left out", sentence=f"{one.name.lstrip('/')} is left out: {one.reason}")
    if len(record.left_out) > N_SHOWN:
        more = len(record.left_out) - N_SHOWN
        yield Finding(kind="left out", sentence=f"{more} more rasters are left out: setup.json")
    if record.coarse_bands:
        are = "is" if len(record.coarse_bands) == 1 else "are"
        yield Finding(
            kind="left out",
            sentence=f"{', '.join(record.coarse_bands)} {are} coarser than "
            f"{', '.join(record.bands)} and not used",
            command="add them to scenes.stack in params.yaml if they tell the objects apart",
        )
    yield from (Finding(kind="assumed", sentence=note) for note in record.notes[:N_SHOWN])


def _places_findings(record: Measurements, request: ProjectRequest) -> Iterator[Finding]:
    """Yield that nobody knows which pictures without georeference show the same ground."""
    n_pictures = sum(scene.crs is None for scene in record.scenes)
    if n_pictures > 1 and request.groups is None:
        yield Finding(
            kind="assumed",
            sentence=f"{n_pictures} pictures have no georeference, so each is taken to be a place "
            "of its own: where two show the same ground, the model is tested on what it has seen",
            command="--groups PLACES.csv",
        )


def _folder_findings(record: Measurements, request: ProjectRequest) -> Iterator[Finding]:
    """Yield that folders which are called as splits are none."""
    folders = {
        part
        for scene in record.scenes
        for part in Path(os.path.relpath(scene.path, record.raw)).parent.parts
        if part.lower() in SPLIT_FOLDERS
    }
    if len(folders) > 1 and request.groups is None:
        yield Finding(
            kind="split",
            sentence=f"the folders {', '.join(sorted(folders))} are read together and divided "
            "anew, by place",
            command="--groups PLACES.csv with a column split keeps a division of yours",
        )


def _labelled_findings(request: ProjectRequest) -> Iterator[Finding]:
    """Yield what is assumed of ground without a label."""
    if request.labelled is None:
        yield Finding(
            kind="assumed",
            sentence="every object on the labelled scenes is taken to be labelled: ground without "
            "a label is learned as background",
            command="--labelled positive-only, or --labelled AREAS.gpkg",
        )
    elif request.labelled == POSITIVE_ONLY:
        yield Finding(
            kind="assumed",
            sentence="labels are right but not complete: ground farther than one window from a "
            "labelled object is not learned as background, and detections there do not count",
        )
