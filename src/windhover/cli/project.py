"""Commands about the project's folder: `set`, `summary`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def set_(
    settings: Annotated[
        list[str] | None, typer.Argument(help="SECTION.KEY=VALUE ...", metavar="SETTINGS...")
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="Parameter set to apply first, such as params/airbus.yaml.")
    ] = None,
) -> None:
    """Write parameters into params.yaml: single ones, or a whole set; comments are kept."""
    from windhover.errors import ParameterError
    from windhover.params.parameter_sets import set_parameters
    from windhover.progress import counted

    if not settings and like is None:
        raise ParameterError(
            "Name a parameter, such as train.epochs=20, or a set: --like params/airbus.yaml."
        )
    changed = set_parameters(Path("params.yaml"), settings or [], like)
    typer.echo(f"params.yaml: {counted(len(changed), 'key')} changed")
    for name in changed:
        typer.echo(f"  {name}")


def summary() -> None:
    """Print what the last run found, how good it is, how long it took and where the files are."""
    from windhover.summary import summary_lines

    typer.echo("\n".join(summary_lines()))
