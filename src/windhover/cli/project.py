"""Commands about the project's folder: `init`, `check`, `set`, `summary`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windhover.cli.options import ClassColumn, Gsd, MaskIgnore, MaskValues


def init(
    project: Annotated[Path, typer.Argument(help="Folder of the project, new or empty.")],
    *,
    scenes: Annotated[
        Path | None,
        typer.Option(help="Folder of the rasters, or one; without it the built-in world."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Label file, or folder of label files or class rasters, of any format."),
    ] = None,
    labelled: Annotated[
        str | None,
        typer.Option(help="complete, positive-only, or a vector file of areas with a role."),
    ] = None,
    gsd: Gsd = None,
    minutes: Annotated[float, typer.Option(help="Minutes of training.")] = 30.0,
    like: Annotated[
        str | None,
        typer.Option(help="Parameter set to begin from: airbus, ships, trees, clouds."),
    ] = None,
    class_column: ClassColumn = None,
    groups: Annotated[
        Path | None, typer.Option(help="CSV that gives the place of each raster.")
    ] = None,
    group_column: Annotated[str | None, typer.Option(help="Its column of the place.")] = None,
    mask_values: MaskValues = None,
    mask_ignore: MaskIgnore = None,
) -> None:
    """Make a project of scenes and labels. `dvc repro` runs it as it is."""
    from windhover.dataset.import_labels import parse_mask_ignore, parse_mask_values
    from windhover.project.init_project import init_project
    from windhover.project.request import ProjectRequest

    request = ProjectRequest(
        project=project,
        scenes=scenes,
        labels=labels,
        labelled=labelled,
        gsd_m=gsd,
        minutes=minutes,
        like=like,
        class_column=class_column,
        groups=groups,
        group_column=group_column,
        mask_values=parse_mask_values(mask_values),
        mask_ignore=parse_mask_ignore(mask_ignore),
    )
    init_project(request, typer.echo)


def check() -> None:
    """Write check.html: scenes, labels and split, before training."""
    from windhover.project.check_project import check_project

    typer.echo(f"look at it before you train -> {check_project(Path())}")


def set_(
    settings: Annotated[
        list[str] | None, typer.Argument(help="SECTION.KEY=VALUE ...", metavar="SETTINGS...")
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="Parameter set to apply first, such as params/airbus.yaml.")
    ] = None,
) -> None:
    """Write parameters into params.yaml. Single ones, or a whole set; comments are kept."""
    from windhover.errors import ParameterError
    from windhover.progress import counted
    from windhover.project.follow_settings import set_in_project

    if not settings and like is None:
        raise ParameterError(
            "Name a parameter, such as train.epochs=20, or a set: --like params/airbus.yaml."
        )
    changed = set_in_project(Path(), settings or [], like)
    typer.echo(f"params.yaml: {counted(len(changed), 'key')} changed")
    for name in changed:
        typer.echo(f"  {name}")


def summary() -> None:
    """Print what the last run found, and how good it is."""
    from windhover.summary import summary_lines

    typer.echo("\n".join(summary_lines()))
