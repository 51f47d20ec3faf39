"""What a run does where MLflow's database fails meanwhile: it waits for a lock, then goes on alone.

A model is worth more than the record of how it was made, so that a training of hours does not end
for want of its database. What is not recorded is counted and named once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
LOCK_WAIT_S = 60.0  # for another program that holds the database
LOCK_POLL_S = 0.5
REASON_CHARS = 160  # of the database's own message
LOCKED_WORDS = ("database is locked", "database table is locked")

logger = logging.getLogger(__name__)


def short_reason(error: BaseException) -> str:
    """Return an error's message in one line, without the SQL that was tried."""
    return " ".join(str(error).partition("[SQL:")[0].split())[:REASON_CHARS]


def is_locked(error: BaseException) -> bool:
    """Return whether another program holds the database."""
    return any(words in str(error) for words in LOCKED_WORDS)


def wait_for_lock(database: Path, call: Callable[[], T]) -> T:
    """Return what a call gives; while the database is locked it is repeated for `LOCK_WAIT_S`.

    Args:
        database: for the message.
        call: may raise any error of MLflow or SQLite; the last one is raised here.
    """
    began = time.monotonic()
    is_named = False
    while True:
        try:
            return call()
        except Exception as error:
            if not is_locked(error) or time.monotonic() - began > LOCK_WAIT_S:
                raise
        if not is_named:
            logger.warning(
                "%s: is locked by another program, waiting for it (%.0f s at most)",
                database,
                LOCK_WAIT_S,
            )
            is_named = True
        time.sleep(LOCK_POLL_S)


def _is_of_database(error: Exception) -> bool:
    """Return whether an error is one of the database or its disk, and not of what is written."""
    is_of_library = type(error).__module__.partition(".")[0] in ("sqlalchemy", "sqlite3")
    is_named = "sqlite3." in str(error) or "not found" in str(error)  # of a database made anew
    return isinstance(error, OSError) or is_of_library or is_named


class RunRecord:
    """Calls that write a run; after the first that fails, no further one is tried.

    Attributes:
        n_lost: calls that wrote nothing.
    """

    def __init__(self, database: Path) -> None:
        """Take the database, for the messages."""
        self.database = database
        self.n_lost = 0

    def write(self, call: Callable[[], object]) -> None:
        """Make a call, or count it where the database has failed."""
        if self.n_lost:
            self.n_lost += 1
            return
        try:
            wait_for_lock(self.database, call)
        except Exception as error:
            if not _is_of_database(error):
                raise
            self.n_lost = 1
            logger.warning(
                "%s: cannot be written (%s). The work goes on, and its run in MLflow stays "
                "incomplete; what the stage writes is whole.",
                self.database,
                short_reason(error),
            )

    def end(self, call: Callable[[], object]) -> None:
        """Make the last call, which also frees what MLflow holds of a run in this process, and log
        how much was not recorded.
        """
        if self.n_lost:
            with suppress(Exception):
                call()
        else:
            self.write(call)
        if self.n_lost > 1:
            logger.warning("%s: %d entries of this run are missing", self.database, self.n_lost)
