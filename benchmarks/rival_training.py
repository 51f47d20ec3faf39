"""Train one rival from scratch in some CPU minutes and search scenes with it: run inside
.venv-rivals.

`python benchmarks/rival_training.py JOB.json` with what `bench_rival_training.py` writes there;
prints one line of JSON and leaves the detections beside the job. Crops are cut, turned and changed
in colour by the very functions that Windhover trains with. Judges nothing.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from rival_models import RIVALS
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from windhover.patches.pixel_value_range import value_range
from windhover.training.batch_augment import Radiometry, random_d4, random_radiometry

BYTES = value_range("uint8", [0.0] * 3, [1.0] * 3)
SCALES = (0.74, 1.35)  # side of a crop about its nominal one
AROUND_OBJECTS = 0.6  # share of the crops that are cut about an aircraft
WARM_UP = 0.05  # share of the budget
GREY = 114


class Scene(NamedTuple):
    """A training scene at the working GSD."""

    pixels: np.ndarray  # (H, W, 3) uint8, aircraft to be ignored painted over
    boxes: np.ndarray  # (N, 5) float, xyxy px and class from 0 on


def read_scene(path: str, factor: float) -> np.ndarray:
    """Return a scene (H, W, 3) uint8, RGB, with `factor` times fewer px along each side."""
    pixels = cv2.cvtColor(cv2.imread(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    if factor == 1:
        return pixels
    side = (round(pixels.shape[1] / factor), round(pixels.shape[0] / factor))
    return cv2.resize(pixels, side, interpolation=cv2.INTER_AREA)


def training_scene(described: dict[str, Any], factor: float) -> Scene:
    """Read a scene with its boxes, given in px as delivered, and their classes, 0 if not given."""
    pixels = read_scene(described["path"], factor)
    for left, top, right, bottom in np.array(described["ignored"]).reshape(-1, 4) / factor:
        pixels[max(int(top), 0) : math.ceil(bottom), max(int(left), 0) : math.ceil(right)] = GREY
    boxes = np.array(described["boxes"], float).reshape(-1, 4) / factor
    classes = np.array(described.get("classes", [0] * len(boxes)), float)
    return Scene(pixels, np.column_stack([boxes, classes]))


def cut(scene: Scene, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cut one crop at a random place and scale.

    Returns:
        pixels (side, side, 3) uint8 and boxes (N, 5) xyxy px and class, cut at the border where
        their centre is inside.
    """
    height, width = scene.pixels.shape[:2]
    taken = min(round(side * math.exp(rng.uniform(*np.log(SCALES)))), height, width)
    place = rng.random(2) * (width - taken, height - taken)
    if len(scene.boxes) and rng.random() < AROUND_OBJECTS:
        corners = scene.boxes[rng.integers(len(scene.boxes))]
        center = (corners[:2] + corners[2:4]) / 2
        place = np.clip(
            center - taken * rng.uniform(0.1, 0.9, 2), 0, (width - taken, height - taken)
        )
    left, top = place.astype(int)
    pixels = scene.pixels[top : top + taken, left : left + taken]
    boxes = (scene.boxes[:, :4] - [left, top, left, top]) * (side / taken)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((middle > 0) & (middle < side)).all(1)
    how = cv2.INTER_AREA if taken > side else cv2.INTER_LINEAR
    boxes = np.column_stack([boxes.clip(0, side), scene.boxes[:, 4]])
    return cv2.resize(pixels, (side, side), interpolation=how), boxes[inside]


def draw_batch(
    scenes: list[Scene], job: dict[str, Any], rng: np.random.Generator
) -> tuple[Tensor, list[Tensor]]:
    """Return pictures (B, 3, S, S), 0 to 1, and the boxes of each, (N, 5) xyxy px, class."""
    side, generator = job["side_px"], torch.Generator().manual_seed(int(rng.integers(2**40)))
    chosen = [scenes[number] for number in rng.integers(len(scenes), size=job["batch"])]
    crops = [cut(scene, side, rng) for scene in chosen]
    objects = torch.full((len(crops), max(1, *(len(boxes) for _, boxes in crops)), 5), -1.0)
    for row, (_, boxes) in enumerate(crops):
        corners = torch.from_numpy(boxes).float()
        centers, sides = (
            (corners[:, :2] + corners[:, 2:4]) / 2 - side / 2,
            corners[:, 2:4] - corners[:, :2],
        )
        objects[row, : len(boxes)] = torch.cat([corners[:, 4:], centers, sides], 1)
    pixels = torch.from_numpy(np.stack([crop for crop, _ in crops])).permute(
        0, 3, 1, 2
    )  # (B, 3, S, S)
    pixels, objects = random_d4(pixels, objects, generator)
    pixels = random_radiometry(pixels, BYTES, Radiometry(**job["colours"]), generator) / 255
    middle, half, kinds = objects[..., 1:3] + side / 2, objects[..., 3:] / 2, objects[..., :1]
    corners = torch.cat([middle - half, middle + half, kinds], -1)
    boxes = [of[of[:, 4] >= 0] for of in corners]
    return pixels.contiguous(memory_format=torch.channels_last), boxes


def moved_mean(mean: Tensor, now: Tensor, seen: Tensor | int) -> Tensor:
    """Return the moving mean of a weight; counters are taken as they are."""
    kept = min(0.98, (1 + float(seen)) / (10 + float(seen)))
    return mean.lerp(now, 1 - kept) if mean.is_floating_point() else now


def learning_rate(job: dict[str, Any], done: float) -> float:
    """Return the rate at this share of the budget: warm-up, then a cosine down to a hundredth."""
    return (
        job["learning_rate"]
        * min(1.0, (done + 1e-3) / WARM_UP)
        * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
    )


def train(
    network: nn.Module, scenes: list[Scene], job: dict[str, Any], part: Path
) -> tuple[nn.Module, dict[str, float]]:
    """Train by AdamW until the CPU seconds of this process are spent; a stopped run goes on from
    `part`.

    Returns:
        the network of mean weights, and what was spent: steps, cpu_s, last loss.
    """
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=job["weight_decay"])
    averaged = AveragedModel(network, use_buffers=True, avg_fn=moved_mean)
    learners, steps, spent, recent = (network, averaged, optimizer), 0, 0.0, 0.0
    if part.exists():
        kept = torch.load(part, weights_only=True)
        steps, spent, recent = kept["steps"], kept["spent"], kept["recent"]
        for learner, state in zip(learners, kept["states"], strict=True):
            learner.load_state_dict(state)
    network.train()
    began = time.process_time() - spent
    while spent < job["cpu_s"]:
        done = spent / job["cpu_s"]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(job, done)
        pixels, boxes = draw_batch(scenes, job, np.random.default_rng((job["seed"], steps)))
        with torch.autocast("cpu", torch.bfloat16):
            loss = network.loss(pixels, boxes, done)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        averaged.update_parameters(network)
        steps, spent, recent = (
            steps + 1,
            time.process_time() - began,
            0.95 * recent + 0.05 * float(loss),
        )
        if steps % 25 == 0:
            mean = recent / (1 - 0.95**steps)
            print(f"{steps} steps, {spent:.0f} CPU s, loss {mean:.3f}", file=sys.stderr, flush=True)
            states = [learner.state_dict() for learner in learners]
            torch.save(
                {"steps": steps, "spent": spent, "recent": recent, "states": states},
                part.with_suffix(".new"),
            )
            part.with_suffix(".new").replace(part)
    return averaged.module.eval(), {
        "steps": steps,
        "cpu_s": round(spent, 1),
        "loss": round(recent, 4),
    }


@torch.inference_mode()
def find(network: nn.Module, path: str, factor: float, bfloat16: bool = True) -> np.ndarray:
    """Search a scene whole, from its file; return (N, 5): xyxy in px as delivered, score."""
    scene = read_scene(path, factor)
    height, width = scene.shape[:2]
    padded = np.full((-(-height // 32) * 32, -(-width // 32) * 32, 3), GREY, np.uint8)
    padded[:height, :width] = scene
    pixels = (
        torch.from_numpy(padded).permute(2, 0, 1)[None].float().div_(255)
    )  # (1, 3, H, W), channels last
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        boxes, scores = network(pixels)
    return torch.cat([boxes.float() * factor, scores.float()[:, None]], 1).numpy()


def search(network: nn.Module, job: dict[str, Any], detections: Path) -> dict[str, Any]:
    """Search every scene several times, write what was found in those delivered, and return the
    fastest seconds.
    """
    lines = ["scene,score,col,row,w,h"]
    seconds = {"delivered": 0.0, "geotiff": 0.0}
    for path, tif in zip(job["search"], job["search_tif"], strict=True):
        found, taken = timed(network, path, job["factor"], job["repeats"])
        seconds["delivered"] += taken
        seconds["geotiff"] += timed(network, tif, 1.0, job["repeats"])[1]
        for left, top, right, bottom, score in found:
            numbers = (score, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            lines.append(f"{Path(path).stem}," + ",".join(f"{number:.6g}" for number in numbers))
    detections.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"search_s": seconds, "detections": len(lines) - 1}


def timed(network: nn.Module, path: str, factor: float, repeats: int) -> tuple[np.ndarray, float]:
    """Return what is found in a file, and the fastest of several searches in seconds."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        found = find(network, path, factor)
        taken.append(time.perf_counter() - began)
    return found, min(taken)


def main() -> None:
    """Do the job of the file."""
    job_path = Path(sys.argv[1])
    job = json.loads(job_path.read_text(encoding="utf-8"))
    torch.set_num_threads(job["train_threads"])
    cv2.setNumThreads(job["train_threads"])
    torch.manual_seed(job["seed"])
    network = RIVALS[job["rival"]]().to(memory_format=torch.channels_last)
    weights = job_path.with_suffix(".pt")
    figures: dict[str, Any] = {"parameters": sum(part.numel() for part in network.parameters())}
    if weights.exists():
        kept = torch.load(weights, weights_only=True)
        network.load_state_dict(kept["state"])
        network.eval()
    else:
        scenes = [training_scene(one, job["factor"]) for one in job["train"]]
        network, spent = train(network, scenes, job, job_path.with_suffix(".part"))
        kept = {"state": network.state_dict(), "training": spent}
        torch.save(kept, weights)
    figures["training"] = kept["training"]
    torch.set_num_threads(job["threads"])
    cv2.setNumThreads(job["threads"])
    network.make_ready()
    figures |= search(network, job, job_path.with_suffix(".csv"))
    print(json.dumps({"torch": torch.__version__, **figures}))


if __name__ == "__main__":
    main()
