"""Commands that use a model: `detect`, `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windhover.cli.options import Bands, Gsd, MatchRadiometry, Model, Verbose

INCOMPLETE = 3  # exit code of a run that finished but could not read everything


def detect(
    scenes: Annotated[
        list[str], typer.Argument(help="Rasters to search: files, or anything GDAL opens.")
    ],
    *,
    model: Annotated[Path, typer.Option(help="Folder of the model, or models:/NAME@ALIAS.")] = Path(
        "data/model"
    ),
    output: Annotated[
        Path, typer.Option("--output", "-o", help=".gpkg, .parquet, .geojson or .csv")
    ] = Path("detections.gpkg"),
    scores: Annotated[
        Path | None,
        typer.Option(help="Also write the map of scores (COG); a folder for several scenes."),
    ] = None,
    aoi: Annotated[
        Path | None, typer.Option(help="Vector file of polygons; far outside nothing is read.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Lowest score, 0 to 1; the model's own by default.")
    ] = None,
    gsd: Annotated[
        str | None,
        typer.Option(help="Meters per px, for images without georeference; `unknown` tries many."),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="Px between windows: 8, or 4 for dense small objects.")
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(
            help="GSDs searched, in units of the model's, such as 0.7,1,1.4 for an uncertain GSD."
        ),
    ] = None,
    bands: Bands = None,
    match_radiometry: MatchRadiometry = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    inference_precision: Annotated[
        str,
        typer.Option(
            help="fp32, fp16, bf16, int8, or auto: fp16 on a GPU, int8 on a CPU made for it, "
            "else fp32."
        ),
    ] = "auto",
    precision: Annotated[
        str | None, typer.Option(hidden=True, help="Old name of --inference-precision.")
    ] = None,
    batch_px: Annotated[int | None, typer.Option(help="Px scored at once; bounds memory.")] = None,
    block_px: Annotated[
        int | None, typer.Option(help="Side of the blocks read at once, px at the model's GSD.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run that was stopped.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Find the objects of rasters of any size and write them for a map."""
    from windhover.console import show_messages
    from windhover.inference.detect_request import Request, parse_bands, parse_gsd, parse_scales
    from windhover.inference.detection_run import detect_rasters
    from windhover.progress import counted

    show_messages(verbose=verbose)
    if str(model).startswith("models:/"):
        from windhover.tracking.runs import fetch_model

        model = fetch_model(str(model))
    request = Request(
        scenes,
        model,
        output,
        scores=scores,
        aoi=aoi,
        threshold=threshold,
        gsd_m=parse_gsd(gsd),
        stride_px=stride,
        device=device,
        precision=precision or inference_precision,
        batch_px=batch_px,
        block_px=block_px,
        resume=resume,
        scales=parse_scales(scales),
        bands=parse_bands(bands),
        match_radiometry=match_radiometry,
    )
    outcome = detect_rasters(request, say=typer.echo)
    for failed in outcome.failed:
        typer.echo(f"not searched: {failed.reason}", err=True)
    n_objects = counted(outcome.objects, "object")
    typer.echo(f"{n_objects} in {counted(len(outcome.records), 'scene')} -> {output}")
    if scores is not None:
        typer.echo(f"scores -> {scores}")
    if verbose:
        for record in outcome.records:
            typer.echo(
                f"{record['scene']}: {record['windows_searched']} windows, "
                f"{record['expected_objects']} expected"
            )
    if outcome.failed:
        typer.echo(
            f"{counted(len(outcome.failed), 'block')} could not be read: repair the file and "
            "search again; where a server failed, run the same with --resume",
            err=True,
        )
        raise typer.Exit(INCOMPLETE)


def explain(
    target: Annotated[
        str, typer.Argument(help="SCENE:col,row in px as delivered, or data/patches/val.npy:ROW")
    ],
    *,
    model: Model = Path("data/model"),
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG to write.")] = Path(
        "explained.png"
    ),
    class_name: Annotated[
        str | None, typer.Option("--class", help="Class of the model; its first by default.")
    ] = None,
    gsd: Gsd = None,
    bands: Bands = None,
    match_radiometry: MatchRadiometry = False,
) -> None:
    """Draw why a window scores as it does: gradient saliency, occlusion and class activation."""
    from windhover.evaluation.explain import explain_target
    from windhover.inference.detect_request import parse_bands

    lines = explain_target(
        target, model, output, class_name, gsd, match_radiometry, parse_bands(bands)
    )
    typer.echo("\n".join(lines))
