"""How fast this machine searches, measured on a few blocks of the scenes of a plan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from windhover.batch.divide_tasks import SearchSpeed
from windhover.batch.scene_row import PlannedScene
from windhover.errors import ParameterError, WindhoverError
from windhover.inference.detector import Detector
from windhover.inference.multi_scale import ScalePass
from windhover.inference.search_results import SearchReport
from windhover.progress import counted

SAMPLED_SCENES = 3
BLOCK_PX = 1024  # of the sample: a block takes a second or so
MAX_SECONDS = 15.0
STATED_SECONDS_PER_SCENE = 0.01  # of opening a raster, about, where the speed is stated
UNKNOWN_SECONDS_PER_MPX = 1.0  # where no block of the sample has data


def stated_speed(mpx_per_second: float) -> SearchSpeed:
    """Return the speed of a worker that is stated: nothing is measured, so a plan repeats itself.

    Args:
        mpx_per_second: above 0.

    Raises:
        ParameterError: it is not above 0.
    """
    if not 0 < mpx_per_second < float("inf"):
        raise ParameterError(
            f"--mpx-per-second must be above 0, got {mpx_per_second:g}. Give the rate of one "
            "worker, or leave it out to measure it."
        )
    return SearchSpeed(1 / mpx_per_second, STATED_SECONDS_PER_SCENE, "as stated")


def measure_speed(
    detector: Detector,
    thresholds: dict[str, float],
    scenes: Sequence[PlannedScene],
    *,
    seconds_per_scene: float,
) -> SearchSpeed:
    """Search one block in the middle of a few scenes and return how fast that was.

    The first block is searched twice, since what is loaded with it is loaded once a worker.

    Args:
        detector: of the plan's model.
        thresholds: score to reach, by class.
        scenes: of the plan that have blocks.
        seconds_per_scene: of opening a raster, as measured before.
    """
    step = max(len(scenes) // SAMPLED_SCENES, 1)
    sampled = scenes[step // 2 :: step][:SAMPLED_SCENES]
    mpx = 0.0
    seconds = 0.0
    n_blocks = 0
    for planned in sampled:
        if seconds > MAX_SECONDS:
            break
        repeats = 1 if n_blocks else 2
        for _ in range(repeats):
            block_mpx, block_s = _search_middle(detector, thresholds, planned)
        if block_mpx:
            mpx += block_mpx
            seconds += block_s
            n_blocks += 1
    if not mpx:
        return SearchSpeed(
            UNKNOWN_SECONDS_PER_MPX,
            seconds_per_scene,
            "assumed: the sample holds no data; state it by --mpx-per-second",
        )
    scorer = detector.scorer
    source = (
        f"measured here on {counted(n_blocks, 'block')}, by {scorer.runtime} on {scorer.device} in "
        f"{scorer.inference_precision}"
    )
    return SearchSpeed(seconds / mpx, seconds_per_scene, source)


def _search_middle(
    detector: Detector, thresholds: dict[str, float], planned: PlannedScene
) -> tuple[float, float]:
    """Search the block in the middle of a scene; return its Mpx and the seconds, 0 without data."""
    try:
        with planned.stacked(), detector.open(planned.opened_info) as scene:
            search = detector.plan(scene, thresholds, aoi=planned.area, block_px=BLOCK_PX)
            search = replace(search, passes=(_middle_of(search.passes[0]),))
            report = SearchReport()
            started = time.perf_counter()
            searched = [result for _, _, result in search.block_results(report)]
            elapsed = time.perf_counter() - started
    except WindhoverError:  # the task of the scene will count it
        return 0.0, 0.0
    has_data = any(result.windows_searched for result in searched)
    return (report.mpx, elapsed) if has_data else (0.0, 0.0)


def _middle_of(scale_pass: ScalePass) -> ScalePass:
    """Return a pass over the block in its middle alone."""
    middle = len(scale_pass.blocks) // 2
    return replace(scale_pass, blocks=scale_pass.blocks[middle : middle + 1])
