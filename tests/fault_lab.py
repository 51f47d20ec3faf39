"""Commands run in forked children with a fault injected at a chosen moment, and what they left.

A moment is the number of a file event of the child (a file of the project opened, renamed, made or
removed, as the interpreter's audit hooks report them), so that a seed repeats it on any machine.
The modules are imported once, before the forks.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pkgutil
import re
import runpy
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import windhover
from windhover import program_end
from windhover.temporary_files import TEMPORARY_NAME

EVENTS = {
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "sqlite3.connect",
    "shutil.rmtree",
}
TRAINING_ROOMS = (".training", ".experiments", ".tracking", ".simulate", ".cli.training")
LATE_IMPORTS = (
    "albumentations",
    "lightning",
    "mlflow",
    "torchvision",
    "geopandas",
    "matplotlib.pyplot",
    "openvino",
    "pyogrio",
)
Action = Callable[[], None]


@dataclass(frozen=True)
class Command:
    """A command of the project.

    Attributes:
        name: of its kind, such as "detect gpkg".
        arguments: of `windhover`, or the path of a stage's script.
        outputs: files and folders that it writes.
        volatile: names of files in them that hold times.
        resume: arguments that are added when it is run again.
        is_once: whether it refuses an output that is there, which is removed before it runs again.
    """

    name: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    volatile: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    is_once: bool = False

    def run(self) -> None:
        """Run it in this process and in the working folder."""
        if self.arguments[0].endswith(".py"):
            sys.argv = [self.arguments[0]]
            runpy.run_path(self.arguments[0], run_name="__main__")
            return
        from windhover.cli.app import main

        sys.argv = ["windhover", *self.arguments]
        main()


@dataclass
class Ended:
    """How a child ended.

    Attributes:
        code: its exit code; negative, the signal that killed it.
        out: what it printed.
        err: what it printed to standard error.
        n_events: file events that were counted.
    """

    code: int
    out: str = ""
    err: str = ""
    n_events: int = 0

    @property
    def kind(self) -> str:
        """`done`, `killed`, `sentence`, or `fault` for a traceback or an unexpected end."""
        if "Traceback (most recent call last)" in self.err:
            return "fault"
        if self.code == 0:
            return "done"
        if self.code < 0:
            return "killed"
        return "sentence" if self.err.strip() else "fault"


@dataclass
class Trigger:
    """Calls an action in the child at one of its file events.

    Attributes:
        at: number of the event, from 1; 0 for never.
        action: what happens then.
        count: events so far.
    """

    at: int = 0
    action: Action | None = None
    count: int = 0
    root: str = field(default_factory=os.getcwd)
    is_open: bool = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Count an event; the audit hook of the child."""
        if event not in EVENTS or not arguments or self.is_open:
            return
        if signal.getsignal(signal.SIGTERM) is not program_end._stop or not self._is_of_project(
            arguments[0]
        ):
            return
        self.count += 1
        if self.count == self.at and self.action is not None:
            self.is_open = True
            self.action()
            self.is_open = False

    def _is_of_project(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.abspath(os.fsdecode(path)).startswith(self.root)


def start(
    folder: Path,
    run: Action,
    *,
    trigger: tuple[int, Action | None] = (0, None),
    prepare: Action | None = None,
) -> int:
    """Start a run in a forked child in a folder; return its process number.

    Args:
        folder: becomes the working folder; `.stdout`, `.stderr` and `.events` beside it hold what
            the child prints.
        run: what it does.
        trigger: number of a file event, and what happens then in the child.
        prepare: called in the child before.
    """
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        code = _child(folder, run, trigger, prepare)
    finally:
        os._exit(code)


def _child(
    folder: Path, run: Action, trigger: tuple[int, Action | None], prepare: Action | None
) -> int:
    for number, name in ((1, "stdout"), (2, "stderr")):
        target = os.open(_log(folder, name, os.getpid()), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, number)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    os.chdir(folder)
    os.environ["DVC_ROOT"] = str(folder)
    hook = Trigger(*trigger, root=str(folder.resolve()))
    sys.addaudithook(hook)
    code = 0
    try:
        if prepare is not None:
            prepare()
        run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  # a traceback is what the lab looks for
        traceback.print_exc()
        code = 1
    hook.is_open = True
    sys.stdout.flush()
    sys.stderr.flush()
    _log(folder, "events", os.getpid()).write_text(str(hook.count))
    return code


def _log(folder: Path, kind: str, process: int) -> Path:
    return folder.parent / f"{folder.name}.{process}.{kind}"


def wait(folder: Path, child: int) -> Ended:
    """Wait for a child's end."""
    _, status = os.waitpid(child, 0)
    texts = {}
    for kind in ("stdout", "stderr", "events"):
        path = _log(folder, kind, child)
        texts[kind] = path.read_text(errors="replace") if path.exists() else ""
        path.unlink(missing_ok=True)
    code = os.waitstatus_to_exitcode(status)
    return Ended(code, texts["stdout"], texts["stderr"], int(texts["events"] or 0))


def hashes(folder: Path, command: Command) -> dict[str, str]:
    """Return the SHA-256 of each file that a command writes, without those that hold times."""
    found = {}
    for output in command.outputs:
        path = folder / output
        files: Iterable[Path] = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in files:
            name = str(file.relative_to(folder))
            if file.is_file() and not any(re.search(part, name) for part in command.volatile):
                found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def leftovers(folder: Path) -> list[str]:
    """Return temporary files and locks below a folder, DVC's own left out."""
    left = []
    for path in folder.rglob(".*"):
        is_lock = path.name.startswith(".") and path.name.endswith(".lock")
        if ".dvc" in path.parts:
            continue
        if is_lock or TEMPORARY_NAME.match(path.name):
            left.append(str(path.relative_to(folder)))
    return left


def import_all(*, trained: bool) -> None:
    """Import the library and what it imports late, so that children need not; starts no thread.

    Args:
        trained: whether what training and tracking need is imported too.
    """
    for module in pkgutil.walk_packages(windhover.__path__, "windhover."):
        is_needed = trained or not any(part in module.name for part in TRAINING_ROOMS)
        if is_needed and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LATE_IMPORTS if trained else LATE_IMPORTS[-4:]:
        importlib.import_module(name)
