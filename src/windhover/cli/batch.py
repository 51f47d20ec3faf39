"""Commands for searches beyond one machine: `plan`, `run`, `collect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from windhover.cli.detection import (
    INCOMPLETE,
    Aoi,
    BatchPx,
    BlockPx,
    DeviceName,
    GsdOrUnknown,
    Mask,
    MaskValues,
    Precision,
    RuntimeName,
    Scales,
    Stride,
    Threshold,
)
from windhover.cli.options import Bands, MatchRadiometry, Model, Verbose

if TYPE_CHECKING:
    from windhover.batch.collect_plan import CollectOutcome
    from windhover.batch.run_task import TaskOutcome

SHOWN_REASONS = 20

Sources = Annotated[
    list[str],
    typer.Argument(
        help="What to search: rasters, patterns such as 'scenes/*.tif', folders, lists (.txt), or "
        "STAC items (.json, .parquet)."
    ),
]
PlanFolder = Annotated[Path, typer.Argument(help="Folder that windhover plan wrote.")]
NewPlan = Annotated[Path, typer.Option("--output", "-o", help="Folder of the plan, to be written.")]
Minutes = Annotated[float, typer.Option(help="Wanted time of a task.")]
MaxTasks = Annotated[
    int, typer.Option(help="Most tasks; schedulers take arrays of about a thousand.")
]
Rate = Annotated[
    float | None, typer.Option(help="Mpx/s of one worker; by default it is measured here.")
]
Tasks = Annotated[
    str | None, typer.Option("--task", help="Run these tasks in this process: 0, or 3,7,10-12.")
]
Variable = Annotated[
    str | None,
    typer.Option(
        help="Run the task whose number is in this variable: SLURM_ARRAY_TASK_ID, "
        "AWS_BATCH_JOB_ARRAY_INDEX, JOB_COMPLETION_INDEX."
    ),
]
LocalWorkers = Annotated[
    int | None, typer.Option("--local", help="Run all tasks in so many processes here.")
]
Scheduler = Annotated[
    str | None,
    typer.Option("--dask", help="Run all tasks on the cluster of this scheduler: tcp://HOST:8786."),
]
Retries = Annotated[int, typer.Option(help="How often a task is tried again.")]
MovedModel = Annotated[
    Path | None, typer.Option("--model", help="Where the plan's model is now, if it was moved.")
]
Collected = Annotated[
    list[Path],
    typer.Argument(help="Folder that windhover plan wrote, or results of detect: .parquet, .gpkg."),
]
ModelOfResults = Annotated[
    Path | None,
    typer.Option(
        "--model",
        help="Where the plan's model is now, if it was moved; the model of results, for the "
        "probability of changes.",
    ),
]
Areas = Annotated[
    Path | None, typer.Option(help="Vector file of polygons to count the objects of a folder in.")
]
Collection = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Folder of the collection; or one file, as detect writes it: .gpkg, .parquet, ...",
    ),
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Collect what is there, though tasks have not run.")
]


def plan(
    sources: Sources,
    *,
    output: NewPlan = Path("plan"),
    model: Model = Path("data/model"),
    aoi: Aoi = None,
    mask: Mask = None,
    mask_values: MaskValues = None,
    threshold: Threshold = None,
    gsd: GsdOrUnknown = None,
    stride: Stride = None,
    scales: Scales = None,
    bands: Bands = None,
    match_radiometry: MatchRadiometry = False,
    runtime: RuntimeName = "auto",
    device: DeviceName = "auto",
    inference_precision: Precision = "auto",
    batch_px: BatchPx = None,
    block_px: BlockPx = None,
    minutes_per_task: Minutes = 10.0,
    max_tasks: MaxTasks = 1000,
    mpx_per_second: Rate = None,
    verbose: Verbose = False,
) -> None:
    """Divide a search into tasks that any machine can run."""
    from windhover.batch.make_plan import PlanRequest, make_plan
    from windhover.console import show_messages
    from windhover.detection import detect_request

    show_messages(verbose=verbose)
    search = detect_request.DetectRequest(
        scenes=sources,
        model=model,
        output=output,
        aoi=aoi,
        threshold=threshold,
        gsd_m=detect_request.parse_gsd(gsd),
        stride_px=stride,
        runtime=runtime,
        device=device,
        inference_precision=inference_precision,
        batch_px=batch_px,
        block_px=block_px,
        scales=detect_request.parse_scales(scales),
        bands=detect_request.parse_bands(bands),
        match_radiometry=match_radiometry,
        mask=mask,
        mask_values=detect_request.parse_mask_values(mask_values),
    )
    outcome = make_plan(PlanRequest(search, minutes_per_task, max_tasks, mpx_per_second))
    typer.echo("\n".join(outcome.lines()))
    if outcome.failed:
        raise typer.Exit(INCOMPLETE)


def run(
    folder: PlanFolder,
    *,
    task: Tasks = None,
    index_from: Variable = None,
    local: LocalWorkers = None,
    dask: Scheduler = None,
    retries: Retries = 2,
    model: MovedModel = None,
    verbose: Verbose = False,
) -> None:
    """Run tasks of a plan: some of an array, or all on workers."""
    from windhover.batch import run_plan
    from windhover.console import show_messages
    from windhover.errors import ParameterError

    show_messages(verbose=verbose)
    given = [value for value in (task, index_from, local, dask) if value is not None]
    if len(given) != 1:
        raise ParameterError(
            "say what to run by one of --task, --index-from, --local and --dask, such as --local 2."
        )
    if local is not None:
        outcome = run_plan.run_plan_here(folder, local, model=model, retries=retries)
    elif dask is not None:
        outcome = run_plan.run_plan_on_dask(folder, dask, model=model, retries=retries)
    else:
        _run_here(folder, task, index_from, model=model)
        return
    for line in outcome.failure_lines():
        typer.echo(line, err=True)
    typer.echo("\n".join(outcome.lines()))
    if not outcome.is_complete:
        raise typer.Exit(INCOMPLETE)


def _run_here(folder: Path, text: str | None, variable: str | None, *, model: Path | None) -> None:
    """Run some tasks in this process and print what became of them."""
    from windhover.batch.plan import Plan
    from windhover.batch.run_task import run_tasks_here
    from windhover.batch.task_numbers import parse_tasks, task_of_variable

    n_tasks = Plan.load(folder).record.tasks
    if text is not None:
        numbers = parse_tasks(text, n_tasks)
    else:
        numbers = [task_of_variable(str(variable), n_tasks)]
    outcomes = run_tasks_here(folder, numbers, model=model)
    for outcome in outcomes:
        typer.echo(_task_line(outcome))
        for reason in outcome.reasons[:SHOWN_REASONS]:
            typer.echo(f"not searched: {reason}", err=True)
    if any(outcome.reasons for outcome in outcomes):
        raise typer.Exit(INCOMPLETE)


def _task_line(outcome: TaskOutcome) -> str:
    """Return what became of a task, for the terminal."""
    from windhover.progress import counted

    if not outcome.is_new:
        return f"task {outcome.task}: its part is there, nothing to do"
    if not outcome.has_part:
        return f"task {outcome.task}: not searched"
    if outcome.reasons:
        return f"task {outcome.task}: searched, but for {counted(len(outcome.reasons), 'place')}"
    return f"task {outcome.task}: searched"


def collect(
    sources: Collected,
    *,
    output: Collection = Path("detections"),
    areas: Areas = None,
    partial: Partial = False,
    model: ModelOfResults = None,
    verbose: Verbose = False,
) -> None:
    """Put together what tasks or searches found, each object once."""
    from windhover.console import show_messages

    show_messages(verbose=verbose)
    outcome = _collect(sources, output, areas=areas, partial=partial, model=model)
    lost = [scene for scene in outcome.unsearched if scene.kind == "failed"]
    reasons = [*outcome.failed, *(f"{scene.scene}: {scene.reason}" for scene in lost)]
    for reason in reasons[:SHOWN_REASONS]:
        typer.echo(f"not searched: {reason}", err=True)
    if len(reasons) > SHOWN_REASONS:
        typer.echo(f"and {len(reasons) - SHOWN_REASONS} more", err=True)
    for line in outcome.shown_lines():
        typer.echo(line)
    if not outcome.is_complete:
        raise typer.Exit(INCOMPLETE)


def _collect(
    sources: list[Path],
    output: Path,
    *,
    areas: Path | None,
    partial: bool,
    model: Path | None,
) -> CollectOutcome:
    """Collect a plan or results."""
    from windhover.batch.collect_plan import collect_plan
    from windhover.batch.collect_results import collect_results
    from windhover.errors import ParameterError

    folders = [path for path in sources if path.is_dir()]
    if not folders:
        if partial:
            raise ParameterError(
                "--partial is of a plan whose tasks have not all run. Leave it out for results."
            )
        return collect_results(sources, output, model=model, areas=areas)
    if len(sources) > 1:
        raise ParameterError(
            f"{folders[0]}: a folder of a plan is collected alone. Name one plan, or files that "
            "`windhover detect` wrote."
        )
    return collect_plan(folders[0], output, model=model, partial=partial, areas=areas)
