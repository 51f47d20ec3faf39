"""The command line: each command reads options, calls one flow and prints what a person needs;
imports wait for use.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from windhover import __version__
from windhover.errors import WindhoverError

INCOMPLETE = 3  # exit code of a run that finished but could not read everything

app = typer.Typer(
    help="From a few annotated satellite scenes to a detector, and from the detector to a map.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to load than everything else that the help needs
    context_settings={"max_content_width": 120},
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        typer.echo(f"windhover {__version__}")
        raise typer.Exit


BANDS = typer.Option(
    help="Bands to take for the model's, names or numbers: 3,2,1; a panchromatic one: 1,1,1."
)
MATCH = typer.Option(
    "--match-radiometry", help="Bring the light of another sensor to that of the training."
)


@app.command()
def detect(
    scenes: Annotated[
        list[str], typer.Argument(help="Rasters to search: files, or anything GDAL opens.")
    ],
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
        Path | None, typer.Option(help="Vector file of polygons: what is far outside is not read.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Score to reach, 0 to 1; the model's own by default.")
    ] = None,
    gsd: Annotated[
        str | None,
        typer.Option(help="Metres per px, for images without georeference; `unknown` tries many."),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="Px between windows: 8, or 4 for crowded small objects.")
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(
            help="GSDs searched, in units of the model's, such as 0.7,1,1.4 where the GSD is not well known."
        ),
    ] = None,
    bands: Annotated[str | None, BANDS] = None,
    match_radiometry: Annotated[bool, MATCH] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="fp32, fp16, bf16, int8, or auto: fp16 on a GPU, int8 on a CPU made for it, else fp32."
        ),
    ] = "auto",
    batch_px: Annotated[int | None, typer.Option(help="Px scored at once; bounds memory.")] = None,
    block_px: Annotated[
        int | None, typer.Option(help="Side of the blocks read at once, px at the model's GSD.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a killed run stopped.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
) -> None:
    """Find the objects of rasters of any size and write them for a map."""
    from windhover.inference.detection_run import detect_rasters
    from windhover.inference.detect_request import Request, parse_bands, parse_gsd, parse_scales
    from windhover.progress import counted

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
        precision=precision,
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
    typer.echo(
        f"{counted(outcome.objects, 'object')} in {counted(len(outcome.records), 'scene')} -> {output}"
    )
    if scores is not None:
        typer.echo(f"scores -> {scores}")
    if verbose:
        for record in outcome.records:
            typer.echo(
                f"{record['scene']}: {record['windows_searched']} windows, {record['expected_objects']} expected"
            )
    if outcome.failed:
        typer.echo(
            f"{counted(len(outcome.failed), 'block')} could not be read: mend the file and search again; "
            "where a server failed, run the same with --resume",
            err=True,
        )
        raise typer.Exit(INCOMPLETE)


@app.command()
def assess(
    detections: Annotated[
        Path, typer.Argument(help="Vector file of detections, of any tool, in any CRS.")
    ],
    truth: Annotated[
        Path, typer.Argument(help="Vector file of what is there: boxes, polygons or points.")
    ],
    aoi: Annotated[
        Path | None, typer.Option(help="Polygons of what was searched and is wholly labelled.")
    ] = None,
    match: Annotated[str, typer.Option(help="centre, metres, iou or oriented-iou")] = "centre",
    value: Annotated[
        float | None,
        typer.Option(help="0.5 of the longer side, 10 m, or IoU 0.5, unless you say else."),
    ] = None,
    score: Annotated[str, typer.Option(help="Column of the detections' scores.")] = "score",
    threshold: Annotated[
        float | None, typer.Option(help="Score to reach; all detections count by default.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="Class of the truth that is free of charge.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="JSON to write; curve and scenes as CSV beside it."),
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Also AP from loose to strict matching.")
    ] = False,
) -> None:
    """Say how good detections are: AP, precision, recall and false alarms per km2, with intervals."""
    from windhover.evaluation.evaluate_vectors import Request, assess_files

    request = Request(
        detections, truth, aoi, match, value, score, threshold, tuple(ignore or ()), output, sweep
    )
    typer.echo("\n".join(assess_files(request)))


@app.command()
def compare(
    first: Annotated[
        str, typer.Argument(help="MLflow run (id, name or model key), or a folder of reports.")
    ],
    second: Annotated[str, typer.Argument(help="The other one, tested on the same scenes.")],
) -> None:
    """Say which of two evaluated models is better, and whether the difference is more than chance."""
    from windhover.evaluation.compare import compare_runs

    typer.echo("\n".join(compare_runs(first, second)))


@app.command()
def promote(
    run: Annotated[str, typer.Argument(help="MLflow run: id, name or model key.")],
    name: Annotated[str, typer.Option(help="Name in the model registry.")] = "windhover",
    alias: Annotated[str, typer.Option(help="Alias that will point at it.")] = "champion",
) -> None:
    """Enter an evaluated model into the registry: `windhover detect --model models:/NAME@ALIAS`
    then takes it.
    """
    from windhover.tracking import runs

    version = runs.promote(run, name, alias)
    typer.echo(f"models:/{name}@{alias} is now version {version}, of run {run}")


@app.command()
def inspect(
    rasters: Annotated[list[str], typer.Argument(help="Rasters, or folders of rasters.")],
    labels: Annotated[
        Path | None, typer.Option(help="Label file, or folder of label files, of any format.")
    ] = None,
    gsd: Annotated[
        float | None, typer.Option(help="Metres per px, for images without georeference.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for a page with pictures.")
    ] = None,
) -> None:
    """Say what rasters are, whether they can be used, and what their labels hold."""
    from windhover.dataset.inspect_scenes import Options, import_labels, inspect_rasters, one_place

    scenes = None if labels is None else one_place(rasters)
    failed = inspect_rasters(rasters, gsd, typer.echo)
    if labels is not None and scenes is not None and not failed:
        import_labels(labels, scenes, output or Path("inspection"), Options(gsd), typer.echo)
    if failed:
        raise typer.Exit(1)


@app.command(name="import")
def import_(
    labels: Annotated[
        Path, typer.Argument(help="Label file, or folder of label files, of any format.")
    ],
    scenes: Annotated[Path, typer.Option(help="Folder of the rasters, or one raster.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the catalog to write.")],
    gsd: Annotated[
        float | None, typer.Option(help="Metres per px, for images without georeference.")
    ] = None,
    target_gsd: Annotated[
        float | None, typer.Option(help="Metres per px at which sizes are told.")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="CSV that gives the place of each raster.")
    ] = None,
    group_column: Annotated[str | None, typer.Option(help="Its column of the place.")] = None,
    class_column: Annotated[str | None, typer.Option(help="Column of the labels' class.")] = None,
    rasters: Annotated[
        str | None, typer.Option(help="Pattern of the rasters to take, such as *_rgb.tif.")
    ] = None,
    stack: Annotated[
        list[str] | None,
        typer.Option(help="BAND=PATTERN: one scene of each folder's single-band files."),
    ] = None,
    write: Annotated[
        list[Path] | None, typer.Option(help="Also write the labels as .json (COCO) or .geojson.")
    ] = None,
) -> None:
    """Make a catalog of rasters and their labels, checked, with a page that shows them."""
    from windhover.dataset.inspect_scenes import Options, export_labels, import_labels, parse_stack

    stacked, written = parse_stack(stack), tuple(write or ())
    options = Options(
        gsd, target_gsd, groups, group_column, class_column, rasters, stacked, written
    )
    catalog = import_labels(labels, scenes, output, options, typer.echo)
    for path in written:
        export_labels(catalog, path, typer.echo)


@app.command()
def explain(
    target: Annotated[
        str, typer.Argument(help="SCENE:col,row in px as delivered, or data/patches/val.npy:ROW")
    ],
    model: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("data/model"),
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG to write.")] = Path(
        "explained.png"
    ),
    class_name: Annotated[
        str | None, typer.Option("--class", help="Class of the model; its first by default.")
    ] = None,
    gsd: Annotated[
        float | None, typer.Option(help="Metres per px, for images without georeference.")
    ] = None,
    bands: Annotated[str | None, BANDS] = None,
    match_radiometry: Annotated[bool, MATCH] = False,
) -> None:
    """Draw why a window scores as it does: gradient saliency, occlusion and class activation."""
    from windhover.evaluation.explain import explain_target
    from windhover.inference.detect_request import parse_bands

    taken = parse_bands(bands)
    typer.echo(
        "\n".join(explain_target(target, model, output, class_name, gsd, match_radiometry, taken))
    )


@app.command()
def train(
    overfit: Annotated[
        int | None, typer.Option(help="Learn so many patches by heart, such as 16.")
    ] = None,
    rate_range: Annotated[
        bool, typer.Option("--rate-range", help="Try learning rates from low to high.")
    ] = False,
    patches: Annotated[Path, typer.Option(help="Folder of the patches.")] = Path("data/patches"),
    output: Annotated[
        Path, typer.Option("--output", "-o", help="PNG of the range test to write.")
    ] = Path("rate_range.png"),
) -> None:
    """Try a training before it is begun: can it learn a few patches by heart, and which learning
    rate does it bear.
    """
    from windhover.experiments.sanity_checks import try_training

    lines, passed = try_training(overfit, rate_range, patches, output)
    typer.echo("\n".join(lines))
    if not passed:
        raise typer.Exit(1)


SETTINGS = typer.Option("--set", "-S", help="SECTION.KEY=VALUE instead of what params.yaml says.")


@app.command()
def kfold(
    folds: Annotated[int, typer.Option(help="How many folds the places are divided into.")] = 5,
    settings: Annotated[list[str] | None, SETTINGS] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="JSON of every fold's figures to write.")
    ] = Path("reports/kfold.json"),
) -> None:
    """Train and test once for each fold of places; print the figures' mean and spread. Killed, it
    goes on.
    """
    from windhover.experiments.cross_validation import load_flow, run_folds
    from windhover.files import write_json

    found = run_folds(load_flow(settings or []), folds, typer.echo)
    write_json(output, found)
    typer.echo(f"figures -> {output}")


@app.command()
def tune(
    axes: Annotated[
        list[str],
        typer.Argument(
            help="train.KEY=LOW:HIGH, =log:LOW:HIGH, =int:LOW:HIGH or =A,B,C", metavar="AXES..."
        ),
    ],
    trials: Annotated[
        int, typer.Option(min=1, help="How many in all, those of earlier calls included.")
    ] = 20,
    study: Annotated[str, typer.Option(help="Name; the same name goes on.")] = "tune",
    settings: Annotated[list[str] | None, SETTINGS] = None,
) -> None:
    """Look for better training parameters on validation; the same command goes on where a killed
    one stopped.
    """
    from windhover.experiments.cross_validation import load_flow
    from windhover.experiments.tuning import parse_axis, tune
    from windhover.training.datamodule import Folders

    folders = Folders("data/scenes", "data/patches", "data/augmented", "data/train")
    best = tune(
        load_flow(settings or []).train,
        folders,
        [parse_axis(axis) for axis in axes],
        trials,
        study,
        typer.echo,
    )
    typer.echo(f"to take it: python -m windhover.params.parameter_sets {best}")


@app.command()
def shapes(
    network: Annotated[
        str | None, typer.Argument(help="valid64, course, or a classifier of torchvision or timm.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-O", help="NAME=VALUE of the network, such as width=small."),
    ] = None,
    bands: Annotated[int, typer.Option(help="Bands of the input.")] = 3,
) -> None:
    """Print a network's layers, receptive field, stride, multiply-adds and parameters;
    params.yaml's by default.
    """
    from windhover.models.model_summary import describe_network

    typer.echo("\n".join(describe_network(network, option or [], bands)))


@app.command()
def summary() -> None:
    """Print what the last run found, how good it is, how long it took and where the files are."""
    from windhover.summary import summary_lines

    typer.echo("\n".join(summary_lines()))


def main() -> None:
    """Run the command line; an error that the user can mend is one sentence and exit code 1."""
    try:
        app()
    except WindhoverError as error:
        print(f"windhover: {error.sentence()}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:  # a full disk, a place that may not be written to
        print(f"windhover: cannot read or write: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(1) from None
