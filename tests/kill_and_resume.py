"""Run the search in children, kill them at random moments and resume until they end.

`python tests/kill_and_resume.py MODEL SCENE FOLDER SECONDS KILLS` prints the number of runs. Each
writes found.gpkg and scores.tif, which are named in the result, and renames them to r0.gpkg and so
on. It is
a process of its own, because it forks before torch has threads.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from pathlib import Path

import torch

from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest


def run_child(request: DetectRequest, kill_after_s: float | None) -> bool:
    """Search in a forked child; return whether it came to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if kill_after_s is not None:
                timer = threading.Timer(kill_after_s, os.kill, (os.getpid(), signal.SIGKILL))
                timer.daemon = True
                timer.start()
            detect_rasters(request)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    assert os.waitstatus_to_exitcode(status) == 0
    return True


def main() -> None:
    """Kill and resume runs until so many kills are done."""
    model, scene, folder, seconds, kills = sys.argv[1:]
    torch.set_num_threads(1)
    chance = random.Random(0)
    n_runs = 0
    kills_left = int(kills)
    while kills_left > 0:
        output = Path(folder) / "found.gpkg"
        scores = Path(folder) / "scores.tif"
        resume = False
        while True:
            request = DetectRequest(
                [scene], Path(model), output, scores=scores, block_px=64, resume=resume
            )
            kill_after_s = None
            if kills_left > 0:
                kill_after_s = chance.uniform(0.05, 0.8) * float(seconds)
            if run_child(request, kill_after_s):
                break
            kills_left -= 1
            resume = True
        output.rename(output.with_name(f"r{n_runs}.gpkg"))
        scores.rename(scores.with_name(f"r{n_runs}.tif"))
        n_runs += 1
    print(n_runs)


if __name__ == "__main__":
    main()
