"""Runs one DVC stage: parameters loaded, seconds logged, errors printed as one sentence.

Knows nothing of what a stage does. The log of seconds is git-ignored and never a DVC output: times
differ between runs.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from windhover.console import show_messages
from windhover.params import Params, load_params
from windhover.program_end import errors_told

logger = logging.getLogger(__name__)

SECONDS_LOG = Path(".windhover/stage_seconds.jsonl")


def run_stage(stage: str, model: type[Params], main: Callable[[Params], None]) -> None:
    """Run a stage with its parameters and log its seconds.

    Messages of the library are printed. A user's error ends the process with code 1 and one
    sentence, Ctrl-C and SIGTERM with the code of the signal.

    Args:
        stage: name in `dvc.yaml`.
        model: the stage's parameter model.
        main: the function of the stage.
    """
    show_messages()
    started = time.monotonic()
    with errors_told(stage):
        main(load_params(stage, model))
        log_seconds(stage, time.monotonic() - started)


def log_seconds(stage: str, seconds: float, log: Path = SECONDS_LOG) -> None:
    """Append one line for a finished stage."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        stream.write(
            json.dumps({"stage": stage, "seconds": round(seconds, 2), "ended": round(time.time())})
            + "\n"
        )


def last_seconds(log: Path = SECONDS_LOG) -> dict[str, float]:
    """Return the seconds of each stage's last run, in the order in which the stages last ended.

    A line that is damaged, such as by a kill, is left out and reported.
    """
    if not log.is_file():
        return {}
    seconds: dict[str, float] = {}
    damaged = 0
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            entry = _LogLine.model_validate_json(line)
        except ValidationError:
            damaged += 1
            continue
        seconds.pop(entry.stage, None)
        seconds[entry.stage] = entry.seconds
    if damaged:
        logger.warning("%s: %d damaged lines are left out.", log, damaged)
    return seconds


class _LogLine(BaseModel):
    """One finished stage."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    stage: str
    seconds: float
