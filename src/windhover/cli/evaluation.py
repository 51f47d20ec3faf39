"""Commands about finished results: `assess`, `compare`, `accept`, `promote`."""

from __future__ import annotations

from os.path import lexists
from pathlib import Path
from typing import Annotated

import typer

from windhover.cli.options import Json

ACCEPTANCE = Path("acceptance.yaml")
ACCEPTANCE_PICTURES = Path("reports/acceptance")


def assess(
    detections: Annotated[
        Path, typer.Argument(help="Vector file of detections, of any tool, in any CRS.")
    ],
    truth: Annotated[
        Path, typer.Argument(help="Vector file of the ground truth: boxes, polygons or points.")
    ],
    *,
    aoi: Annotated[
        Path | None, typer.Option(help="Polygons of the ground searched and completely labelled.")
    ] = None,
    match: Annotated[str, typer.Option(help="size, distance, iou or oriented-iou")] = "size",
    value: Annotated[
        float | None,
        typer.Option(
            help="Match value; default: 0.5 of the longer side, for a distance (m) half of the "
            "median longer side, or IoU 0.5."
        ),
    ] = None,
    score: Annotated[str, typer.Option(help="Column of the detections' scores.")] = "score",
    threshold: Annotated[
        float | None, typer.Option(help="Lowest score; all detections count by default.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="Class of the ground truth that is ignored.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="JSON to write; curve and scenes as CSV next to it."),
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Also AP from loose to strict matching.")
    ] = False,
    json: Json = False,
) -> None:
    """Measure detections against labels: AP, precision, recall."""
    from json import dumps

    from windhover.console import show_messages
    from windhover.evaluation import evaluate_vectors
    from windhover.evaluation.evaluate_vectors import VectorRequest

    show_messages(only_stderr=json)
    request = VectorRequest(
        detections=detections,
        truth=truth,
        aoi=aoi,
        match_by=match,
        match_value=value,
        score_column=score,
        threshold=threshold,
        ignored_classes=tuple(ignore or ()),
        output=output,
        with_ap_by_threshold=sweep,
    )
    evaluation = evaluate_vectors.evaluate_and_write(request)
    if json:
        document = evaluate_vectors.vector_evaluation_document(evaluation)
        typer.echo(dumps(document, indent=2, allow_nan=False, ensure_ascii=False))
    else:
        typer.echo("\n".join(evaluate_vectors.vector_evaluation_lines(evaluation)))


def compare(
    first: Annotated[
        str,
        typer.Argument(
            help="MLflow run (id, name or model key), a folder of reports, or of a kfold."
        ),
    ],
    second: Annotated[str, typer.Argument(help="The other one, tested on the same scenes.")],
) -> None:
    """Compare two evaluated models. Which is better, and is it more than chance?"""
    from windhover.evaluation.compare import compare_runs

    typer.echo("\n".join(compare_runs(first, second)))


def accept(
    old: Annotated[
        str,
        typer.Argument(
            help="Reports, folds or MLflow run of the old model; several divisions with commas."
        ),
    ],
    new: Annotated[str, typer.Argument(help="The same of the new model.")],
    *,
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of the new model, for the acceptance list; data/model if there."),
    ] = None,
    acceptance: Annotated[
        Path, typer.Option(help="List of scenes that must be passed.")
    ] = ACCEPTANCE,
    pictures: Annotated[
        Path, typer.Option(help="Folder of the pictures of failed scenes.")
    ] = ACCEPTANCE_PICTURES,
    no_verdict_ok: Annotated[
        bool, typer.Option("--no-verdict-ok", help="Exit code 0 also where nothing is shown.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON of the outcome to write.")
    ] = None,
) -> None:
    """Decide whether a new model may replace the old one.

    Exit code: 0 better, 4 worse, 5 no verdict, 6 a scene of the acceptance list failed.
    """
    from windhover.console import show_messages
    from windhover.errors import MissingFileError
    from windhover.evaluation import accept as gate
    from windhover.files import check_output

    show_messages()
    if acceptance != ACCEPTANCE and not acceptance.exists():
        raise MissingFileError(f"--acceptance {acceptance}: no such file. Correct the path.")
    if output is not None:
        check_output(output, inputs=[acceptance, old, new], is_own=gate.Acceptance.is_own)
    if model is None and Path("data/model").is_dir():
        model = Path("data/model")
    outcome = gate.accept(gate.AcceptRequest(old, new, model, acceptance, pictures))
    typer.echo("\n".join(outcome.lines))
    if output is not None:
        outcome.save(output)
    code = outcome.code
    if no_verdict_ok and code == gate.NO_VERDICT:
        code = 0
    if code:
        raise typer.Exit(code)


def promote(
    run: Annotated[str, typer.Argument(help="MLflow run: id, name or model key.")],
    name: Annotated[str, typer.Option(help="Name in the model registry.")] = "windhover",
    alias: Annotated[str, typer.Option(help="Alias that will point at it.")] = "champion",
) -> None:
    """Register an evaluated model. `windhover detect --model models:/NAME@ALIAS` then finds it."""
    from windhover.tracking import registry

    if lexists(ACCEPTANCE):
        from windhover.evaluation.accept import check_acceptance

        model = registry.download_run_files(run, "bundle")
        passed = check_acceptance(model, ACCEPTANCE, ACCEPTANCE_PICTURES)
        typer.echo(f"{ACCEPTANCE}: {len(passed)} scenes passed")
    version = registry.promote(run, name, alias)
    typer.echo(f"models:/{name}@{alias} is now version {version}, of run {run}")
