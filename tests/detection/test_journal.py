"""The journal of a search: what is saved is read again, and damage is found."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from windhover.detection.journal import NO_SCORES, BlockKey, SceneJournal, SearchJournal
from windhover.errors import ParameterError
from windhover.geometry.objects import Objects
from windhover.inference.candidates import Candidates
from windhover.inference.search_results import BlockResult
from windhover.models.apply_calibration import Calibration

FINGERPRINT = {"model": "m", "thresholds": {"plane": 0.5}}


def block_result(n_candidates: int = 3, seed: int = 0) -> BlockResult:
    random = np.random.default_rng(seed)
    objects = Objects(
        random.normal(size=(n_candidates, 2)),
        random.uniform(1, 30, size=(n_candidates, 2)),
        np.arange(n_candidates),
        np.zeros(n_candidates, np.int8),
        random.normal(size=n_candidates),
    )
    is_first = np.arange(n_candidates) == 0
    candidates = Candidates(objects, touches_edge=is_first, is_secondary=~is_first)
    return BlockResult(candidates, windows_searched=40, windows_skipped=2)


def write_journal(path: Path, n_blocks: int = 5) -> None:
    """Leave a journal behind, as a killed run does."""
    with SearchJournal(path, FINGERPRINT, resume=False) as journal:
        for number in range(n_blocks):
            journal.save(BlockKey(0, 0, number), block_result(seed=number), NO_SCORES)


def resume(path: Path, fingerprint: dict[str, Any] = FINGERPRINT) -> SearchJournal:
    return SearchJournal(path, fingerprint, resume=True)


def test_blocks_are_read_as_they_were_saved(tmp_path: Path) -> None:
    path = tmp_path / "j"
    scores = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    with SearchJournal(path, FINGERPRINT, resume=False) as journal:
        journal.save(BlockKey(1, 0, 7), block_result(), scores)
        journal.save(BlockKey(1, 0, 8), block_result(0), NO_SCORES)
    with resume(path) as journal:
        assert (journal.state, len(journal), journal.n_damaged) == ("resumed", 2, 0)
        assert BlockKey(1, 0, 9) not in journal
        loaded = journal.load(BlockKey(1, 0, 7))
        assert loaded.candidates.to_bytes() == block_result().candidates.to_bytes()
        assert (loaded.windows_searched, loaded.windows_skipped) == (40, 2)
        assert np.array_equal(journal.load_scores(BlockKey(1, 0, 7)), scores)
        assert len(journal.load(BlockKey(1, 0, 8)).candidates) == 0
        with pytest.raises(KeyError, match="block=9"):
            journal.load(BlockKey(1, 0, 9))


def test_scores_of_a_scene_are_kept_where_results_have_logits(tmp_path: Path) -> None:
    logits = np.array([[[0.0, -np.inf]]], np.float32)
    result = BlockResult(block_result().candidates, 1, 1, logits)
    with SearchJournal(tmp_path / "j", FINGERPRINT, resume=False) as journal:
        scene_journal = SceneJournal(journal, 2, Calibration())
        assert scene_journal.load(0, 1) is None
        scene_journal.save(0, 1, result)
        scene_journal.save(0, 2, block_result())
        assert scene_journal.load_scores(0, 1).tolist() == [[[127, 255]]]
        assert scene_journal.load_scores(0, 2) is None
        assert scene_journal.load_scores(0, 3) is None
        assert BlockKey(2, 0, 1) in journal


@pytest.mark.parametrize(
    "content", [None, b"", b"windhover journal 1\nnonsense"], ids=["none", "empty", "no database"]
)
def test_what_is_no_journal_is_not_resumed(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "j"
    if content is not None:
        path.write_bytes(content)
    with resume(path) as journal:
        assert journal.state in ("new", "other_run")
        journal.save(BlockKey(0, 0, 0), block_result(), NO_SCORES)
    with resume(path) as journal:
        assert (journal.state, len(journal)) == ("resumed", 1)


def test_another_run_is_not_resumed_and_nothing_begins_anew_unasked(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write_journal(path)
    with resume(path, {**FINGERPRINT, "model": "other"}) as journal:
        assert (journal.state, len(journal)) == ("other_run", 0)
    write_journal(path)
    with SearchJournal(path, FINGERPRINT, resume=False) as journal:
        assert (journal.state, len(journal)) == ("new", 0)


@pytest.mark.parametrize(
    "change",
    ["UPDATE run SET format = 2", "ALTER TABLE run DROP COLUMN format", "DELETE FROM run"],
)
def test_a_journal_of_another_version_is_not_read(tmp_path: Path, change: str) -> None:
    path = tmp_path / "j"
    write_journal(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change)
    with resume(path) as journal:
        assert (journal.state, len(journal)) == ("other_version", 0)
        journal.save(BlockKey(0, 0, 0), block_result(), NO_SCORES)
    with resume(path) as journal:
        assert (journal.state, len(journal)) == ("resumed", 1)


def test_a_changed_block_is_found_and_searched_again(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write_journal(path)
    content = path.read_bytes()
    candidates = block_result(seed=3).candidates.to_bytes()
    assert content.count(candidates) == 1
    path.write_bytes(content.replace(candidates, candidates[:-1] + b"\x07"))
    with resume(path) as journal:
        assert (journal.state, len(journal), journal.n_damaged) == ("resumed", 4, 1)
        assert BlockKey(0, 0, 3) not in journal
        journal.save(BlockKey(0, 0, 3), block_result(seed=3), NO_SCORES)
    with resume(path) as journal:
        assert (len(journal), journal.n_damaged) == (5, 0)


def test_a_torn_journal_is_never_believed(tmp_path: Path) -> None:
    """Cut anywhere: either it is told, or what is resumed is what was saved."""
    path = tmp_path / "j"
    write_journal(path, n_blocks=40)
    content = path.read_bytes()
    states = set()
    for length in range(0, len(content), len(content) // 37):
        path.write_bytes(content[:length])
        with resume(path) as journal:
            states.add(journal.state)
            if journal.state != "resumed":
                assert len(journal) == 0
                continue
            for number in range(40):
                if BlockKey(0, 0, number) in journal:
                    loaded = journal.load(BlockKey(0, 0, number)).candidates
                    assert loaded.to_bytes() == block_result(seed=number).candidates.to_bytes()
    assert "damaged" in states


def test_files_left_by_a_killed_run_do_not_enter_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write_journal(path)
    (tmp_path / "j-journal").write_bytes(b"a hot journal of a killed run")
    path.unlink()
    with resume(path) as journal:
        assert (journal.state, len(journal)) == ("new", 0)
        journal.remove()
    assert not list(tmp_path.iterdir())


def test_two_runs_cannot_share_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with SearchJournal(path, FINGERPRINT, resume=False) as journal:
        journal.save(BlockKey(0, 0, 0), block_result(), NO_SCORES)
        with pytest.raises(ParameterError, match="j: another run is writing this file or folder"):
            resume(path)
        other = {"model": "another"}
        with pytest.raises(ParameterError, match="j: another run is writing this file or folder"):
            SearchJournal(path, other, resume=False)
        assert len(journal.load(BlockKey(0, 0, 0)).candidates) == len(block_result().candidates)
    with resume(path) as journal:
        assert len(journal) == 1


def test_the_order_of_a_fingerprints_keys_is_no_other_run(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write_journal(path)
    with resume(path, dict(reversed(FINGERPRINT.items()))) as journal:
        assert (journal.state, len(journal)) == ("resumed", 5)


def test_a_new_journal_has_no_damaged_block(tmp_path: Path) -> None:
    with SearchJournal(tmp_path / "j", FINGERPRINT, resume=False) as journal:
        assert journal.n_damaged == 0


@pytest.mark.parametrize("column", ["windows_searched", "windows_skipped", "score_shape", "scores"])
def test_any_changed_value_of_a_block_is_damage(tmp_path: Path, column: str) -> None:
    path = tmp_path / "j"
    with SearchJournal(path, FINGERPRINT, resume=False) as journal:
        for number in range(3):
            scores = np.full((1, 2, 3), number, np.uint8)
            journal.save(BlockKey(0, 0, number), block_result(), scores)
    other = {"score_shape": "[1, 3, 2]", "scores": b"\x07" * 6}.get(column, 41)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE blocks SET {column} = ? WHERE block = 1", (other,))
    connection.close()
    with resume(path) as journal:
        assert (journal.state, len(journal), journal.n_damaged) == ("resumed", 2, 1)
        assert BlockKey(0, 0, 1) not in journal


def test_a_block_under_another_key_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write_journal(path, n_blocks=2)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE blocks SET block = 7 WHERE block = 1")
    connection.close()
    with resume(path) as journal:
        assert (len(journal), journal.n_damaged) == (1, 1)
