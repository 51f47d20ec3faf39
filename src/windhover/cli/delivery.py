"""Commands that write a model or a result for other programs: `export-model`, `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windhover.cli.options import Gsd, Json
from windhover.models.demo_model import model_path


def export_model(
    model: Annotated[
        Path, typer.Argument(help="Folder of the model, or demo.", callback=model_path)
    ] = Path("data/model"),
    *,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Write ONNX files, the only form there is.")
    ] = True,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write; an older one is replaced.")
    ] = Path("exported"),
    check: Annotated[
        list[str] | None,
        typer.Option(help="Raster on which it is compared with `detect`; may be repeated."),
    ] = None,
    catalog: Annotated[
        Path | None,
        typer.Option(help="Folder of a catalog (data/scenes): AP on its test scenes is measured."),
    ] = None,
    gsd: Gsd = None,
    json: Json = False,
) -> None:
    """Write a model as ONNX files for QGIS, WebODM and others."""
    from windhover.console import show_messages
    from windhover.dataset.catalog import load_catalog
    from windhover.inference.detector import Detector
    from windhover.model_export import export_model as steps

    show_messages(only_stderr=json)
    steps.check_output_folder(output)
    detector = Detector.from_bundle(
        model, runtime="torch", device="cpu", inference_precision="fp32"
    )
    scenes = None if catalog is None else load_catalog(catalog)
    exported = steps.export_model(detector, output, rasters=check or [], gsd_m=gsd, catalog=scenes)
    if json:
        from json import dumps

        typer.echo(dumps(exported.to_json()))
    else:
        typer.echo("\n".join(exported.lines()))


def export(
    result: Annotated[Path, typer.Argument(help="A .parquet that `windhover detect` wrote.")],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write; an older one is replaced.")
    ] = Path("map"),
    formats: Annotated[
        str,
        typer.Option(
            help="With commas between: gpkg, parquet, geojson, fgb, csv, coco, label-studio, "
            "pmtiles, html, stac, counts."
        ),
    ] = "gpkg,parquet,html,stac,counts",
    areas: Annotated[
        Path | None, typer.Option(help="Vector file of polygons in which objects are counted.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the model, to which STAC items link, or demo.", callback=model_path
        ),
    ] = None,
) -> None:
    """Write a result as map page, STAC, counts and other formats."""
    from windhover.console import show_messages
    from windhover.export.export_map import ExportRequest, export_file, require_model_item

    show_messages()
    request = ExportRequest(
        out_folder=output,
        formats=[name.strip() for name in formats.split(",") if name.strip()],
        areas=areas,
        model_item=require_model_item(model),
    )
    typer.echo("\n".join(export_file(result, request)))
