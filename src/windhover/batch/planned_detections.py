"""A plan as the detect stage takes it: tasks without a part are run here, then all is collected.

The stage's files are the same as those of a search of the catalog, so that `export` takes them.
"""

from __future__ import annotations

from pathlib import Path

from windhover.batch.collect_plan import gather_plan
from windhover.batch.plan import Plan
from windhover.batch.run_task import run_tasks_here
from windhover.errors import DataError
from windhover.export.detection_summary import SUMMARY, DetectionSummary
from windhover.export.detections import save_table
from windhover.export.export_map import TABLE
from windhover.files import atomic_folder


def detect_planned(
    plan_folder: str | Path, model_folder: str | Path, out_folder: str | Path
) -> DetectionSummary:
    """Search what of a plan is not searched yet; write `detections.parquet` and `summary.json`.

    Args:
        plan_folder: that `windhover plan` wrote; parts that are there are taken as they are.
        model_folder: written by the evaluate stage; the plan must be of this model.
        out_folder: replaced whole when all is done.

    Returns:
        The summary of the plan's scenes.

    Raises:
        ParameterError: the plan is of another model, or another run searches one of its tasks.
        DataError: a scene or a part of it cannot be read.
        WindhoverError: another child that names the fault of the plan.
    """
    plan_folder = Path(plan_folder)
    model = Path(model_folder)
    run_tasks_here(plan_folder, range(Plan.load(plan_folder).record.tasks), model=model)
    table, summary, outcome = gather_plan(plan_folder, model)
    if outcome.losses:
        raise DataError(f"{outcome.losses[0]} ({len(outcome.losses)} such parts.)")
    with atomic_folder(out_folder) as folder:
        save_table(table, folder / TABLE)
        summary.save(folder / SUMMARY)
    return summary
