"""What a worker process keeps between tasks: the plan and the loaded model.

The same functions serve processes of this machine and workers of a cluster. A part goes back as
bytes, so that a worker needs the rasters alone and writes nothing.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path

from windhover.batch.part import Part
from windhover.batch.plan import PLAN, SCENES, TASKS, Plan
from windhover.batch.search_task import TaskSearch

# one of each plan in a process; tasks of one process take turns, since a network is one
_searches: dict[str, TaskSearch] = {}
_faults: list[Exception] = []
_turn = threading.Lock()


@dataclass(frozen=True)
class WorkerFiles:
    """A plan and its model as bytes, for a machine that sees no folder of this one.

    Attributes:
        plan: content of each file of the plan, by name.
        model: of each file of the model, by its path in the folder.
    """

    plan: Mapping[str, bytes]
    model: Mapping[str, bytes]

    @classmethod
    def read(cls, folder: Path, model: Path, names: Mapping[str, str]) -> WorkerFiles:
        """Read the files.

        Args:
            folder: of the plan.
            model: its folder.
            names: files of the model that are sent.
        """
        return cls(
            {name: (folder / name).read_bytes() for name in (PLAN, SCENES, TASKS)},
            {name: (model / name).read_bytes() for name in names},
        )

    def load(self) -> TaskSearch:
        """Return the search of the plan, its model loaded; the files are not kept on disk."""
        with tempfile.TemporaryDirectory(prefix="windhover-") as name:
            folder = Path(name)
            for part, files in (("plan", self.plan), ("model", self.model)):
                for path, content in files.items():
                    target = folder / part / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content)
            return TaskSearch(Plan.load(folder / "plan"), folder / "model")


def load_on_worker(digest: str, files: WorkerFiles) -> None:
    """Load the model of a plan in this process, once.

    Args:
        digest: of the plan.
        files: of plan and model.
    """
    with _turn:
        if digest not in _searches:
            _searches[digest] = files.load()


def start_process(folder: Path, model: Path | None) -> None:
    """Load the model of a plan in a process of this machine, which ends with its parent.

    Args:
        folder: of the plan.
        model: where the model is now; None for where it was when the plan was made.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        plan = Plan.load(folder)
        _searches[plan.record.digest] = TaskSearch(plan, model)
    except Exception as error:  # noqa: BLE001  # raised by the first task, not as a broken pool
        _faults.append(error)


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, killed for instance."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def search_on_worker(digest: str, task: int, earlier: bytes | None) -> bytes:
    """Search a task of a loaded plan; return its part.

    Args:
        digest: of the plan.
        task: its number.
        earlier: part of the same task, with blocks that are finished.
    """
    finished = None if earlier is None else Part.from_bytes(earlier, f"part {task}")
    with _turn:
        if digest not in _searches and _faults:
            raise _faults[-1]
        return _searches[digest].search(task, earlier=finished).to_bytes()
