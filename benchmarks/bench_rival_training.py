"""Windhover against detectors of torchvision and ultralytics, trained from scratch on the same
scenes and CPU minutes.

    export WINDHOVER_REAL_DATA=...
    python benchmarks/bench_rival_training.py --model MODEL [MODEL ...] --our-cpu-minutes 10
    [--judge JUDGE.py]

Airbus scenes, `airbus_split.csv`: trained on `train`, judged on `test`. The budget is user and
system time of the training process; cutting crops counts, decoding the scenes once does not. Every
rival gets the places, turns and colours of Windhover's crops, uncrowded, at 1.25 m, and bfloat16;
searches whole scenes, from file to list; and is timed as Windhover is, each scene's best of
several, on the same threads: once on the JPEG files as delivered (0.5 m, most of the time is
decoding and averaging), once on GeoTIFF files of the same scenes at 1.25 m (most of it is the
network). Needs .venv-rivals (requirements-rivals.txt).

The recipes rest on short pilots of 2 CPU minutes on `val`, on a machine busy with other work:
YOLO26n at a learning rate of 0.002, 183 steps of 8 crops, AP 0.637 [0.533, 0.755]; RetinaNet at
0.001 came to 37 steps of 8 crops and AP 0.02, so that torchvision's two are given crops by fours.
Other rates have not been tried yet. To try one: `--split val --cpu-minutes 2 --rivals yolo26n
--recipe '{"learning_rate": 0.005}'`. With `--folder`, of one's own for each recipe, a stopped
training goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from airbus_truth import GSD_M, AirbusScene, airbus_scenes, assess_found, write_truth
from measuring import ROOT, save
from rival_jobs import changes_of_color, run_job, write_resampled

from windhover.detection.detect_request import parse_scales
from windhover.inference.detector import Detector
from windhover.params import read_yaml
from windhover.training.choose_radiometry import FOR_ONE_CLASS_IN_COLOR

RECIPES: dict[str, dict[str, Any]] = {  # what the pilots chose
    "retinanet": {"learning_rate": 1e-3, "batch": 4, "side_px": 320},
    "faster-rcnn": {"learning_rate": 1e-3, "batch": 4, "side_px": 320},
    "yolo26n": {"learning_rate": 2e-3, "batch": 8, "side_px": 320},
}
TRAINED_BY = (
    "learning_rate",
    "batch",
    "side_px",
    "weight_decay",
    "seed",
    "cpu_s",
    "factor",
    "colours",
)
GSD_OF_RIVALS_M = 1.25
SIDE_PX = 2560  # of every scene


def train_and_search(
    name: str, scenes: list[AirbusScene], options: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Run one rival in its own environment; weights that are already in the folder are searched
    with again.
    """
    job = {
        "rival": name,
        "factor": GSD_OF_RIVALS_M / GSD_M,
        "colours": our_colors(),
        "weight_decay": 0.05,
        "seed": options.seed,
        "cpu_s": 60 * options.cpu_minutes,
        "threads": options.threads,
        "train_threads": options.train_threads,
        "repeats": options.repeats,
        **RECIPES.get(name, RECIPES["yolo26n"]),
        **options.recipe,
        "train": [
            {
                "path": str(scene.path),
                "boxes": scene.boxes["Airplane"],
                "ignored": scene.boxes["Truncated_airplane"],
            }
            for scene in scenes
            if scene.split == "train"
        ],
        "search": [str(scene.path) for scene in scenes if scene.split == options.split],
        "search_tif": [
            str(tif_of(scene, folder)) for scene in scenes if scene.split == options.split
        ],
    }
    path = folder / f"{name}.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if any(before[key] != job[key] for key in TRAINED_BY):
            raise SystemExit(f"{path}: another recipe was trained here. Name another --folder.")
    figures = run_job("rival_training.py", job, path, options.threads)
    return {**figures, "recipe": {key: job[key] for key in TRAINED_BY}}


def search_with_ours(
    name: str,
    model: Path,
    scales: tuple[float, ...] | None,
    precision: str,
    scenes: list[AirbusScene],
    options: argparse.Namespace,
    folder: Path,
) -> dict[str, Any]:
    """Search the same scenes with a trained model at its own settings or others, down to score
    0.01.
    """
    torch.set_num_threads(options.threads)
    detector = Detector.from_bundle(model, inference_precision=precision, scales=scales)
    tables, seconds = [], {"delivered": 0.0, "geotiff": 0.0}
    for scene in scenes:
        for kind, path in (("delivered", scene.path), ("geotiff", tif_of(scene, folder))):
            taken = []
            for _ in range(options.repeats):
                began = time.perf_counter()
                table = detector.detect(
                    path, gsd_m=GSD_M if kind == "delivered" else None, threshold=0.01
                )
                taken.append(time.perf_counter() - began)
            seconds[kind] += min(taken)
            if kind == "delivered":
                tables.append(table)
    found = pd.concat([pd.DataFrame(table[["scene", "score", "col", "row"]]) for table in tables])
    found.to_csv(folder / f"{name}.csv", index=False)
    return {
        "parameters": sum(part.numel() for part in detector.bundle.network().parameters()),
        "training": {
            "cpu_s": None
            if options.our_cpu_minutes is None
            else round(60 * options.our_cpu_minutes, 1)
        },
        "search": {
            "precision": precision,
            "scales": list(detector.settings.scales),
            "stride_px": detector.settings.stride_px,
        },
        "search_s": seconds,
        "gsd_m": detector.bundle.card.gsd_m,
    }


def our_colors() -> dict[str, float]:
    """Return how far params.yaml lets pixels be changed."""
    written = read_yaml(ROOT / "params.yaml")["train"]["batch_augment"]
    return changes_of_color(written, FOR_ONE_CLASS_IN_COLOR)


def tif_of(scene: AirbusScene, folder: Path) -> Path:
    """Return a tiled GeoTIFF of a scene at the working GSD, made where it is not there yet."""
    return write_resampled(scene.path, folder / f"{scene.path.stem}.tif", GSD_OF_RIVALS_M, GSD_M)


def judged(
    name: str, scenes: list[AirbusScene], options: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Return AP, best F1 and recall at one false alarm per km2 with their intervals over scenes."""
    detections = folder / f"{name}.csv"
    if options.judge is None:
        return assess_found(pd.read_csv(detections, dtype={"scene": str}), scenes, SIDE_PX)
    truth = folder / "truth.csv"
    write_truth(scenes, truth)
    command = [sys.executable, options.judge, str(truth), str(detections), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    rounded = {
        key: [round(part, 4) for part in figures[key]] for key in figures if key.endswith("_95")
    }
    return {
        key: rounded.get(key, round(value, 4) if isinstance(value, float) else value)
        for key, value in figures.items()
    }


def with_speed(figures: dict[str, Any], n_scenes: int, gsd_m: float) -> dict[str, Any]:
    """Add the Mpx searched per second, as the network saw them, from either kind of file."""
    searched = n_scenes * SIDE_PX**2 / 1e6 * (GSD_M / gsd_m) ** 2
    return {
        **figures,
        "mpx_per_s": {
            kind: round(searched / taken, 2) for kind, taken in figures["search_s"].items()
        },
    }


def scales_or_own(text: str) -> tuple[float, ...] | None:
    """Return scales of a search, None for the model's own."""
    return None if text == "own" else parse_scales(text)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        type=Path,
        nargs="*",
        default=[],
        help="folders of models trained on the same split",
    )
    parser.add_argument("--our-cpu-minutes", type=float, help="what our models' trainings took")
    parser.add_argument(
        "--precision",
        nargs="+",
        default=["auto"],
        help="of our searches, such as fp32 bf16 int8; each",
    )
    parser.add_argument(
        "--scales",
        type=scales_or_own,
        nargs="+",
        default=[None],
        help="of our searches: `own`, or such as 1.25; each",
    )
    parser.add_argument("--judge", help="a script that judges, instead of Windhover's own matching")
    parser.add_argument("--rivals", nargs="*", default=list(RECIPES))
    parser.add_argument("--cpu-minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--train-threads", type=int, default=1, help="one spends no time on waiting for another"
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="searches of each scene; the fastest counts"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, help="keeps weights and detections; a temporary one by default"
    )
    parser.add_argument(
        "--split", choices=["test", "val"], default="test", help="val: a pilot, nothing is saved"
    )
    parser.add_argument(
        "--recipe", type=json.loads, default={}, help='changes of a pilot, such as {"batch": 4}'
    )
    return parser.parse_args()


def main() -> None:
    """Train, search and judge all, one after the other."""
    options, scenes = read_options(), airbus_scenes()
    searched = [scene for scene in scenes if scene.split == options.split]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows: dict[str, Any] = {}
        for model, scales, precision in product(options.model, options.scales, options.precision):
            name = (
                model.name if scales is None else f"{model.name} at {', '.join(map(str, scales))}"
            )
            name = name if precision == "auto" else f"{name} in {precision}"
            ours = search_with_ours(name, model, scales, precision, searched, options, folder)
            rows[f"windhover, {name}"] = with_speed(ours, len(searched), ours["gsd_m"]) | judged(
                name, searched, options, folder
            )
            print(name, json.dumps(rows[f"windhover, {name}"]), flush=True)
        for name in options.rivals:
            found = train_and_search(name, scenes, options, folder)
            rows[name] = with_speed(found, len(searched), GSD_OF_RIVALS_M) | judged(
                name, searched, options, folder
            )
            print(name, json.dumps(rows[name]), flush=True)
    if options.split == "test":
        figures = {
            "date": date.today().isoformat(),
            "cpu_minutes": options.cpu_minutes,
            "threads_of_all": options.threads,
            "windhover": version("windhover"),
            "detectors": rows,
        }
        save("rival_training", figures, "ahead of every rival in AP and in Mpx/s")


if __name__ == "__main__":
    main()
