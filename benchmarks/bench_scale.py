"""Plans run and collected: workers, overhead of a task, memory over many scenes, equal bytes.

    python benchmarks/bench_scale.py [PART ...] [--pairs N] [--scenes N M]

- `tasks`: a raster of 10,000 px square as 1 and as 25 tasks; the collected files must be equal. The
  25 tasks are run by one and by two workers of one thread, in turns.
- `workers`: the same turns over a raster of 24,000 px square, beside which starting is little.
- `overhead`: a raster of 2,560 px as 100 tasks of one block, and as 2 of 50, in one worker. What a
  task takes beside its blocks is the difference a task.
- `many`: 1,000 and 10,000 small scenes planned, run with a stub in place of the network, and
  collected; 144 objects in each, of which 44 stand in a neighbour too. Each step is a process.
- `delivered`: a raster of 0.5 m searched for a model of 1.25 m by OpenVINO in 8-bit integers.
- `estimate`: 1,000,000 km2 at 0.5 m from the figures that the others left.

Each part adds to `results/scale.json`; without a name, all are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from measuring import RESULTS, measure_process, save, write_raster
from rasterio.transform import Affine

BIG_PX, LONG_PX, BLOCK_PX = 10_000, 24_000, 2048
SMALL_PX, SMALL_BLOCK_PX = 2560, 256
SCENE_PX, STEP_PX, DOT_PX, GSD_M = 288, 240, 24, 1.25
COUNTS = (1_000, 10_000)
TARGET = (
    "2 workers 1.8 times 1; under 50 ms a task; 10,000 scenes with 1,000,000 objects under 1.5 GiB "
    "and linear in time; 1 and 25 tasks give equal bytes"
)
# on paper: what the figures are multiplied by
KM2, KM2_GSD_M, MODEL_GSD_M = 1_000_000, 0.5, 1.25
OBJECTS_PER_KM2 = 1.0
VCPU_HOUR_USD, GB_MONTH_USD = 0.04, 0.023  # of large clouds, on demand, 2026: assumed


def write_model(folder: Path) -> None:
    """Write a model of random weights as large as that of aircraft."""
    from fake_models import add_graphs, random_weights, write_bundle

    write_bundle(folder, 0.99, random_weights(width=16), width=16)
    add_graphs(folder)


def step(name: str, *arguments: object) -> list[str]:
    """Return the command that runs a function of this file in a process of its own."""
    return [sys.executable, __file__, f"--step={name}", *map(str, arguments)]


def plan(
    folder: Path,
    rasters: Sequence[str],
    model: Path,
    *,
    block_px: int,
    mpx: float,
    runtime: str = "torch",
) -> int:
    """Plan tasks of some Mpx in blocks of some px; return their number."""
    from windhover.batch.make_plan import PlanRequest, make_plan
    from windhover.detection.detect_request import DetectRequest

    request = DetectRequest(
        scenes=list(rasters), model=model, output=folder, block_px=block_px, runtime=runtime
    )
    limits = {"max_tasks": 100_000, "mpx_per_second": 1.0, "minutes_per_task": mpx / 60}
    return make_plan(PlanRequest(request, **limits)).record.tasks


def forget_parts(folder: Path) -> None:
    """Remove the parts of a plan."""
    for path in (folder / "parts").glob("*.parquet"):
        path.unlink()


def run_local(folder: Path, n_workers: int) -> dict[str, float]:
    """Run a plan by local workers; return seconds in all, and from the first part to the last."""
    forget_parts(folder)
    started = time.perf_counter()
    command = [sys.executable, "-m", "windhover.cli.app", "run", str(folder)]
    subprocess.run([*command, "--local", str(n_workers)], check=True, capture_output=True)
    elapsed = time.perf_counter() - started
    times = part_times(folder)
    return {"seconds": elapsed, "seconds_between_parts": times[-1] - times[0]}


def part_times(folder: Path) -> list[float]:
    """Return when each part was written, in order, s."""
    paths = (folder / "parts").glob("*.parquet")
    return sorted(path.stat().st_mtime_ns / 1e9 for path in paths)


def plan_big(root: Path) -> dict[str, Path]:
    """Return the plans of the large raster as one and as 25 tasks."""
    model = root / "model"
    write_model(model)
    raster = str(write_raster(root / "big.tif", BIG_PX, BIG_PX))
    plans = {}
    for name, n_tasks, mpx in (("1", 1, 1e6), ("25", 25, 0.1), ("openvino", 25, 0.1)):
        plans[name] = root / f"plan_{name}"
        runtime = "openvino" if name == "openvino" else "torch"
        made = plan(plans[name], [raster], model, block_px=BLOCK_PX, mpx=mpx, runtime=runtime)
        assert made == n_tasks, f"{made} tasks"
    return plans


def collect(folder: Path, output: Path) -> bytes:
    """Collect a plan into a file, and return its content."""
    from windhover.batch.collect_plan import collect_plan

    collect_plan(folder, output)
    return output.read_bytes()


def run_in_turns(folder: Path, pairs: int) -> list[dict[str, Any]]:
    """Run a plan by one and by two workers, in turns; return what each run took."""
    turns = []
    for turn in range(pairs):
        order = (1, 2) if turn % 2 == 0 else (2, 1)
        seconds = {number: run_local(folder, number) for number in order}
        turns.append({"load": round(os.getloadavg()[0], 1), "1": seconds[1], "2": seconds[2]})
        print(turns[-1], flush=True)
    return turns


def turns_and_ratios(turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the turns, and how many times as fast two workers were in each."""
    ratios = {
        key: [round(turn["1"][key] / turn["2"][key], 2) for turn in turns]
        for key in ("seconds", "seconds_between_parts")
    }
    return {
        "turns": turns,
        "ratio_whole_runs": ratios["seconds"],
        "ratio_between_parts": ratios["seconds_between_parts"],
    }


def measure_workers(root: Path, pairs: int) -> dict[str, Any]:
    """Return the times of one and two workers over a raster that takes them minutes."""
    model, folder = root / "model", root / "plan"
    write_model(model)
    raster = str(write_raster(root / "long.tif", LONG_PX, LONG_PX))
    n_tasks = plan(folder, [raster], model, block_px=BLOCK_PX, mpx=0.1)
    return {
        "raster_px": LONG_PX,
        "tasks": n_tasks,
        **turns_and_ratios(run_in_turns(folder, pairs)),
    }


def measure_tasks(root: Path, pairs: int) -> dict[str, Any]:
    """Return whether 1 and 25 tasks give equal bytes, and the times of workers in turns."""
    plans = plan_big(root)
    run_local(plans["1"], 1)
    turns = run_in_turns(plans["25"], pairs)
    contents = [collect(plans[name], root / f"{name}.parquet") for name in ("1", "25")]
    by_openvino = run_local(plans["openvino"], 1)["seconds_between_parts"]
    sizes = [path.stat().st_size for path in (plans["25"] / "parts").glob("*.parquet")]
    fastest = min(turn["1"]["seconds_between_parts"] for turn in turns)
    mpx = 24 / 25 * BIG_PX**2 / 1e6  # from the first part to the last
    return {
        "raster_px": BIG_PX,
        "equal_bytes_of_1_and_25_tasks": contents[0] == contents[1],
        "bytes_of_the_collected_file": len(contents[0]),
        "bytes_of_parts": sum(sizes),
        **turns_and_ratios(turns),
        "mpx_per_second_of_a_worker": {
            "torch fp32": round(mpx / fastest, 2),
            "openvino int8": round(mpx / by_openvino, 2),
        },
    }


def measure_overhead(root: Path, pairs: int) -> dict[str, Any]:
    """Return what a task takes beside its blocks, ms: the median of some turns."""
    model = root / "model"
    write_model(model)
    raster = str(write_raster(root / "small.tif", SMALL_PX, SMALL_PX))
    many, few = root / "many", root / "few"
    n_many = plan(many, [raster], model, block_px=SMALL_BLOCK_PX, mpx=1e-6)
    total_mpx = 1.1 * SMALL_PX**2 / 1e6
    n_few = plan(few, [raster], model, block_px=SMALL_BLOCK_PX, mpx=total_mpx / 2)
    assert n_few == 2, f"{n_few} tasks"
    overheads = []
    for _ in range(pairs):
        run_local(many, 1)
        of_task = float(np.median(np.diff(part_times(many))))
        run_local(few, 1)
        of_block = float(np.diff(part_times(few))[0]) / (n_many / 2)
        overheads.append(1000 * (of_task - of_block))
        print(round(1000 * of_task, 1), round(1000 * of_block, 1), flush=True)
    return {
        "tasks": n_many,
        "overhead_ms": [round(value, 1) for value in overheads],
        "median_ms": round(float(np.median(overheads)), 1),
        "load": round(os.getloadavg()[0], 1),
    }


def measure_delivered(root: Path, pairs: int) -> dict[str, Any]:
    """Return how fast one thread searches a raster of 0.5 m for a model of 1.25 m."""
    del pairs  # seconds of the processor, once
    subprocess.run(step("model", root / "model"), check=True)
    raster = write_raster(root / "half_meter.tif", BIG_PX, BIG_PX)
    with rasterio.open(raster, "r+") as dataset:
        dataset.transform = Affine(KM2_GSD_M, 0, 400_000, 0, -KM2_GSD_M, 5_000_000)
    done = subprocess.run(step("delivered", root), check=True, capture_output=True, text=True)
    seconds = float(done.stdout.splitlines()[-1])
    delivered_mpx = BIG_PX**2 / 1e6
    return {
        "delivered_mpx_per_cpu_second": round(delivered_mpx / seconds, 1),
        "searched_mpx_per_cpu_second": round(
            delivered_mpx * (KM2_GSD_M / MODEL_GSD_M) ** 2 / seconds, 2
        ),
        "bytes_per_delivered_px": round(raster.stat().st_size / delivered_mpx / 1e6, 2),
    }


def search_delivered(root: Path) -> None:
    """Search the raster of 0.5 m by OpenVINO in 8-bit integers; print the processor's seconds."""
    from windhover.batch.plan import Plan
    from windhover.batch.search_task import TaskSearch

    raster = str(root / "half_meter.tif")
    plan(root / "plan", [raster], root / "model", block_px=BLOCK_PX, mpx=1e6, runtime="openvino")
    search = TaskSearch(Plan.load(root / "plan"))
    search.search(0)  # what is loaded once
    started = time.process_time()
    search.search(0).to_bytes()
    print(time.process_time() - started)


def write_scenes(folder: Path, count: int) -> None:
    """Write scenes of dots, `DOT_PX` apart, in rows that overlap by a sixth."""
    folder.mkdir()
    pixels = np.full((3, SCENE_PX, SCENE_PX), 60, np.uint8)
    pixels[:, ::DOT_PX, ::DOT_PX] = 255
    n_side = round(count**0.5)
    profile = {"driver": "GTiff", "height": SCENE_PX, "width": SCENE_PX, "count": 3}
    for number in range(count):
        x = 4e5 + GSD_M * STEP_PX * (number % n_side)
        y = 5e6 - GSD_M * STEP_PX * (number // n_side)
        transform = Affine(GSD_M, 0, x, 0, -GSD_M, y)
        path = folder / f"s{number:05}.tif"
        options = profile | {"dtype": "uint8", "crs": "EPSG:32631", "compress": "deflate"}
        with rasterio.open(path, "w", **options, transform=transform) as dataset:
            dataset.write(pixels)


class StubScorer:
    """Takes the place of a network: a window whose middle px is white shows an object."""

    def __init__(self, scorer: Any) -> None:
        """Keep the description of a real one."""
        self._scorer = scorer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scorer, name)

    def score(self, block: np.ndarray) -> Any:
        """Return logits of 5 where the middle of a window is white, else of -20."""
        from windhover.inference.scorer import RawScores

        half = self.window_px // 2
        height, width = ((side - self.window_px) // self.stride_px + 1 for side in block.shape[1:])
        middle = block[0, half :: self.stride_px, half :: self.stride_px][:height, :width]
        logits = np.where(middle > 200, 5.0, -20.0).astype(np.float32)[None]
        plane = np.zeros((2, height, width), np.float32)
        return RawScores(logits, plane, plane + np.float32(np.log(10)))

    def score_windows(self, windows: np.ndarray) -> Any:
        """Return the same of windows that are cut already."""
        from windhover.inference.scorer import WindowScores

        half = self.window_px // 2
        logits = np.where(windows[:, :1, half, half] > 200, 5.0, -20.0).astype(np.float32)
        plane = np.zeros((len(windows), 2), np.float32)
        return WindowScores(logits, plane, plane + np.float32(np.log(10)))


def run_stubbed(folder: Path) -> None:
    """Run every task of a plan with the stub."""
    from windhover.batch import search_task
    from windhover.batch.plan import Plan
    from windhover.batch.run_task import run_tasks_here

    real = search_task.make_detector

    def stubbed(*arguments: Any) -> Any:
        detector = real(*arguments)
        detector.scorer = StubScorer(detector.scorer)
        return detector

    search_task.make_detector = stubbed
    run_tasks_here(folder, range(Plan.load(folder).record.tasks))


def measure_many(root: Path, count: int) -> dict[str, Any]:
    """Return memory and seconds of planning, running and collecting some scenes."""
    root.mkdir()
    subprocess.run(step("model", root / "model"), check=True)
    write_scenes(root / "scenes", count)
    figures: dict[str, Any] = {
        name: measure_process(step(name, root), root) for name in ("plan", "run", "collect")
    }
    manifest = json.loads((root / "found" / "manifest.json").read_text(encoding="utf-8"))
    found = manifest["found"]
    files = [path for path in (root / "found").rglob("*") if path.is_file()]
    parts = [path.stat().st_size for path in (root / "plan" / "parts").glob("*.parquet")]
    return {
        "scenes": manifest["searched"]["scenes"],
        "objects": found["objects"],
        "detections": found["detections"],
        **figures,
        "seconds_per_1000_objects": round(
            1000 * sum(figures[name]["cpu_seconds"] for name in figures) / found["objects"], 2
        ),
        "collect_cpu_ms_per_object": round(
            1000 * figures["collect"]["cpu_seconds"] / found["objects"], 3
        ),
        "bytes_of_parts_per_detection": round(sum(parts) / found["detections"], 1),
        "bytes_of_collection_per_object": round(
            sum(path.stat().st_size for path in files if "stac" not in path.parts)
            / found["objects"]
        ),
    }


def run_step(name: str, root: Path) -> None:
    """Run one step of `many` in this process."""
    if name == "model":
        write_model(root)
    elif name == "plan":
        rasters = [str(path) for path in sorted((root / "scenes").glob("*.tif"))]
        mpx = 10 * (SCENE_PX / 1000) ** 2
        plan(root / "plan", rasters, root / "model", block_px=BLOCK_PX, mpx=mpx)
    elif name == "delivered":
        search_delivered(root)
    elif name == "run":
        run_stubbed(root / "plan")
    else:
        from windhover.batch.collect_plan import collect_plan

        collect_plan(root / "plan", root / "found")


def estimate(figures: dict[str, Any]) -> dict[str, Any]:
    """Return what 1,000,000 km2 take, from measured figures and the prices assumed above."""
    rate = figures["delivered"]["delivered_mpx_per_cpu_second"]
    many = figures["many"][str(COUNTS[-1])]
    delivered_mpx = KM2 / KM2_GSD_M**2
    searched_mpx = KM2 / MODEL_GSD_M**2
    hours = delivered_mpx / rate / 3600
    read_tb = delivered_mpx * figures["delivered"]["bytes_per_delivered_px"] / 1e6
    objects = KM2 * OBJECTS_PER_KM2
    stored_gb = objects * many["bytes_of_collection_per_object"] / 1e9
    part_gb = objects * many["bytes_of_parts_per_detection"] / 1e9
    return {
        "km2": KM2,
        "delivered_mpx": delivered_mpx,
        "searched_mpx": searched_mpx,
        "read_tb": round(read_tb, 1),
        "delivered_mpx_per_second_of_a_thread": rate,
        "cpu_hours_search": round(hours),
        "cpu_hours_collect": round(objects * many["collect_cpu_ms_per_object"] / 3_600_000, 2),
        "days_of_100_threads": round(hours / 100 / 24, 2),
        "read_mb_per_second_a_worker": round(read_tb * 1e6 / (hours * 3600), 2),
        "parts_gb": round(part_gb, 2),
        "collection_gb": round(stored_gb, 2),
        "usd_compute": round(hours * VCPU_HOUR_USD),
        "usd_storage_of_pictures_a_month": round(read_tb * 1000 * GB_MONTH_USD),
        "gpu_hours": "not known: no search on a GPU was measured",
    }


MEASURES = {
    "tasks": measure_tasks,
    "workers": measure_workers,
    "overhead": measure_overhead,
    "delivered": measure_delivered,
}


def main() -> None:
    """Measure what is asked for; keep the other figures as they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="all of them without a name")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--scenes", type=int, nargs="*", default=COUNTS)
    parser.add_argument("--step", help="of one count of scenes, in a process of its own")
    asked = parser.parse_args()
    if asked.step is not None:
        run_step(asked.step, Path(asked.parts[0]))
        return
    path = RESULTS / "scale.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for key in ("benchmark", "must_reach", "machine"):
        figures.pop(key, None)
    for name in asked.parts or ["many", *MEASURES, "estimate"]:
        with tempfile.TemporaryDirectory() as folder:
            if name == "many":
                done = figures.setdefault("many", {})
                for count in asked.scenes:
                    done[str(count)] = measure_many(Path(folder) / str(count), count)
            elif name == "estimate":
                figures["estimate"] = estimate(figures)
            else:
                action = MEASURES[name]
                figures[name] = action(Path(folder), asked.pairs)
        save("scale", figures, TARGET)


if __name__ == "__main__":
    main()
