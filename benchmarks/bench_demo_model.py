"""The demonstration model of the package on real aircraft that it never saw.

    WINDHOVER_REAL_DATA=... python benchmarks/bench_demo_model.py [--every N]

The test airports of `airbus_split.csv`. The model knows drawn aircraft alone, so this is how far
drawings carry.
"""

from __future__ import annotations

import argparse

import pandas as pd
from airbus_truth import GSD_M, AirbusScene, airbus_scenes, assess_found
from measuring import save

from windhover.inference.detector import Detector
from windhover.models.bundle import load_bundle
from windhover.models.demo_model import DEMO_FOLDER

LEAST_SCORE = 0.002


def find_all(detector: Detector, scenes: list[AirbusScene]) -> pd.DataFrame:
    """Return the detections of scenes down to low scores, in px as delivered."""
    parts = []
    for scene in scenes:
        found = detector.detect(scene.path, gsd_m=GSD_M, threshold=LEAST_SCORE)
        centers = found.geometry.centroid
        parts.append(
            pd.DataFrame(
                {
                    "scene": scene.path.stem,
                    "score": found["score"].to_numpy(),
                    "col": centers.x.to_numpy() / GSD_M,
                    "row": -centers.y.to_numpy() / GSD_M,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    every = parser.parse_args().every
    scenes = [scene for scene in airbus_scenes() if scene.split == "test"][::every]
    bundle = load_bundle(DEMO_FOLDER)
    found = find_all(Detector(bundle), scenes)
    threshold = min(bundle.thresholds().values())
    above = found[found["score"] >= threshold]
    figures = assess_found(found, scenes)
    at_own = assess_found(above, scenes)
    own = {"threshold": round(threshold, 4), "detections": at_own["detections"]}
    save("demo_model", {**figures, "at_its_own_threshold": own}, "told beside the model")


if __name__ == "__main__":
    main()
