"""Run the search in children, kill them at random moments, go on with `resume` until they end;
print how many runs.

`python tests/kill_and_resume.py MODEL SCENE FOLDER SECONDS KILLS`: a process of its own, for it forks
before torch has threads.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from pathlib import Path

import torch

from windhover.inference.detection_run import detect_rasters
from windhover.inference.detect_request import Request


def run_child(request: Request, kill_after_s: float | None) -> bool:
    """Search in a forked child; tell whether it came to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if kill_after_s is not None:
                timer = threading.Timer(kill_after_s, os.kill, (os.getpid(), signal.SIGKILL))
                timer.daemon = True
                timer.start()
            detect_rasters(request, say=lambda line: None)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    assert os.waitstatus_to_exitcode(status) == 0
    return True


def main() -> None:
    model, scene, folder, seconds, kills = sys.argv[1:]
    torch.set_num_threads(1)
    chance = random.Random(0)
    runs, left = 0, int(kills)
    while left > 0:
        output, scores, resume = (
            Path(folder) / f"r{runs}.gpkg",
            Path(folder) / f"r{runs}.tif",
            False,
        )
        runs += 1
        while True:
            request = Request([scene], Path(model), output, scores, block_px=64, resume=resume)
            if run_child(request, chance.uniform(0.05, 0.8) * float(seconds) if left > 0 else None):
                break
            left -= 1
            resume = True
    print(runs)


if __name__ == "__main__":
    main()
