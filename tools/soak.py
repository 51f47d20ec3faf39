"""Inject faults at random moments into every stage and command, and check what is left of them.

    python tools/soak.py [--faults 120] [--seed 0] [--only WORDS] [--project FOLDER] [--untrained]

Each fault ends in one sentence, in a retry or in the end of the process; no output is half-written;
the same command run again gives equal bytes and leaves no temporary file. The moments follow from
the seed. Faults of the disk need to be root, for small disks in memory; without, they are left out
and counted. Results go to benchmarks/results/soak.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from fault_kinds import FAULTS, Lab, NotPossibleError, Outcome  # noqa: E402
from fault_lab import import_all, start, wait  # noqa: E402
from fault_project import (  # noqa: E402
    COMMANDS,
    PREPARED,
    STAGES,
    TRAINING,
    write_model,
    write_project,
)

LEAST_RECORDED = 100  # faults of a run that is written down
RESULT = ROOT / "benchmarks" / "results" / "soak.json"


def build(root: Path, *, trained: bool) -> None:
    """Run the stages of a toy project once, with a network of random weights where not trained."""
    root.mkdir(parents=True)
    write_project(root)
    for name, command in STAGES.items():
        if not trained and name in TRAINING:
            continue
        if not trained and name == "detect":
            wait(root, start(root, lambda: write_model(root / "data" / "model")))
        ended = wait(root, start(root, command.run))
        if ended.kind != "done":
            raise SystemExit(f"{command.name}: {ended.err}")


def attempts(seed: int, count: int, *, only: str, trained: bool) -> list[tuple[str, str, int]]:
    """Return which fault is injected into which command, and its seed, kinds in turns."""
    chance = random.Random(seed)
    rounds: list[tuple[str, str, int]] = []
    for number in range(count):
        for kind, fault in FAULTS.items():
            names = [
                name
                for name in sorted(fault.commands)
                if only in f"{kind} {name}" and (trained or name not in TRAINING)
            ]
            if names:
                rounds.append((kind, chance.choice(names), seed * 100_000 + number))
    return rounds[:count]


def run_attempt(lab: Lab, kind: str, name: str, seed: int) -> Outcome:
    """Inject one fault into a fresh copy of the project, check it, and run the command again."""
    fault = FAULTS[kind]
    with lab.fresh(COMMANDS[name], random.Random(seed), on_small_disk=fault.on_small_disk) as trial:
        return trial.outcome(fault)


def main() -> None:
    """Run the attempts, print a line for each, and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--project", type=Path, help="kept, and used again if it is there")
    parser.add_argument("--untrained", action="store_true", help="random weights, in seconds")
    arguments = parser.parse_args()
    began = time.monotonic()
    trained = not arguments.untrained
    import_all(trained=trained)
    with tempfile.TemporaryDirectory() as temporary:
        pristine = arguments.project or Path(temporary) / "pristine"
        if not pristine.exists():
            build(pristine, trained=trained)
        lab = Lab(pristine, Path(temporary) / "lab")
        lab.prepare(PREPARED)
        ends: Counter[str] = Counter()
        by_kind: dict[str, Counter[str]] = {}
        problems = []
        planned = attempts(arguments.seed, arguments.faults, only=arguments.only, trained=trained)
        for kind, name, seed in planned:
            try:
                outcome = run_attempt(lab, kind, name, seed)
            except NotPossibleError as reason:
                ends["left out"] += 1
                print(f"{kind}, {name}: left out ({reason})", flush=True)
                continue
            end = outcome.end if not outcome.problems else "FAULT"
            ends[end] += 1
            by_kind.setdefault(kind, Counter())[end] += 1
            print(f"{end:9} {kind}, {name}, seed {seed}: {outcome.said}", flush=True)
            for problem in outcome.problems:
                print(f"          {problem}", flush=True)
                problems.append(f"{kind}, {name}, seed {seed}: {problem}")
    figures = {
        "faults": sum(ends.values()) - ends["left out"],
        "ends": dict(sorted(ends.items())),
        "by_kind": {kind: dict(sorted(counts.items())) for kind, counts in by_kind.items()},
        "problems": problems,
        "seed": arguments.seed,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "cores": os.cpu_count(),
    }
    figures["trained"] = trained
    if arguments.faults >= LEAST_RECORDED and not arguments.only:
        RESULT.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
