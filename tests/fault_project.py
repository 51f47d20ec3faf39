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
RASTERS = (RASTER, "data/raw/elm.tif")
SMALL_BLOCKS = ("--block-px", "64")
SMALL_TASKS = ("--mpx-per-second", "0.02", "--minutes-per-task", "0.04")
FOUND = "data/detections/detections.parquet"
RESULT = "result.parquet"
PLAN = "tasks"  # whose tasks have run
NEW_PLAN = "new_tasks"  # whose tasks have not
TRUTH = "data/raw/labels/fir.gpkg"
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
        *RASTERS,
        *MODEL,
        "-o",
        output,
        *SMALL_BLOCKS,
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


def _plan(output: str) -> Command:
    arguments = ("plan", *RASTERS, *MODEL, "-o", output, *SMALL_BLOCKS, *SMALL_TASKS)
    return Command("plan", arguments, (output,))


# what other commands read, made once
PREPARED = (
    Command("result", ("detect", *RASTERS, *MODEL, "-o", RESULT, *SMALL_BLOCKS), (RESULT,)),
    _plan(PLAN),
    Command("tasks", ("run", PLAN, "--local", "1"), (PLAN,)),
    _plan(NEW_PLAN),
)
TOOLS = {
    command.name: command
    for command in (
        Command(
            "detect scores",
            ("detect", RASTER, *MODEL, "-o", "s.csv", "--scores", "s.tif", "--block-px", "64"),
            ("s.csv", "s.tif"),
            resume=("--resume",),
        ),
        Command("export result", ("export", RESULT, "-o", "delivery"), ("delivery",)),
        Command(
            "import",
            ("import", "data/raw/labels", "--scenes", "data/raw", "-o", "imported"),
            ("imported",),
        ),
        Command("assess", ("assess", FOUND, TRUTH, "-o", "assessed.json"), ("assessed.json",)),
        Command("explain", ("explain", f"{RASTER}:80,80", *MODEL, "-o", "why.png"), ("why.png",)),
        Command(
            "review",
            ("review", RESULT, "-o", "review.gpkg"),
            ("review.gpkg", "review.qgs"),
            is_once=True,
        ),
        _plan("plan"),
        Command("run", ("run", NEW_PLAN, "--task", "0-5"), (f"{NEW_PLAN}/parts",)),
        Command("collect", ("collect", PLAN, "-o", "collected"), ("collected",)),
        Command("collect file", ("collect", PLAN, "-o", "collected.gpkg"), ("collected.gpkg",)),
        Command("collect results", ("collect", RESULT, "-o", "whole"), ("whole",)),
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
