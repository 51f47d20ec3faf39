"""The proposal of a project of coverage: classes of ground from class rasters, without objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from windhover.params.parameter_sets import read_parameter_set
from windhover.project.carried_files import parameter_set
from windhover.project.measure import MeasuredData
from windhover.project.measurements import Measurements
from windhover.project.plan_split import SplitPlan, plan_ground_split
from windhover.project.proposal import Proposal, ProposedValue
from windhover.project.propose_project import (
    OTHER_MINUTES,
    data_values,
    last_findings,
    left_out_findings,
    split_values,
    time_values,
    unlabeled_findings,
)
from windhover.project.request import ProjectRequest

COVERAGE_SET = "clouds"  # parameter set whose changes of light are small enough for ground
LIGHT = ("augment.", "train.batch_augment.")
U_NET = {"encoder": "resnet18", "width": 16, "levels": 4, "space_to_depth": 2}
PATCHES = 1000  # of a U-Net: for the mean and spread of the bands alone
CROPS = 800  # of an epoch, where the minutes show several epochs
CROPS_A_MINUTE = 50  # an epoch is then a fifth to a twentieth of the time, on one core or two
CROPS_STEP = 80


def propose_coverage(data: MeasuredData, request: ProjectRequest) -> tuple[Proposal, SplitPlan]:
    """Return what is proposed for a project of coverage, and its plan of the split.

    Args:
        data: the measured scenes and class rasters.
        request: what the person asks for.
    """
    record = data.record
    plan = plan_ground_split(data, record.native_gsd_m)
    minutes = request.minutes + OTHER_MINUTES
    values = [
        ProposedValue(name="scenes.task", value="coverage", reason="--mask-values"),
        *data_values(record, request),
        *_mask_values(request),
        ProposedValue(
            name="scenes.gsd_m", value=record.native_gsd_m, reason="the median of the scenes' own"
        ),
        *split_values(plan),
        *_light_values(),
        *_network_values(record, request.minutes),
        *time_values(plan, request),
    ]
    proposal = Proposal(
        values=tuple(values),
        findings=(
            *left_out_findings(record),
            *unlabeled_findings(record, "class raster"),
            *last_findings(plan, minutes),
        ),
        split_kind=plan.kind,
        objects_by_split=plan.objects,
        minutes=round(minutes, 1),
    )
    return proposal, plan


def _mask_values(request: ProjectRequest) -> Iterator[ProposedValue]:
    yield ProposedValue(
        name="scenes.mask_values", value=request.mask_values, reason="--mask-values"
    )
    if request.mask_ignore:
        yield ProposedValue(
            name="scenes.mask_ignore", value=list(request.mask_ignore), reason="--mask-ignore"
        )


def _light_values() -> Iterator[ProposedValue]:
    """Yield augmentations that leave the brightness and color of ground nearly as they are."""
    for name, value in read_parameter_set(parameter_set(COVERAGE_SET)):
        if name.startswith(LIGHT):
            yield ProposedValue(
                name=name,
                value=value,
                reason="a class of ground is told by its brightness and color, which change little",
            )


def _network_values(record: Measurements, minutes: float) -> Iterator[ProposedValue]:
    options: dict[str, Any] = dict(U_NET)
    reason = "small enough for two cores; space_to_depth 1 is finer, at four times the time"
    if record.dtype.startswith("uint"):  # others may have bands below 0, without logarithms
        options["scene_log"] = True
        reason += "; scene_log shows what is bright for its scene"
    yield ProposedValue(
        name="train.network", value="unet", reason="class rasters have a class for each px"
    )
    yield ProposedValue(name="train.options", value=options, reason=reason)
    yield ProposedValue(
        name="patches.coverage.train_patches",
        value=PATCHES,
        reason="the U-Net learns from crops; patches give the mean and spread of the bands",
    )
    crops = round(CROPS_A_MINUTE * minutes / CROPS_STEP) * CROPS_STEP
    if crops < CROPS:
        yield ProposedValue(
            name="train.segmentation.per_epoch",
            value=max(crops, CROPS_STEP),
            reason=f"{minutes:g} minutes show an epoch of them several times",
        )
