"""What long work says on the terminal: share done, rate and time left, or quiet lines; and counts
in words.

Decides nothing and measures nothing but elapsed time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")
QUIET_SECONDS = 20.0  # between two lines of progress where the output is a file or a pipe


class Advance(Protocol):
    """Called with the amount of work just done, and with the whole amount where that has changed."""

    def __call__(self, amount: float = 1.0, total: float | None = None) -> None: ...


def counted(count: int, name: str) -> str:
    """Return a count with its name, such as "1 object" or "3 objects"."""
    return f"{count} {name}{'' if count == 1 else 's'}"


@contextmanager
def progress_bar(title: str, total: float, unit: str = "") -> Iterator[Advance]:
    """Show one bar on standard error while the block runs; yield the function that moves it.

    Args:
        title: what is being done, such as "searching".
        total: amount of work in `unit`.
        unit: name of the amount, such as "Mpx"; with one, the rate is shown too.
    """
    if sys.stderr.isatty():
        with _bar_on_terminal(title, total, unit) as advance:
            yield advance
    else:
        yield _quiet_lines(title, total, unit)


@contextmanager
def _bar_on_terminal(title: str, total: float, unit: str) -> Iterator[Advance]:
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn() if not unit else TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total, rate="")
        started, done = time.monotonic(), 0.0

        whole = total

        def advance(amount: float = 1.0, total: float | None = None) -> None:
            nonlocal done, whole
            done, whole = done + amount, whole if total is None else total
            rate = f"{done:.0f}/{whole:.0f} {unit}, {done / max(time.monotonic() - started, 1e-9):.1f} {unit}/s"
            progress.update(task, completed=done, total=whole, rate=rate)

        yield advance


def _quiet_lines(title: str, total: float, unit: str) -> Advance:
    started = last = time.monotonic()
    done, whole = 0.0, total

    def advance(amount: float = 1.0, total: float | None = None) -> None:
        nonlocal last, done, whole
        done, whole = done + amount, whole if total is None else total
        now = time.monotonic()
        if now - last < QUIET_SECONDS or done <= 0:
            return
        last = now
        left = (now - started) * max(whole - done, 0.0) / done
        print(
            f"{title}: {done:.0f} of {whole:.0f} {unit}".rstrip() + f", {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    return advance


def track(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Yield the items while a bar counts them."""
    with progress_bar(title, total) as advance:
        for item in items:
            yield item
            advance()
