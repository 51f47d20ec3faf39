"""The command `review`: detections as a file for QGIS, and its corrections as new labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windhover.cli.options import Gsd


def review(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="A result of `windhover detect` (.gpkg, .parquet, data/detections); with --apply "
            "review files; with --empty rasters."
        ),
    ],
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Make a new version of the labels of review files.")
    ] = False,
    empty: Annotated[
        bool, typer.Option("--empty", help="Label rasters from nothing, without detections.")
    ] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="GeoPackage to write, not there yet.")
    ] = Path("review.gpkg"),
    budget: Annotated[int, typer.Option(help="Rows to go through, half of them at random.")] = 50,
    areas: Annotated[int, typer.Option(help="Areas to be declared complete.")] = 6,
    area_m: Annotated[
        float | None, typer.Option(help="Side of an area, m; eight windows by default.")
    ] = None,
    order: Annotated[
        str, typer.Option(help="doubt, diverse, false-alarms, grid or random")
    ] = "doubt",
    model: Annotated[
        Path | None,
        typer.Option(help="Model folder: `diverse` by its features, not by small pictures."),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Classes a label may have, with commas between.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random rows and areas.")] = 0,
    gsd: Gsd = None,
    keep_params: Annotated[
        bool,
        typer.Option("--keep-params", help="With --apply: leave params.yaml at the old labels."),
    ] = False,
) -> None:
    """Review detections in QGIS: write the file to go through, or apply its corrections."""
    from windhover.console import show_messages
    from windhover.errors import ParameterError
    from windhover.review.apply_review import ApplyRequest, apply_review
    from windhover.review.make_review import ReviewRequest, make_empty_review, make_review
    from windhover.review.project_params import project_params

    show_messages()
    params = project_params()
    if apply and empty:
        raise ParameterError("--apply and --empty are two ways of the command. Give one of them.")
    if apply:
        params_file = Path("params.yaml") if params is not None and not keep_params else None
        lines = apply_review(ApplyRequest(files, params, params_file))
        typer.echo("\n".join(lines))
        return
    features = None
    if model is not None:
        from windhover.inference.window_features import FeatureSource

        features = FeatureSource(model)
    request = ReviewRequest(
        output=output,
        budget=budget,
        n_areas=areas,
        area_m=area_m,
        order=order,
        seed=seed,
        gsd_m=gsd,
        classes=tuple(name.strip() for name in (classes or "").split(",") if name.strip()),
        features=features,
    )
    if empty:
        lines = make_empty_review(files, request, params)
    elif len(files) == 1:
        lines = make_review(files[0], request, params)
    else:
        raise ParameterError(
            f"one result is reviewed at a time, got {len(files)}. Search the scenes together: "
            "windhover detect SCENES -o detections.gpkg."
        )
    typer.echo("\n".join(lines))
