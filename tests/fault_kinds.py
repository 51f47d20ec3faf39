"""The kinds of faults, each injected into a command of the toy project, and what must hold then."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fault_lab import Action, Command, Ended, hashes, leftovers, start, wait
from fault_project import COMMANDS, RASTER, SEARCHES
from range_server import FAULTS as SERVER_FAULTS
from range_server import FaultPlan, range_server

INCOMPLETE = 3  # exit code of a search that could not read a part
LEFT_OUT = shutil.ignore_patterns("mlartifacts", "*.stdout", "*.stderr")
MAX_SAID = 160


class NotPossibleError(Exception):
    """A fault that cannot be injected here."""


@dataclass
class Outcome:
    """How one fault ended, and what did not hold."""

    end: str
    said: str
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        inject: runs the command with the fault and returns how it ended.
        commands: names of those that it is injected into.
        on_small_disk: whether the project lies on a small disk of its own.
        may_write_parts: whether a file that lacks parts, named as such by the exit code, is right.
        is_elsewhere: whether the input has another address, so that its ids and paths differ.
        after: mends what the fault did, before the command is run again.
    """

    inject: Callable[[Trial], Sequence[Ended]]
    commands: tuple[str, ...]
    on_small_disk: bool = False
    may_write_parts: bool = False
    is_elsewhere: bool = False
    after: Callable[[Trial], None] | None = None


class Lab:
    """A project in which every stage has run, copies of it, and what its commands write."""

    def __init__(self, pristine: Path, folder: Path) -> None:
        """Take the project and a folder for copies."""
        self.pristine = pristine
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._expected: dict[str, tuple[dict[str, str], int, float]] = {}

    @contextmanager
    def fresh(
        self, command: Command, chance: random.Random, *, on_small_disk: bool = False
    ) -> Iterator[Trial]:
        """Yield a fresh copy of the project."""
        expected, n_events, seconds = self.expect(command)
        with self._copy(on_small_disk) as root:
            yield Trial(root, command, chance, expected, n_events=n_events, seconds=seconds)

    def expect(self, command: Command) -> tuple[dict[str, str], int, float]:
        """Return what a command writes, its number of file events, and its seconds."""
        if command.name not in self._expected:
            with self._copy(False) as root:
                began = time.monotonic()
                ended = wait(root, start(root, command.run))
                seconds = time.monotonic() - began
                if ended.kind != "done":
                    raise RuntimeError(f"{command.name}: {ended.code} {ended.err}")
                self._expected[command.name] = (hashes(root, command), ended.n_events, seconds)
        return self._expected[command.name]

    def prepare(self, commands: Sequence[Command]) -> None:
        """Run commands in a copy of the project and keep what they write.

        A plan holds the addresses of its rasters, so that it is made where it is run.
        """
        with self._copy(False) as root:
            for command in commands:  # a project that is used again has them
                for output in command.outputs:
                    remove(root / output)
            for command in commands:
                ended = wait(root, start(root, command.run))
                if ended.kind != "done":
                    raise RuntimeError(f"{command.name}: {ended.code} {ended.err}")
                for output in command.outputs:
                    remove(self.pristine / output)
                    (shutil.copytree if (root / output).is_dir() else shutil.copy2)(
                        root / output, self.pristine / output
                    )

    @contextmanager
    def _copy(self, on_small_disk: bool) -> Iterator[Path]:
        root = self.folder / "project"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        if on_small_disk:
            _mount(root)
        try:
            shutil.copytree(self.pristine, root, ignore=LEFT_OUT, dirs_exist_ok=True, symlinks=True)
            yield root
        finally:
            if on_small_disk:
                subprocess.run(["umount", "-l", str(root)], check=True)
            shutil.rmtree(root, ignore_errors=True)


def _mount(root: Path) -> None:
    if os.geteuid() != 0:
        raise NotPossibleError("small disks need to be root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotPossibleError(done.stderr.strip())


@dataclass
class Trial:
    """A fresh copy of the project, a command, and the moment of its fault.

    Attributes:
        root: of the copy.
        command: that the fault hits.
        chance: decides the moment.
        expected: SHA-256 of what the command writes.
        n_events: file events of the command.
        seconds: that the command takes.
    """

    root: Path
    command: Command
    chance: random.Random
    expected: dict[str, str]
    n_events: int = 0
    seconds: float = 0.0

    def outcome(self, fault: Fault) -> Outcome:
        """Inject a fault, check what is left, run the command again and compare its bytes."""
        if self.chance.random() < 0.5:  # as DVC does before a stage
            for output in self.command.outputs:
                if output != "params.yaml":
                    remove(self.root / output)
        ended = fault.inject(self)
        said = " | ".join(last_line(one) for one in ended)
        outcome = Outcome(ended[0].kind, said)
        self._check_end(ended, outcome, fault)
        if fault.after is not None:
            fault.after(self)
        self._check_again(ended, outcome)
        return outcome

    def _check_end(self, ended: Sequence[Ended], outcome: Outcome, fault: Fault) -> None:
        for one in ended:
            if one.kind == "fault":
                outcome.problems.append(f"code {one.code}: {one.err[-1500:] or one.out[-300:]}")
        found = hashes(self.root, self.command)
        has_parts = fault.may_write_parts and ended[0].code == INCOMPLETE
        if has_parts or fault.is_elsewhere or self.command.name == "set":
            return
        is_done = any(one.code == 0 for one in ended)
        for name, digest in found.items():
            if self.expected.get(name) != digest:
                outcome.problems.append(f"{name} is there and is not what it should be")
        if is_done and set(found) != set(self.expected):
            outcome.problems.append("it ended well and did not write all")

    def _check_again(self, ended: Sequence[Ended], outcome: Outcome) -> None:
        more = self.command.resume if ended[0].code != 0 else ()
        command = replace(self.command, arguments=(*self.command.arguments, *more))
        if command.is_once:
            for output in command.outputs:
                remove(self.root / output)
        again = wait(self.root, start(self.root, command.run))
        if again.kind != "done":
            outcome.problems.append(f"again: code {again.code}: {again.err[-1500:]}")
            return
        found = hashes(self.root, self.command)
        differing = sorted(
            name for name in {*found, *self.expected} if found.get(name) != self.expected.get(name)
        )
        if differing:
            outcome.problems.append(f"again: other bytes in {', '.join(differing)}")
        if left := leftovers(self.root):
            outcome.problems.append(f"again: left {', '.join(left)}")

    def run(
        self, *, trigger: tuple[int, Action | None] = (0, None), prepare: Action | None = None
    ) -> Ended:
        """Run the command in a child."""
        return wait(self.root, start(self.root, self.command.run, trigger=trigger, prepare=prepare))

    def moment(self) -> int:
        """Return the number of a file event drawn from those of the command."""
        return self.chance.randint(1, max(self.n_events, 1))


def last_line(ended: Ended) -> str:
    """Return the last line that a command printed, shortened."""
    lines = (ended.err.strip() or ended.out.strip() or f"code {ended.code}").splitlines()
    return lines[-1][:MAX_SAID]


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _signal_at_event(number: signal.Signals) -> Callable[[Trial], Sequence[Ended]]:
    def inject(trial: Trial) -> Sequence[Ended]:
        return [trial.run(trigger=(trial.moment(), lambda: os.kill(os.getpid(), number)))]

    return inject


def _signal_at_time(number: signal.Signals) -> Callable[[Trial], Sequence[Ended]]:
    def inject(trial: Trial) -> Sequence[Ended]:
        child = start(trial.root, trial.command.run)
        time.sleep(trial.chance.uniform(0.1, 1.0) * trial.seconds)
        os.kill(child, number)  # a child that has ended is not yet waited for
        return [wait(trial.root, child)]

    return inject


def _file_limit(trial: Trial) -> Sequence[Ended]:
    largest = max(path.stat().st_size for path in trial.root.rglob("*") if path.is_file())
    limit = int(2 ** trial.chance.uniform(8, largest.bit_length()))

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return [trial.run(prepare=prepare)]


def _disk_fills(trial: Trial) -> Sequence[Ended]:
    def fill() -> None:
        size = 1 << 20
        descriptor = os.open(trial.root / "filler", os.O_WRONLY | os.O_CREAT)
        while size:
            try:
                os.write(descriptor, bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2
        os.close(descriptor)

    return [trial.run(trigger=(trial.moment(), fill))]


def _remove_filler(trial: Trial) -> None:
    (trial.root / "filler").unlink(missing_ok=True)


def _read_only(trial: Trial) -> Sequence[Ended]:
    subprocess.run(["mount", "-o", "remount,ro", str(trial.root)], check=True)
    return [trial.run()]


def _writable_again(trial: Trial) -> None:
    subprocess.run(["mount", "-o", "remount,rw", str(trial.root)], check=True)


def _raster_fault(spoil: Callable[[Path], None]) -> Callable[[Trial], Sequence[Ended]]:
    """Return a fault that spoils a raster before one of the reads of its pixels."""

    def inject(trial: Trial) -> Sequence[Ended]:
        at = trial.chance.randint(1, 12)
        raster = trial.root / RASTER

        def prepare() -> None:
            from windhover.imagery.native_resolution_reader import NativeReader

            read = NativeReader.read_file
            count = 0

            def read_or_spoil(reader: Any, bounds: Any) -> Any:
                nonlocal count
                count += 1
                if count == at:
                    spoil(raster)
                return read(reader, bounds)

            NativeReader.read_file = read_or_spoil  # type: ignore[method-assign]

        return [trial.run(prepare=prepare)]

    return inject


def _cut_short(raster: Path) -> None:
    os.truncate(raster, raster.stat().st_size // 3)


def _raster_back(trial: Trial) -> None:
    lab_copy = trial.root.parent / "raster.tif"
    shutil.copy2(lab_copy, trial.root / RASTER)


def _keep_raster(inject: Callable[[Trial], Sequence[Ended]]) -> Callable[[Trial], Sequence[Ended]]:
    def keep_and_inject(trial: Trial) -> Sequence[Ended]:
        shutil.copy2(trial.root / RASTER, trial.root.parent / "raster.tif")
        return inject(trial)

    return keep_and_inject


def _server_fails(trial: Trial) -> Sequence[Ended]:
    """Search a raster of a server that fails for a while or for good; the rerun reads the file."""
    plan = FaultPlan(
        trial.chance.choice([fault for fault in SERVER_FAULTS if fault != "slow"]),
        after=trial.chance.randint(0, 6),
        count=trial.chance.choice([1, 2, 10**6]),
        stall_s=5.0,
    )
    limits = {
        "GDAL_HTTP_MAX_RETRY": "1",
        "GDAL_HTTP_RETRY_DELAY": "0.1",
        "GDAL_HTTP_LOW_SPEED_TIME": "1",
    }
    with range_server(trial.root, plan) as url:
        arguments = tuple(
            f"{url}/{RASTER}" if text == RASTER else text for text in trial.command.arguments
        )
        remote = replace(trial.command, arguments=arguments)
        child = start(trial.root, remote.run, prepare=lambda: os.environ.update(limits))
        ended = wait(trial.root, child)
    if ended.code == 0 and not hashes(trial.root, trial.command):
        ended.err = "Traceback (most recent call last): nothing was written"
    return [ended]


def _clock_jumps(trial: Trial) -> Sequence[Ended]:
    offset = trial.chance.choice([-(10**9), 10**9, -3600.0])
    for path in (trial.root / "data").rglob("*"):
        if path.is_file() and trial.chance.random() < 0.5:
            os.utime(path, (max(time.time() + offset, 1.0),) * 2)

    def prepare() -> None:
        real = time.time
        began = real()
        time.time = lambda: max(real() + offset * (real() - began > 0.2), 1.0)

    return [trial.run(prepare=prepare)]


def _two_runs(trial: Trial) -> Sequence[Ended]:
    first = start(trial.root, trial.command.run)
    time.sleep(trial.chance.uniform(0.0, 0.5) * trial.seconds)
    second = start(trial.root, trial.command.run)
    return [wait(trial.root, first), wait(trial.root, second)]


def _database_fault(spoil: Callable[[Path], None]) -> Callable[[Trial], Sequence[Ended]]:
    def inject(trial: Trial) -> Sequence[Ended]:
        database = trial.root / "mlflow.db"
        shutil.copy2(database, trial.root.parent / "mlflow.db")
        return [trial.run(trigger=(trial.moment(), lambda: spoil(database)))]

    return inject


def _database_back(trial: Trial) -> None:
    for path in trial.root.glob("mlflow.db*"):
        path.unlink()
    shutil.copy2(trial.root.parent / "mlflow.db", trial.root / "mlflow.db")


def _lock_database(seconds: float) -> Callable[[Path], None]:
    def lock(database: Path) -> None:
        if os.fork():
            time.sleep(0.3)
            return
        connection = sqlite3.connect(database, timeout=60, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        os._exit(0)

    return lock


def _garble(database: Path) -> None:
    with database.open("r+b") as stream:
        stream.write(b"no database at all" * 100)


ALL = tuple(COMMANDS)
FAST = tuple(name for name in COMMANDS if name not in ("train", "evaluate"))
READERS = (
    *("scenes", "patches", "detect", "detect gpkg", "detect scores", "explain", "import"),
    *("plan", "run"),
)
TRACKED = ("train", "evaluate")
COLLECTS = ("collect", "collect file", "collect results")
LOCKED = (*SEARCHES, *COLLECTS, "detect scores", "export result", "import", "assess", "review")
# a plan's tasks are refused where the time of a raster has changed
TIMELESS = tuple(name for name in FAST if name != "run")
FAULTS = {
    "SIGKILL at a file event": Fault(_signal_at_event(signal.SIGKILL), ALL),
    "SIGTERM at a file event": Fault(_signal_at_event(signal.SIGTERM), FAST),
    "Ctrl-C at a file event": Fault(_signal_at_event(signal.SIGINT), ALL),
    "SIGKILL at a time": Fault(_signal_at_time(signal.SIGKILL), FAST),
    "SIGTERM at a time": Fault(_signal_at_time(signal.SIGTERM), ALL),
    "Ctrl-C at a time": Fault(_signal_at_time(signal.SIGINT), FAST),
    "disk fills": Fault(_disk_fills, ALL, on_small_disk=True, after=_remove_filler),
    "limit of file size": Fault(_file_limit, FAST),
    "read-only disk": Fault(_read_only, FAST, on_small_disk=True, after=_writable_again),
    "raster disappears": Fault(
        _keep_raster(_raster_fault(Path.unlink)),
        READERS,
        may_write_parts=True,
        after=_raster_back,
    ),
    "raster is cut short": Fault(
        _keep_raster(_raster_fault(_cut_short)),
        READERS,
        may_write_parts=True,
        after=_raster_back,
    ),
    "server fails": Fault(_server_fails, ("detect csv", "detect gpkg"), is_elsewhere=True),
    "clock jumps": Fault(_clock_jumps, TIMELESS),
    "two runs at once": Fault(_two_runs, LOCKED),
    "MLflow's database is locked for 2 s": Fault(
        _database_fault(_lock_database(2.0)), TRACKED, after=_database_back
    ),
    "MLflow's database stays locked": Fault(
        _database_fault(_lock_database(40.0)), TRACKED, after=_database_back
    ),
    "MLflow's database is gone": Fault(_database_fault(Path.unlink), TRACKED, after=_database_back),
    "MLflow's database is garbled": Fault(_database_fault(_garble), TRACKED, after=_database_back),
}
