"""Commands about training: `train`, `kfold`, `tune`, `shapes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windhover.cli.options import Settings


def train(
    *,
    overfit: Annotated[
        int | None, typer.Option(help="Fit this many patches exactly, such as 16.")
    ] = None,
    rate_range: Annotated[
        bool, typer.Option("--rate-range", help="Try learning rates from low to high.")
    ] = False,
    patches: Annotated[Path, typer.Option(help="Folder of the patches.")] = Path("data/patches"),
    output: Annotated[
        Path, typer.Option("--output", "-o", help="PNG of the range test to write.")
    ] = Path("rate_range.png"),
) -> None:
    """Check a training before it begins. Can it overfit a few patches, and which learning rate
    suits it?
    """
    from windhover.experiments.sanity_checks import run_sanity_checks

    lines, passed = run_sanity_checks(overfit, rate_range, patches, figure_path=output)
    typer.echo("\n".join(lines))
    if not passed:
        raise typer.Exit(1)


def kfold(
    *,
    folds: Annotated[int, typer.Option(help="Number of folds of the places.")] = 5,
    settings: Settings = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="JSON of every fold's figures to write.")
    ] = Path("reports/kfold.json"),
) -> None:
    """Train and test once for each fold of places. A stopped run goes on."""
    from windhover.evaluation.held_out import check_held_out_files
    from windhover.experiments.cross_validation import is_own_result, load_flow, run_folds
    from windhover.files import check_output, lock_output

    check_output(output, inputs=["params.yaml"], is_own=is_own_result)
    check_held_out_files(output)
    with lock_output(output):
        result = run_folds(load_flow(settings or []), folds, output)
        result.save(output)
    typer.echo(f"figures -> {output}")


def label_curve(
    *,
    counts: Annotated[
        str, typer.Option(help="Labelled scenes in training, with commas; all are added.")
    ] = "1,2,4,8,16",
    draws: Annotated[int, typer.Option(help="Draws of the training scenes.")] = 3,
    divisions: Annotated[int, typer.Option(help="Divisions of the places.")] = 2,
    settings: Settings = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="JSON to write; a picture next to it.")
    ] = Path("label_curve.json"),
) -> None:
    """Measure AP against the number of labelled scenes. A stopped run goes on."""
    from windhover.errors import ParameterError
    from windhover.experiments.cross_validation import load_flow
    from windhover.experiments.label_curve import (
        CurveRequest,
        is_own_curve,
        measure_label_curve,
        plot_label_curve,
    )
    from windhover.files import check_output, is_figure, lock_output

    picture = output.with_suffix(".png")
    check_output(output, inputs=["params.yaml"], is_own=is_own_curve)
    check_output(picture, inputs=["params.yaml"], is_own=is_figure)
    try:
        numbers = tuple(int(count) for count in counts.split(","))
    except ValueError:
        raise ParameterError(
            f"--counts must be whole numbers with commas between, got {counts!r}. Write 1,2,4."
        ) from None
    request = CurveRequest(counts=numbers, n_draws=draws, n_divisions=divisions)
    with lock_output(output):
        curve = measure_label_curve(load_flow(settings or []), request)
        curve.save(output)
        plot_label_curve(curve, picture)
    typer.echo("\n".join([*curve.lines(), f"curve -> {output}, {picture}"]))


def tune(
    axes: Annotated[
        list[str],
        typer.Argument(
            help="train.KEY=LOW:HIGH, =log:LOW:HIGH, =int:LOW:HIGH or =A,B,C", metavar="AXES..."
        ),
    ],
    *,
    trials: Annotated[
        int, typer.Option(min=1, help="Number of trials, those of earlier calls included.")
    ] = 20,
    study: Annotated[str, typer.Option(help="Name; the same name continues a study.")] = "tune",
    settings: Settings = None,
) -> None:
    """Search better training parameters. Judged on validation; a stopped search goes on."""
    from windhover.experiments.cross_validation import load_flow
    from windhover.experiments.tuning import parse_axis, tune
    from windhover.training.training_data import TrainingFolders

    folders = TrainingFolders("data/scenes", "data/patches", "data/augmented", "data/train")
    parsed_axes = [parse_axis(axis) for axis in axes]
    params = load_flow(settings or []).train
    best = tune(params, folders, parsed_axes, n_trials=trials, name=study)
    typer.echo(f"to use it: windhover set --like {best}")


def shapes(
    network: Annotated[
        str | None,
        typer.Argument(help="valid64, baseline_cnn, or a classifier of torchvision or timm."),
    ] = None,
    *,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-O", help="NAME=VALUE of the network, such as width=small."),
    ] = None,
    bands: Annotated[int, typer.Option(help="Bands of the input.")] = 3,
) -> None:
    """Print a network's layers and size. Receptive field, stride, multiply-adds, parameters; of
    params.yaml by default.
    """
    from windhover.experiments.describe_network import describe_network

    typer.echo("\n".join(describe_network(network, option or [], bands)))
