"""Let a training count processor time: `PYTHONPATH=benchmarks/processor_time python ...`.

Python imports this file before anything else, in the processes of every stage. In the one that
trains there is one processor, and the clock of `train.max_minutes` stands still while other work
has it, so that models trained on a busy machine have learned as long as each other.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

COMMAND = Path("/proc/self/cmdline")

if COMMAND.is_file() and b"pipeline/train.py" in COMMAND.read_bytes():
    time.monotonic = time.process_time
    os.cpu_count = lambda: 1
