"""Commands that use a model: `detect`, `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from windhover.cli.options import Bands, Gsd, Json, MatchRadiometry, Model, Verbose

if TYPE_CHECKING:
    from windhover.detection.detect_request import DetectRequest
    from windhover.detection.detect_scene import DetectionOutcome

INCOMPLETE = 3  # exit code of a run that finished but could not read everything

Scenes = Annotated[
    list[str],
    typer.Argument(
        help="Rasters to search: files, anything GDAL opens, folders, lists (.txt), or STAC items "
        "(.json, .parquet)."
    ),
]
AnyModel = Annotated[
    Path, typer.Option(help="Folder of the model, models:/NAME@ALIAS, or demo, to try.")
]
MapFile = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help=".gpkg, .parquet, .geojson, .fgb, .csv, .json (COCO), .pmtiles, or .html, a map page.",
    ),
]
ScoreMap = Annotated[
    Path | None,
    typer.Option(help="Also write the map of scores (COG); a folder for several scenes."),
]
Aoi = Annotated[
    Path | None, typer.Option(help="Vector file of polygons; far outside nothing is read.")
]
Mask = Annotated[
    Path | None,
    typer.Option(
        help="Raster of clouds or other ground that cannot be used, of any grid; a folder with "
        "one for each scene, as NAME_mask.tif; or the folder of a model of coverage."
    ),
]
MaskValues = Annotated[
    str | None,
    typer.Option(
        help="Values of the mask, or classes, that cannot be used, such as 1,4; by default all "
        "but 0, or the classes of cloud, shadow and snow of a class map."
    ),
]
Threshold = Annotated[
    float | None, typer.Option(help="Lowest score, 0 to 1; the model's own by default.")
]
GsdOrUnknown = Annotated[
    str | None,
    typer.Option(help="Meters per px, for images without georeference; `unknown` tries many."),
]
Stride = Annotated[
    int | None, typer.Option(help="Px between windows: 8, or 4 for dense small objects.")
]
Scales = Annotated[
    str | None,
    typer.Option(
        help="GSDs searched, in units of the model's, such as 0.7,1,1.4 for an uncertain GSD."
    ),
]
RuntimeName = Annotated[
    str,
    typer.Option(
        help="torch, onnx or openvino; auto: openvino on a CPU where it is installed, else torch."
    ),
]
DeviceName = Annotated[str, typer.Option(help="auto, cpu or cuda")]
Precision = Annotated[
    str,
    typer.Option(
        help="fp32, fp16, bf16, int8, or auto: fp16 on a GPU, int8 on a CPU made for it, else fp32."
    ),
]
OldPrecision = Annotated[
    str | None, typer.Option("--precision", hidden=True, help="Old name of the above.")
]
BatchPx = Annotated[int | None, typer.Option(help="Px scored at once; bounds memory.")]
BlockPx = Annotated[
    int | None, typer.Option(help="Side of the blocks read at once, px at the model's GSD.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")]


def detect(
    scenes: Scenes,
    *,
    model: AnyModel = Path("data/model"),
    output: MapFile = Path("detections.gpkg"),
    scores: ScoreMap = None,
    aoi: Aoi = None,
    mask: Mask = None,
    mask_values: MaskValues = None,
    threshold: Threshold = None,
    gsd: GsdOrUnknown = None,
    stride: Stride = None,
    scales: Scales = None,
    bands: Bands = None,
    match_radiometry: MatchRadiometry = False,
    runtime: RuntimeName = "auto",
    device: DeviceName = "auto",
    inference_precision: Precision = "auto",
    old_precision: OldPrecision = None,
    batch_px: BatchPx = None,
    block_px: BlockPx = None,
    resume: Resume = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Find the objects of rasters of any size, for a map."""
    from windhover.console import show_messages
    from windhover.detection import detect_request
    from windhover.detection.detect_rasters import detect_rasters
    from windhover.detection.mapped_masks import with_mapped_masks
    from windhover.detection.model_task import task_of_model

    show_messages(verbose=verbose, only_stderr=json)
    request = detect_request.DetectRequest(
        scenes=scenes,
        model=_model_folder(model),
        output=output,
        scores=scores,
        aoi=aoi,
        threshold=threshold,
        gsd_m=detect_request.parse_gsd(gsd),
        stride_px=stride,
        runtime=runtime,
        device=device,
        inference_precision=old_precision or inference_precision,
        batch_px=batch_px,
        block_px=block_px,
        resume=resume,
        scales=detect_request.parse_scales(scales),
        bands=detect_request.parse_bands(bands),
        match_radiometry=match_radiometry,
        mask=mask,
        mask_values=detect_request.parse_mask_values(mask_values),
    )
    if task_of_model(request.model) == "coverage":
        _map_coverage(request, json=json)
        return
    outcome = detect_rasters(with_mapped_masks(request))
    if json:
        _print_json(outcome, output, scores)
    else:
        _print_outcome(outcome, output, scores, verbose=verbose)
    if outcome.failed:
        raise typer.Exit(INCOMPLETE)


def _map_coverage(request: DetectRequest, *, json: bool) -> None:
    """Write the maps of a model of coverage, and print what is covered."""
    from windhover.detection.map_rasters import map_rasters

    outcome = map_rasters(request)
    if json:
        from json import dumps

        table = outcome.table.astype(object).where(outcome.table.notna(), None)
        document = {
            "output": str(outcome.folder),
            "coverage": table.to_dict("records"),
            "failed": [failed.reason for failed in outcome.failed],
        }
        typer.echo(dumps(document, indent=2, allow_nan=False, ensure_ascii=False))
    else:
        for failed in outcome.failed:
            typer.echo(f"not mapped: {failed.reason}", err=True)
        typer.echo("\n".join(outcome.lines()))
    if outcome.failed:
        raise typer.Exit(INCOMPLETE)


def _model_folder(model: Path) -> Path:
    """Return the folder of a model, fetched from the registry where it is named by an alias."""
    from windhover.models.demo_model import DEMO_NOTE, is_demo, model_path

    model = model_path(model)
    if is_demo(model):
        typer.echo(DEMO_NOTE, err=True)
    if not str(model).startswith("models:/"):
        return model
    from windhover.tracking.registry import fetch_model

    return fetch_model(str(model))


def _print_json(outcome: DetectionOutcome, output: Path, scores: Path | None) -> None:
    """Print what was found and written, and what could not be read, as one JSON object."""
    from dataclasses import asdict
    from json import dumps

    document: dict[str, Any] = {
        "output": str(output),
        "scores": None if scores is None else str(scores),
        "objects": outcome.n_objects,
        "scenes": [scene.model_dump(mode="json") for scene in outcome.scenes],
        "failed": [asdict(part) for part in outcome.failed],
    }
    if outcome.km2_clear is not None:
        document["km2_clear"] = outcome.km2_clear
    typer.echo(dumps(document, indent=2, allow_nan=False, ensure_ascii=False))


def _print_outcome(
    outcome: DetectionOutcome, output: Path, scores: Path | None, *, verbose: bool
) -> None:
    """Print what was found and written, and what could not be read."""
    from windhover.progress import counted

    for failed in outcome.failed:
        typer.echo(f"not searched: {failed.reason}", err=True)
    n_objects = counted(outcome.n_objects, "object")
    typer.echo(f"{n_objects} in {counted(len(outcome.scenes), 'scene')} -> {output}")
    if scores is not None:
        typer.echo(f"scores -> {scores}")
    if verbose:
        for scene in outcome.scenes:
            typer.echo(
                f"{scene.scene}: {scene.windows_searched} windows, "
                f"{scene.expected_objects} expected"
            )
    if outcome.failed:
        typer.echo(
            f"{counted(len(outcome.failed), 'block')} could not be read: repair the file and "
            "search again; where a server failed, run the same with --resume",
            err=True,
        )


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
    """Draw why a window scores as it does. Gradient saliency, occlusion and class activation."""
    from windhover.detection.detect_request import parse_bands
    from windhover.evaluation.explain import explain_target

    lines = explain_target(
        target,
        model,
        output,
        class_name=class_name,
        gsd_m=gsd,
        match_radiometry=match_radiometry,
        bands=parse_bands(bands),
    )
    typer.echo("\n".join(lines))
