"""The command `review`: detections as a file for QGIS, and its corrections as new labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    least_score: Annotated[
        float, typer.Option(help="Of a detection that is asked for, where a search went deeper.")
    ] = 0.0,
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
    """Review detections in QGIS. Writes the file to go through, or applies its corrections."""
    from windhover.console import show_messages
    from windhover.errors import ParameterError

    show_messages()
    if apply and empty:
        raise ParameterError("--apply and --empty are two ways of the command. Give one of them.")
    if apply:
        lines = _apply(files, keep_params=keep_params)
    else:
        settings: dict[str, Any] = {
            "output": output,
            "budget": budget,
            "n_areas": areas,
            "area_m": area_m,
            "order": order,
            "least_score": least_score,
            "seed": seed,
            "gsd_m": gsd,
            "classes": _names(classes),
        }
        lines = _make(files, settings, empty=empty, model=model)
    typer.echo("\n".join(lines))


def _apply(files: list[Path], *, keep_params: bool) -> list[str]:
    """Make a new version of the labels and return sentences to print."""
    from windhover.review.apply_review import ApplyRequest, apply_review
    from windhover.review.project_params import project_params

    params = project_params()
    params_file = None
    if params is not None and not keep_params:
        params_file = Path("params.yaml")
    return apply_review(ApplyRequest(files, params, params_file))


def _make(
    files: list[Path], settings: dict[str, Any], *, empty: bool, model: Path | None
) -> list[str]:
    """Write a review file and return sentences to print."""
    from windhover.errors import ParameterError
    from windhover.review.make_review import ReviewRequest, make_empty_review, make_review
    from windhover.review.project_params import project_params

    params = project_params()
    features = None
    if model is not None:
        from windhover.inference.window_features import FeatureSource

        features = FeatureSource(model)
    request = ReviewRequest(**settings, features=features)
    if empty:
        return make_empty_review(files, request, params)
    if len(files) > 1:
        raise ParameterError(
            f"one result is reviewed at a time, got {len(files)}. Search the scenes together: "
            "windhover detect SCENES -o detections.gpkg."
        )
    return make_review(files[0], request, params)


def _names(text: str | None) -> tuple[str, ...]:
    """Return the names in a list with commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
