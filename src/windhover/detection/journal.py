"""The journal of a search: finished blocks in one SQLite file, from which a killed run is resumed.

Each block is one row, committed whole, so that a kill at any moment loses at most the block in
hand. Each row has a checksum. The journal holds the fingerprint of its run, and another run's
journal is never continued.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windhover.disk_space import errors_of_writing
from windhover.export.score_map import quantize_scores
from windhover.files import lock_output
from windhover.inference.candidates import Candidates
from windhover.inference.search_results import BlockResult
from windhover.models.apply_calibration import Calibration, window_scores

FORMAT = 3
SIDECAR_SUFFIXES = ("-journal", "-wal", "-shm")  # SQLite's own files next to a database
NO_SCORES = np.zeros((0, 0, 0), np.uint8)

# a kill of the process loses nothing that the system has been given; a power cut is found by the
# checksums
PRAGMAS = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = DELETE;
PRAGMA synchronous = OFF;
"""
TABLES = """
CREATE TABLE run (format INTEGER NOT NULL, fingerprint TEXT NOT NULL);
CREATE TABLE blocks (
    scene INTEGER NOT NULL, pass INTEGER NOT NULL, block INTEGER NOT NULL,
    windows_searched INTEGER NOT NULL, windows_skipped INTEGER NOT NULL, candidates BLOB NOT NULL,
    score_shape TEXT NOT NULL, scores BLOB NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (scene, pass, block)
);
"""
COLUMNS = "windows_searched, windows_skipped, candidates, score_shape, scores"
INSERT = f"INSERT OR REPLACE INTO blocks VALUES ({', '.join('?' * 9)})"
SELECT = f"SELECT {COLUMNS} FROM blocks WHERE scene = ? AND pass = ? AND block = ?"
SELECT_ALL = f"SELECT scene, pass, block, {COLUMNS}, checksum FROM blocks"
DELETE = "DELETE FROM blocks WHERE scene = ? AND pass = ? AND block = ?"

State = Literal["new", "resumed", "other_run", "other_version", "damaged"]


class BlockKey(NamedTuple):
    """Which block of a run."""

    scene: int
    pass_number: int
    block: int


class SearchJournal:
    """Finished blocks of a run; use it in a `with` block.

    Attributes:
        path: of the file.
        state: whether the journal is `new` or `resumed`; `other_run`, `other_version` (its format
            is not this version's) or `damaged` where a file was there and could not be resumed.
        n_damaged: blocks of a resumed journal that were dropped because their checksum is wrong.
    """

    def __init__(self, path: str | Path, fingerprint: Mapping[str, Any], *, resume: bool) -> None:
        """Open the journal of a run.

        Args:
            path: the journal's file.
            fingerprint: plain values that determine what this run computes; equal values, equal
                results.
            resume: whether to go on with a journal of the same run; else it begins anew.

        Raises:
            ParameterError: another run uses it.
            OSError: the file cannot be written.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.state: State = "new"
        self.n_damaged = 0
        self._keys: set[BlockKey] = set()
        run = json.dumps(fingerprint, sort_keys=True)
        self._lock = ExitStack()
        self._lock.enter_context(lock_output(self.path))
        try:
            with errors_of_writing(self.path):
                if resume and self.path.is_file():
                    self.state = self._try_to_resume(run)
                if self.state != "resumed":
                    self._begin(run)
        except BaseException:
            self._lock.close()
            raise

    def _begin(self, run: str) -> None:
        """Create an empty journal; a file that is there is deleted."""
        self._delete_files()
        self._connection = sqlite3.connect(self.path)
        self._lock.callback(self._connection.close)
        self._connection.executescript(PRAGMAS + TABLES)
        with self._connection:
            self._connection.execute("INSERT INTO run VALUES (?, ?)", (FORMAT, run))

    def _try_to_resume(self, run: str) -> State:
        """Open the file that is there and check all of it; return whether it can be resumed."""
        self._connection = sqlite3.connect(self.path)
        self._lock.callback(self._connection.close)
        state: State = "damaged"
        try:
            self._connection.executescript(PRAGMAS)
            state = self._state_for(run)
            if state == "resumed":
                self._check_blocks()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
                state = "other_run"
        if state != "resumed":
            self._connection.close()
        return state

    def _state_for(self, run: str) -> State:
        """Return whether this run can go on with the journal, blocks not yet checked."""
        tables = self._connection.execute("SELECT name FROM sqlite_master WHERE name = 'run'")
        if tables.fetchone() is None:
            return "other_run"
        row = self._connection.execute("SELECT * FROM run").fetchone()
        if row is None or row[0] != FORMAT:
            return "other_version"
        if row[1:] != (run,):
            return "other_run"
        if self._connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
            return "damaged"
        return "resumed"

    def _check_blocks(self) -> None:
        """Note the whole blocks, and delete those whose checksum is wrong."""
        damaged = []
        for row in self._connection.execute(SELECT_ALL):
            key = BlockKey(*row[:3])
            if _checksum(key, row[3:-1]) == row[-1]:
                self._keys.add(key)
            else:
                damaged.append(key)
        with self._connection:
            self._connection.executemany(DELETE, damaged)
        self.n_damaged = len(damaged)

    def __contains__(self, key: BlockKey) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def save(self, key: BlockKey, result: BlockResult, scores: NDArray[np.uint8]) -> None:
        """Add a finished block.

        Args:
            key: of the block.
            result: its logits are not kept.
            scores: (K, rows, cols) quantized scores for a score map, or `NO_SCORES`.
        """
        values = (
            result.windows_searched,
            result.windows_skipped,
            result.candidates.to_bytes(),
            json.dumps(scores.shape),
            scores.tobytes(),
        )
        with errors_of_writing(self.path), self._connection:
            self._connection.execute(INSERT, (*key, *values, _checksum(key, values)))
        self._keys.add(key)

    def load(self, key: BlockKey) -> BlockResult:
        """Return a block without its logits.

        Raises:
            KeyError: it is not there.
        """
        searched, skipped, candidates, _, _ = self._row(key)
        return BlockResult(Candidates.from_bytes(candidates), searched, skipped)

    def load_scores(self, key: BlockKey) -> NDArray[np.uint8]:
        """Return a block's quantized scores (K, rows, cols).

        Raises:
            KeyError: it is not there.
        """
        _, _, _, shape, scores = self._row(key)
        return np.frombuffer(scores, np.uint8).reshape(json.loads(shape))

    def _row(self, key: BlockKey) -> tuple[Any, ...]:
        with errors_of_writing(self.path):
            row: tuple[Any, ...] | None = self._connection.execute(SELECT, key).fetchone()
        if row is None:
            raise KeyError(key)
        return row

    def remove(self) -> None:
        """Close the journal and delete its file: the work is done."""
        self._connection.close()
        self._delete_files()
        self._lock.close()

    def _delete_files(self) -> None:
        self.path.unlink(missing_ok=True)
        for suffix in SIDECAR_SUFFIXES:
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def __enter__(self) -> SearchJournal:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()
        self._lock.close()


class SceneJournal:
    """The part of a journal that is one scene's; keeps scores where the results have logits."""

    def __init__(self, journal: SearchJournal, scene: int, calibration: Calibration) -> None:
        """Take a journal's part.

        Args:
            journal: of the run.
            scene: the scene's number in the run.
            calibration: turns logits into the scores of a score map.
        """
        self._journal = journal
        self._scene = scene
        self._calibration = calibration

    def load(self, pass_number: int, block_number: int) -> BlockResult | None:
        """Return a finished block, without its logits; None where it is not finished."""
        key = BlockKey(self._scene, pass_number, block_number)
        if key not in self._journal:
            return None
        return self._journal.load(key)

    def save(self, pass_number: int, block_number: int, result: BlockResult) -> None:
        """Keep a finished block."""
        scores = NO_SCORES
        if result.logits is not None:
            probabilities = window_scores(result.logits, self._calibration, class_axis=0)
            is_searched = ~np.isneginf(result.logits)
            scores = quantize_scores(np.where(is_searched, probabilities, np.nan))
        key = BlockKey(self._scene, pass_number, block_number)
        self._journal.save(key, result, scores)

    def load_scores(self, pass_number: int, block_number: int) -> NDArray[np.uint8] | None:
        """Return a block's quantized scores (K, rows, cols); None where it has none."""
        key = BlockKey(self._scene, pass_number, block_number)
        if key not in self._journal:
            return None  # it could not be read
        scores = self._journal.load_scores(key)
        return scores if scores.size else None


def _checksum(key: BlockKey, values: tuple[Any, ...]) -> int:
    """Return the CRC-32 of a block's key and values."""
    checksum = zlib.crc32(repr(tuple(key)).encode())
    for value in values:
        encoded = value if isinstance(value, bytes) else repr(value).encode()
        checksum = zlib.crc32(encoded, checksum)
    return checksum
