"""Commands about rasters and labels: `inspect`, `import`."""

from __future__ import annotations

from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from windhover.cli.options import ClassColumn, Gsd, Json, Labels, MaskIgnore, MaskValues


def inspect(
    rasters: Annotated[list[str], typer.Argument(help="Rasters, or folders of rasters.")],
    *,
    labels: Annotated[
        Path | None, typer.Option(help="Label file, or folder of label files, of any format.")
    ] = None,
    gsd: Gsd = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for a page with pictures.")
    ] = None,
    mask_values: MaskValues = None,
    mask_ignore: MaskIgnore = None,
    json: Json = False,
) -> None:
    """Print what rasters and their labels hold, and what is wrong."""
    from windhover.console import show_messages
    from windhover.dataset.import_labels import (
        ImportOptions,
        import_labels,
        parse_mask_ignore,
        parse_mask_values,
        single_raster_or_folder,
    )
    from windhover.dataset.inspect_scenes import describe_rasters, inspect_rasters

    show_messages(only_stderr=json)
    scenes = None
    if labels is not None:
        scenes = single_raster_or_folder(rasters)
    if json:
        documents = describe_rasters(rasters, gsd)
        typer.echo(dumps(documents, indent=2, allow_nan=False, ensure_ascii=False))
        failed = not all(document["can_be_used"] for document in documents)
    else:
        failed = bool(inspect_rasters(rasters, gsd, typer.echo))
    if failed:
        raise typer.Exit(1)
    if labels is not None and scenes is not None:
        output = output or Path("inspection")
        options = ImportOptions(
            gsd_m=gsd,
            mask_values=parse_mask_values(mask_values),
            mask_ignore=parse_mask_ignore(mask_ignore),
        )
        report = partial(typer.echo, err=json)
        import_labels(labels, scenes, output, options=options, report=report)


def import_(
    labels: Labels,
    *,
    scenes: Annotated[Path, typer.Option(help="Folder of the rasters, or one raster.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the catalog to write.")],
    gsd: Gsd = None,
    target_gsd: Annotated[
        float | None, typer.Option(help="Meters per px in which object sizes are reported.")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="CSV that gives the place of each raster.")
    ] = None,
    group_column: Annotated[str | None, typer.Option(help="Its column of the place.")] = None,
    class_column: ClassColumn = None,
    rasters: Annotated[
        str | None, typer.Option(help="Pattern of the rasters to use, such as *_rgb.tif.")
    ] = None,
    stack: Annotated[
        list[str] | None,
        typer.Option(help="BAND=PATTERN: one scene of each folder's single-band files."),
    ] = None,
    write: Annotated[
        list[Path] | None, typer.Option(help="Also write the labels as .json (COCO) or .geojson.")
    ] = None,
    mask_values: MaskValues = None,
    mask_ignore: MaskIgnore = None,
) -> None:
    """Make a checked catalog of rasters and labels, with a page."""
    from windhover.dataset.export_labels import export_labels
    from windhover.dataset.import_labels import (
        ImportOptions,
        import_labels,
        parse_mask_ignore,
        parse_mask_values,
        parse_stack,
    )

    label_files = tuple(write or ())
    options = ImportOptions(
        gsd_m=gsd,
        target_gsd_m=target_gsd,
        groups=groups,
        group_column=group_column,
        class_column=class_column,
        rasters=rasters,
        stack=parse_stack(stack),
        label_files=label_files,
        mask_values=parse_mask_values(mask_values),
        mask_ignore=parse_mask_ignore(mask_ignore),
    )
    catalog = import_labels(labels, scenes, output, options=options, report=typer.echo)
    for path in label_files:
        export_labels(catalog, path, typer.echo)
