"""Progress of long work on the terminal: a bar with rate and time left, or single lines.

Measures nothing but elapsed time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")
LINE_INTERVAL_S = 20.0  # between two lines of progress where the output is a file or a pipe


class Advance(Protocol):
    """Adds work just done; a new total is passed where the total has changed."""

    def __call__(self, amount: float = 1.0, total: float | None = None) -> None: ...


def counted(count: int, name: str) -> str:
    """Return a count with its name, such as "1 object" or "3 objects"."""
    return f"{count} {name}{'' if count == 1 else 's'}"


@contextmanager
def progress_bar(title: str, total: float, unit: str = "") -> Iterator[Advance]:
    """Show one bar on standard error while the block runs; yield the function that advances it.

    Args:
        title: what is being done, such as "searching".
        total: amount of work in `unit`.
        unit: name of the amount, such as "Mpx"; with one, the rate is shown too.
    """
    if sys.stderr.isatty():
        with _bar_on_terminal(title, total, unit) as advance:
            yield advance
    else:
        yield _progress_lines(title, total, unit)


@contextmanager
def _bar_on_terminal(title: str, total: float, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

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
        started = time.monotonic()
        done = 0.0
        current_total = total

        def advance(amount: float = 1.0, total: float | None = None) -> None:
            nonlocal done, current_total
            done += amount
            if total is not None:
                current_total = total
            per_second = done / max(time.monotonic() - started, 1e-9)
            rate = f"{done:.0f}/{current_total:.0f} {unit}, {per_second:.1f} {unit}/s"
            progress.update(task, completed=done, total=current_total, rate=rate)

        yield advance


def _progress_lines(title: str, total: float, unit: str) -> Advance:
    """Return a function that prints a line of progress at most every LINE_INTERVAL_S."""
    started = time.monotonic()
    last = started
    done = 0.0
    current_total = total

    def advance(amount: float = 1.0, total: float | None = None) -> None:
        nonlocal last, done, current_total
        done += amount
        if total is not None:
            current_total = total
        now = time.monotonic()
        if now - last < LINE_INTERVAL_S or done <= 0:
            return
        last = now
        remaining_s = (now - started) * max(current_total - done, 0.0) / done
        amounts = f"{title}: {done:.0f} of {current_total:.0f} {unit}".rstrip()
        print(f"{amounts}, {remaining_s:.0f} s left", file=sys.stderr, flush=True)

    return advance


def track(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Yield the items while a bar counts them."""
    with progress_bar(title, total) as advance:
        for item in items:
            yield item
            advance()
