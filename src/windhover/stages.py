"""Running one DVC stage: its parameters in, its seconds logged, its errors as one sentence.

Knows nothing of what a stage does. The log of seconds is git-ignored and never a DVC output: times
differ between runs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from windhover.errors import WindhoverError
from windhover.params import Params, load_params

SECONDS_LOG = Path(".windhover/stage_seconds.jsonl")


def run_stage(stage: str, model: type[Params], main: Callable[[Params], None]) -> None:
    """Load the stage's parameters, run it, log its seconds; end the process with 1 and one sentence
    when it cannot.

    Args:
        stage: name in `dvc.yaml`.
        model: the stage's parameter model.
        main: the stage.
    """
    started = time.monotonic()
    try:
        main(load_params(stage, model))
    except WindhoverError as error:
        print(f"{stage}: {error.sentence()}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        print(f"{stage}: cannot read or write: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(1) from None
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
    """Return the seconds of each stage's last run, in the order in which the stages last ended."""
    if not log.is_file():
        return {}
    lines = [
        json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    newest = {line["stage"]: line for line in lines}
    return {
        line["stage"]: float(line["seconds"])
        for line in sorted(newest.values(), key=lambda line: lines.index(line))
    }
