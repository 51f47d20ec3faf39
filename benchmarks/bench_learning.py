"""What each choice of the learning side brings: one training a choice, the same scenes, the same
processor minutes.

    python benchmarks/bench_learning.py RAW [--minutes 10] [--only NAME ...] [--seed N]

Run it in a checkout of its own: it lays `params/airbus.yaml` over `params.yaml` and runs the data
stages on RAW, divided as in `airbus_split.csv`, or by `scenes.seed` N. Every training then gets so
many minutes of processor time (not of the clock: other work on the machine costs it nothing), is
searched once on `test` at the training GSD, and is compared with the first choice by a bootstrap
over the same draws of scenes; `val` is searched too, and choices are made by it. What was measured
before a stop is kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from measuring import RESULTS, ROOT, machine

from windhover.dataset.catalog import load_catalog
from windhover.evaluation.search_splits import SearchedSplit, search_splits
from windhover.metrics.bootstrap import bootstrap_values, percentile_interval, resample
from windhover.metrics.detection_metrics import class_score_curve
from windhover.metrics.score_curve import average_precision, recall_at_false_alarm_rate
from windhover.models.bundle import load_bundle
from windhover.params import change_params, load_params
from windhover.params.evaluate import EvaluateParams
from windhover.params.train import TrainParams
from windhover.training.train import train_detector
from windhover.training.training_data import TrainingFolders

SPLIT = Path(__file__).with_name("airbus_split.csv")
FOLDER = Path(".windhover/learning")
NO_MINING = {"mining.after": []}
MINING = {"mining.after": [0.4, 0.7]}
PATCHES = {"crops.per_batch": 0, "batch_size": 128, "negatives_per_positive": 3.0}
PLAIN = {
    "jitter.blur_px": 0.0,
    "jitter.highlights": 0.0,
    "crops.crowded": 0.0,
    "options": {"width": "base", "stem": "pooled"},
}
SMALL = {"width": "small", "stem": "pooled"}
BLUR = {"jitter.blur_px": 2.0}
HIGHLIGHTS = {**BLUR, "jitter.highlights": 3.0}
LIGHT = {"jitter.contrast": 0.45, "jitter.brightness": 0.15, "jitter.gamma": 0.25}
CHOSEN = {**PLAIN, **HIGHLIGHTS, "options": SMALL}
CHOICES: dict[str, dict[str, Any]] = {
    "crops, no mining": PLAIN,
    "crops, two rounds of mining": {**PLAIN, **MINING},
    "patches alone, no mining": {**PLAIN, **PATCHES},
    "patches alone, two rounds of mining": {**PLAIN, **PATCHES, **MINING},
    "patches alone, blur up to 2 px": {**PLAIN, **PATCHES, **BLUR},
    "blur up to 2 px": {**PLAIN, **BLUR},
    "blur up to 2 px, harder light": {**PLAIN, **BLUR, **LIGHT},
    "blur, highlights": {**PLAIN, **HIGHLIGHTS},
    "blur, small": {**PLAIN, **BLUR, "options": SMALL},
    "blur, highlights, small": CHOSEN,
    "blur, highlights, small, strided stem": {
        **CHOSEN,
        "options": {"width": "small", "stem": "strided"},
    },
    "small, crowds": {**CHOSEN, "crops.crowded": 0.5},
    "small, focal loss": {**CHOSEN, "loss": "focal"},
    "small, class-balanced loss": {**CHOSEN, "loss": "class_balanced"},
    "small, weighted loss": {**CHOSEN, "loss": "weighted_bce"},
    "small, logit adjustment": {**CHOSEN, "loss": "logit_adjusted"},
    "small, patches alone": {**CHOSEN, **PATCHES},
    "small, patches alone, as they are": {**CHOSEN, **PATCHES, "sampler": "none"},
    "small, patches alone, oversampled": {**CHOSEN, **PATCHES, "sampler": "over"},
}
DELIVERED = "as delivered"  # params/airbus.yaml as it is


def prepare(raw: str, seed: int | None) -> None:
    """Lay the parameters over, with the split, and run the data stages."""
    with SPLIT.open(encoding="utf-8") as stream:
        fixed = {row["airport"]: row["split"] for row in csv.DictReader(stream)}
    changes = [
        f"scenes.raw={raw}",
        f"scenes.fixed_splits={json.dumps({} if seed is not None else fixed)}",
    ]
    changes += [] if seed is None else [f"scenes.seed={seed}"]
    command = [Path(sys.executable).with_name("windhover"), "set", *changes]
    subprocess.run([*command, "--like", str(ROOT / "params/airbus.yaml")], check=True)
    subprocess.run([Path(sys.executable).with_name("dvc"), "repro", "augment"], check=True)


def train(changes: dict[str, Any], minutes: float, folder: Path) -> dict[str, Any]:
    """Train one choice within some minutes of processor time, on as many threads as torch has."""
    threads = torch.get_num_threads()
    budget = {"epochs": 400, "max_minutes": minutes / threads, "threads": threads}
    params = change_params("train", load_params("train", TrainParams), {**budget, **changes})
    folders = TrainingFolders("data/scenes", "data/patches", "data/augmented", str(folder))
    began, used = time.perf_counter(), time.process_time()
    # every clock of the training shows processor time, so that its own planning keeps to it
    with mock.patch("time.monotonic", _processor_clock):
        trained = train_detector(params, folders, track=False)
    return {
        "processor_minutes": round((time.process_time() - used) / 60, 2),
        "clock_minutes": round((time.perf_counter() - began) / 60, 2),
        "epochs": len(trained.history),
        "data_share": round(float(np.mean([row["data_share"] for row in trained.history])), 4),
    }


def _processor_clock() -> float:
    return time.process_time() / torch.get_num_threads()


def search(folder: Path, changes: dict[str, Any], split: str = "test") -> SearchedSplit:
    """Search the scenes of a split."""
    params = change_params("evaluate", load_params("evaluate", EvaluateParams), changes)
    catalog = load_catalog("data/scenes")
    return search_splits(load_bundle(folder), catalog.split(split), params, device="cpu")[split]


def figures(found: SearchedSplit) -> tuple[dict[str, Any], np.ndarray]:
    """Return AP, best F1 and recall at one false alarm per km2 with intervals, and AP under every
    draw.
    """
    sample = resample(found.ground_truth.scenes, 1000, 0)
    curve = class_score_curve(found.matches, found.ground_truth, sample)

    def of(weights: np.ndarray) -> dict[str, np.ndarray]:
        counts = curve.counts(weights)
        best = np.nanmax(counts.f_beta(), axis=0)
        return {
            "ap": average_precision(counts),
            "f1": best,
            "recall_at_1_per_km2": recall_at_false_alarm_rate(counts, 1.0),
        }

    once = of(np.ones((len(sample.names), 1)))
    many = bootstrap_values(of, sample.weights, len(curve.thresholds))
    row: dict[str, Any] = {
        "objects": len(found.ground_truth.objects),
        "intervals_over": sample.unit,
    }
    for name, value in once.items():
        interval = percentile_interval(many[name]) or ()
        row[name] = [round(float(number), 4) for number in (value[0], *interval)]
    return row, many["ap"]


def main() -> None:
    """Train and compare the choices named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw")
    parser.add_argument("--minutes", type=float, default=10.0, help="of processor time a training")
    parser.add_argument("--only", nargs="*", choices=[*CHOICES, DELIVERED], help="these choices")
    parser.add_argument("--seed", type=int, help="another division of the airports")
    parser.add_argument(
        "--views", action="store_true", help="search as params/airbus.yaml says, not once"
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="one spends no time on waiting for another"
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "learning.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prepare(options.raw, options.seed)
    once = {} if options.views else {"scales": [1.0], "peak_tta": "recenter"}
    division = SPLIT.stem if options.seed is None else f"seed-{options.seed}"
    rows: dict[str, Any] = {}
    first: np.ndarray | None = None
    for name in options.only or CHOICES:
        folder = FOLDER / f"{name.replace(' ', '-')}-{options.minutes:g}-{division}"
        row, draws = measured(name, options.minutes, folder, once)
        if first is None:
            first, first_ap = draws, row["ap"][0]
        else:
            low, high = percentile_interval(draws - first) or (np.nan, np.nan)
            row["ap_gain"] = [round(value, 4) for value in (row["ap"][0] - first_ap, low, high)]
        rows[name] = row
        print(name, json.dumps(row), flush=True)
    document = {
        "minutes": options.minutes,
        "split": division,
        "choices": rows,
        "machine": machine(),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def measured(
    name: str, minutes: float, folder: Path, once: dict[str, Any]
) -> tuple[dict[str, Any], np.ndarray]:
    """Return a choice's row and its AP under every draw; what was measured before a stop is not
    measured again.
    """
    if not (folder / "row.json").is_file():
        changes = {} if name == DELIVERED else {**NO_MINING, **CHOICES[name]}
        row = train(changes, minutes, folder)
        found, draws = figures(search(folder, once))
        np.save(folder / "draws.npy", draws)
        on_val = figures(search(folder, once, "val"))[0]
        (folder / "row.json").write_text(
            json.dumps(row | found | {"ap_val": on_val["ap"]}), encoding="utf-8"
        )
    return json.loads((folder / "row.json").read_text(encoding="utf-8")), np.load(
        folder / "draws.npy"
    )


if __name__ == "__main__":
    main()
