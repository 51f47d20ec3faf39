"""Train a YOLO of ultralytics on crowds and search scenes with it: run inside .venv-rivals.

`python benchmarks/rival_crowds.py JOB.json` with what `bench_crowd_rivals.py` writes there; prints
one line of JSON and leaves `JOB.csv`: what is found by either head, merged at each of several
overlaps. Scenes are searched by tiles of the size of its training crops, as far as their middles,
so that no object is cut. Judges nothing.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rival_models import LOWEST, Yolo
from rival_training import read_scene, train, training_scene
from torch import Tensor
from torchvision.ops import batched_nms

TILES_AT_ONCE = 10
OVERLAPS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # IoU above which two boxes of a class are one object
TRAINED_BY = (
    "rival",
    "seed",
    "cpu_s",
    "side_px",
    "batch",
    "learning_rate",
    "weight_decay",
    "train",
)
ONCE = 0.8  # for the head that has no duplicates but where tiles meet


def tiles(scene: np.ndarray, side: int, margin: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield left, top (px of the scene) and pixels of tiles whose middles cover it once."""
    step = side - 2 * margin
    height, width = scene.shape[:2]
    after = (-height % step + margin, -width % step + margin)
    padded = np.pad(scene, ((margin, after[0]), (margin, after[1]), (0, 0)), mode="reflect")
    for top in range(0, height, step):
        for left in range(0, width, step):
            yield left - margin, top - margin, padded[top : top + side, left : left + side]


@torch.inference_mode()
def candidates(network: Yolo, scene: np.ndarray, job: dict[str, Any]) -> dict[str, Tensor]:
    """Return what either head finds in a scene, unmerged: (N, 6) xyxy px, score, class."""
    side, margin = job["side_px"], job["margin_px"]
    cut = list(tiles(scene, side, margin))
    found: dict[str, list[Tensor]] = {"one2many": [], "one2one": []}
    for first in range(0, len(cut), TILES_AT_ONCE):
        some = cut[first : first + TILES_AT_ONCE]
        pixels = torch.from_numpy(np.stack([one for _, _, one in some]))
        pixels = pixels.permute(0, 3, 1, 2).float().div_(255)  # (B, 3, S, S), channels last
        for head, made in network.by_head(pixels).items():
            for (left, top, _), one in zip(some, made, strict=True):
                middle = one[:2]  # (2, M)
                is_inside = ((middle >= margin) & (middle < side - margin)).all(0)
                number, kind = torch.nonzero((one[4:].T >= LOWEST) & is_inside[:, None]).T
                center = middle[:, number].T + torch.tensor([left, top])
                half = one[2:4, number].T / 2
                columns = [center - half, center + half, one[4 + kind, number][:, None]]
                found[head].append(torch.cat([*columns, kind[:, None].float()], 1))
    return {head: torch.cat(parts) for head, parts in found.items()}


def merged(found: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of each way of merging and what it leaves, (N, 6)."""
    ways = [("one2one", ONCE), *(("one2many", overlap) for overlap in OVERLAPS)]
    for head, overlap in ways:
        boxes = found[head]
        kept = batched_nms(boxes[:, :4], boxes[:, 4], boxes[:, 5].long(), overlap)
        yield f"{head}, IoU {overlap}", boxes[kept]


def search(network: Yolo, job: dict[str, Any], path: Path) -> float:
    """Search the scenes, write what was found; return the CPU seconds."""
    began = time.process_time()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["way", "scene", "class", "score", "col", "row"])
        for raster in job["search"]:
            found = candidates(network, read_scene(raster, 1.0), job)
            for way, boxes in merged(found):
                for left, top, right, bottom, score, kind in boxes.tolist():
                    center = (f"{(left + right) / 2:.3f}", f"{(top + bottom) / 2:.3f}")
                    writer.writerow([way, Path(raster).stem, int(kind), f"{score:.6g}", *center])
    return round(time.process_time() - began, 1)


def prepare(network: Yolo, job: dict[str, Any], job_path: Path) -> dict[str, float]:
    """Train a network, or read the weights of the same training; return what was spent."""
    weights = job_path.with_suffix(".pt")
    recipe = {key: job[key] for key in TRAINED_BY}
    if weights.exists():
        kept = torch.load(weights, weights_only=True)
        if kept["recipe"] != recipe:
            raise SystemExit(f"{weights}: another recipe was trained here. Name another --folder.")
    else:
        scenes = [training_scene(one, 1.0) for one in job["train"]]
        trained, spent = train(network, scenes, job, job_path.with_suffix(".part"))
        kept = {"state": trained.state_dict(), "training": spent, "recipe": recipe}
        torch.save(kept, weights)
    network.load_state_dict(kept["state"])
    network.eval()
    spent_before: dict[str, float] = kept["training"]
    return spent_before


def main() -> None:
    """Do the job of the file."""
    job_path = Path(sys.argv[1])
    job = json.loads(job_path.read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(job["seed"])
    network = Yolo(job["rival"], end2end=False, n_classes=job["n_classes"])
    network = network.to(memory_format=torch.channels_last)
    parameters = sum(part.numel() for part in network.parameters())
    spent = prepare(network, job, job_path)
    search_s = search(network, job, job_path.with_suffix(".csv"))
    figures = {"torch": torch.__version__, "parameters": parameters, "training": spent}
    print(json.dumps(figures | {"search_cpu_s": search_s}))


if __name__ == "__main__":
    main()
