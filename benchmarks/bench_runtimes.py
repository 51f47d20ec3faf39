"""The runtimes of a search on a CPU: speed of the network alone, and AP on real scenes.

    python benchmarks/bench_runtimes.py MODEL RASTER... [--gsd M] [--catalog FOLDER] [--rounds N]

Blocks of 1,024 px and their margin, runtimes in turns. Ratios are of processor time, torch in fp32
by a runtime, within each round: their median, lowest and highest. On a machine that others use,
that says more than wall time. One thread or more by OMP_NUM_THREADS. With a catalog, its scenes of
val and test are searched by each runtime, and AP is compared with torch in fp32, paired over
places. MODEL must hold graphs.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measuring import save

from windhover.dataset.catalog import Catalog, load_catalog
from windhover.evaluation.compare import compare
from windhover.evaluation.fit_calibration import calibrated_matches
from windhover.evaluation.model_test import TestRecord
from windhover.evaluation.search_splits import SceneSearcher, search_settings_of
from windhover.inference.detector import Detector
from windhover.inference.scorer import Scorer
from windhover.metrics.evaluation_result import match_rule_of
from windhover.metrics.ground_truth import ground_truth_of
from windhover.metrics.match_detections import match_detections
from windhover.models.bundle import Bundle, load_bundle
from windhover.params.evaluate import EvaluateParams

SIDE_PX = 1024 + 64
REFERENCE = "torch fp32"
WAYS = (
    ("torch", "fp32"),
    ("torch", "bf16"),
    ("onnx", "fp32"),
    ("onnx", "int8"),
    ("openvino", "fp32"),
    ("openvino", "int8"),
)


def read_blocks(detector: Detector, rasters: list[str], gsd_m: float | None) -> list[np.ndarray]:
    """Return the upper left block of each raster at the model's GSD."""
    blocks = []
    for raster in rasters:
        with detector.open(raster, gsd_m) as scene:
            height, width = scene.shape_hw
            side = min(SIDE_PX, height, width)
            blocks.append(np.ascontiguousarray(scene.read(0, 0, side, side)[0]))
    return blocks


def load_scorers(bundle: Bundle) -> dict[str, Scorer]:
    """Return the scorers that this machine offers, by name."""
    scorers = {}
    for runtime, precision in WAYS:
        try:
            detector = Detector(
                bundle, runtime=runtime, device="cpu", inference_precision=precision
            )
        except Exception as error:  # noqa: BLE001  # a way that this machine does not offer
            print(f"left out: {runtime} {precision}: {error}")
            continue
        scorers[f"{runtime} {precision}"] = detector.scorer
    return scorers


def time_in_turns(
    scorers: dict[str, Scorer], blocks: list[np.ndarray], rounds: int
) -> dict[str, Any]:
    """Return speed, ratio by rounds and error of logits of each runtime."""
    mpx = sum(block[0].size for block in blocks) / 1e6
    reference = [scorers[REFERENCE].score(block).logits for block in blocks]
    seconds: dict[str, list[float]] = {name: [] for name in scorers}
    figures: dict[str, Any] = {name: {} for name in scorers}
    for turn in range(rounds + 1):  # the first round warms caches
        for name, scorer in scorers.items():
            started = time.process_time()
            logits = [scorer.score(block).logits for block in blocks]
            seconds[name].append(time.process_time() - started)
            if turn == 0:
                pairs = zip(logits, reference, strict=True)
                error = float(np.mean([np.abs(a - b).mean() for a, b in pairs]))
                figures[name]["mean_logit_error"] = round(error, 5)
    for name, taken in seconds.items():
        ratios = np.array(seconds[REFERENCE][1:]) / np.array(taken[1:])
        figures[name]["mpx_per_processor_s"] = round(mpx / float(np.median(taken[1:])), 2)
        figures[name][f"times_{REFERENCE}"] = [
            round(float(value), 3) for value in (np.median(ratios), ratios.min(), ratios.max())
        ]
    return figures


def test_on_scenes(bundle: Bundle, scorer: Scorer, catalog: Catalog) -> TestRecord:
    """Return the test of one runtime on the labelled scenes of val and test."""
    search = {} if bundle.operating_point is None else bundle.operating_point.search
    params = EvaluateParams.model_validate(search)
    searcher = SceneSearcher(
        bundle, scorer, None, search_settings_of(params), min_logit=params.min_logit
    )
    is_tested = catalog.scenes["split"].isin(["val", "test"]) & catalog.scenes["labeled"]
    tested = replace(catalog, scenes=catalog.scenes[is_tested])
    ground_truth = ground_truth_of(tested)
    detections, _ = searcher.detections(list(tested))
    rule = match_rule_of(params, bundle.card.gsd_m)
    matches = match_detections(detections, ground_truth, rule)
    calibrated = calibrated_matches(matches, bundle.calibration, bundle.card.classes)
    name = f"{scorer.runtime} {scorer.inference_precision}"
    counted = calibrated[~calibrated["ignored"]]
    return TestRecord(name, counted, ground_truth, bundle.thresholds())


def compare_on_scenes(
    bundle: Bundle, scorers: dict[str, Scorer], catalog: Catalog
) -> dict[str, Any]:
    """Return AP of each runtime, and its difference from the reference with a paired interval."""
    tests = {name: test_on_scenes(bundle, scorer, catalog) for name, scorer in scorers.items()}
    figures: dict[str, Any] = {}
    for name, test in tests.items():
        row = compare(tests[REFERENCE], test).iloc[0]
        figures[name] = {
            "ap": round(row["second"], 5),
            "difference": round(row["difference"], 5),
            "interval": [round(row["low"], 5), round(row["high"], 5)],
            "over": row["bootstrap_unit"],
        }
    return figures


def main() -> None:
    """Time the runtimes in turns, and test them where a catalog is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("rasters", nargs="+")
    parser.add_argument("--gsd", type=float)
    parser.add_argument("--catalog")
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.model)
    scorers = load_scorers(bundle)
    reader = Detector(bundle, runtime="torch", inference_precision="fp32")
    blocks = read_blocks(reader, arguments.rasters, arguments.gsd)
    figures: dict[str, Any] = {
        "rasters": [Path(raster).name for raster in arguments.rasters],
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "load_average_before": [round(load, 1) for load in os.getloadavg()],
        "speed": time_in_turns(scorers, blocks, arguments.rounds),
    }
    if arguments.catalog is not None:
        figures["scenes"] = compare_on_scenes(bundle, scorers, load_catalog(arguments.catalog))
    threads = figures["threads"] or "all"
    save(
        f"runtimes_{threads}_threads",
        figures,
        "openvino int8 at least twice as fast as torch fp32, AP within 0.005",
    )


if __name__ == "__main__":
    main()
