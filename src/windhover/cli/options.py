"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windhover.models.demo_model import model_path

Bands = Annotated[
    str | None,
    typer.Option(
        help="Bands to use for the model's, names or numbers: 3,2,1; a panchromatic one: 1,1,1."
    ),
]
ClassColumn = Annotated[str | None, typer.Option(help="Column of the labels' class.")]
Gsd = Annotated[float | None, typer.Option(help="Meters per px, for images without georeference.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON; messages go to standard error.")
]
Labels = Annotated[
    Path, typer.Argument(help="Label file, or folder of label files, of any format.")
]
MaskValues = Annotated[
    str | None,
    typer.Option(
        help="Labels are class rasters, and what their values mean: 0=background,1=cloud."
    ),
]
MaskIgnore = Annotated[
    str | None, typer.Option(help="Values of class rasters that are not known, such as 255.")
]
MatchRadiometry = Annotated[
    bool,
    typer.Option(
        "--match-radiometry",
        help="Bring the radiometry of another sensor to that of the training scenes.",
    ),
]
Model = Annotated[Path, typer.Option(help="Folder of the model, or demo.", callback=model_path)]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-S", help="SECTION.KEY=VALUE in place of the value in params.yaml."),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print more messages.")]
