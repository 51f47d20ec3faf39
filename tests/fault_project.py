"""A toy project that faults are injected into: small scenes, few patches, two epochs."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from fault_lab import Command
from project import ROOT
from test_flow import TINY, make_raw

MODEL = ("--model", "data/model")
RASTER = "data/raw/fir.tif"
# history of training and tables of seconds
TIMES = (r"history\.json$", r"seconds", r"training\.png$")

STAGES = {
    stage: Command(stage, (f"pipeline/{stage}.py",), (output,), TIMES)
    for stage, output in {
        "scenes": "data/scenes",
        "patches": "data/patches",
        "augment": "data/augmented",
        "train": "data/train",
        "evaluate": "data/model",
        "detect": "data/detections",
        "export": "data/map",
    }.items()
}


def _detect(suffix: str, *more: str) -> Command:
    output = f"found.{suffix}"
    outputs = (output, *(name for name in more if name.endswith(".tif")))
    arguments = (
        "detect",
        RASTER,
        "data/raw/elm.tif",
        *MODEL,
        "-o",
        output,
        "--block-px",
        "64",
        *more,
    )
    return Command(f"detect {suffix}", arguments, outputs, resume=("--resume",))


TRAINING = ("augment", "train", "evaluate")
SEARCHES = {
    command.name: command
    for command in (
        _detect("gpkg"),
        _detect("parquet"),
        _detect("geojson"),
        _detect("csv"),
        _detect("html"),
        _detect("pmtiles"),
        _detect("fgb"),
        _detect("json"),
    )
}
FOUND = "data/detections/detections.parquet"
TRUTH = "data/raw/labels/fir.gpkg"
TOOLS = {
    command.name: command
    for command in (
        Command(
            "detect scores",
            ("detect", RASTER, *MODEL, "-o", "s.csv", "--scores", "s.tif", "--block-px", "64"),
            ("s.csv", "s.tif"),
            resume=("--resume",),
        ),
        Command("export result", ("export", FOUND, "-o", "delivery"), ("delivery",)),
        Command(
            "import",
            ("import", "data/raw/labels", "--scenes", "data/raw", "-o", "imported"),
            ("imported",),
        ),
        Command("assess", ("assess", FOUND, TRUTH, "-o", "assessed.json"), ("assessed.json",)),
        Command("explain", ("explain", f"{RASTER}:80,80", *MODEL, "-o", "why.png"), ("why.png",)),
        Command("review", ("review", FOUND, "-o", "review.gpkg"), ("review.gpkg",)),
        Command("set", ("set", "train.epochs=3"), ("params.yaml",)),
    )
}
COMMANDS = STAGES | SEARCHES | TOOLS


def write_model(folder: Path) -> None:
    """Write a network of random weights as a model."""
    from fake_models import write_bundle

    write_bundle(folder, threshold=0.3, classes=("shed",))


def write_project(root: Path) -> None:
    """Write rasters, labels, parameters and scripts of a project in which nothing has run."""
    make_raw(root / "data" / "raw")
    shutil.copytree(ROOT / "pipeline", root / "pipeline")
    shutil.copy(ROOT / "dvc.yaml", root)
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for stage, values in _parameters().items():
        params[stage].update(values)
    with (root / "params.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(params, stream)


def _parameters() -> Mapping[str, dict[str, Any]]:
    """Return the parameters of the flow's test, with less of all."""
    sections = copy.deepcopy(TINY)
    sections["patches"]["positives_per_object"] = 3
    sections["train"]["epochs"] = 2
    sections["train"]["large_patches"] |= {"count": 32, "per_epoch": 32}
    sections["evaluate"]["n_bootstrap"] = 100
    return sections
