"""The summary of patches: the same after saving, and one sentence for a broken file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from windhover.dataset.label_rule import LabelRule
from windhover.errors import FormatError
from windhover.patches.cut_patches import summary_lines
from windhover.patches.patch_store import read_summary
from windhover.patches.patch_summary import Leakage, PatchSummary, SplitPrior


def summary(**changes: Any) -> PatchSummary:
    fields: dict[str, Any] = {
        "window_px": 64,
        "stride_px": 8,
        "gsd_m": 1.25,
        "bands": ["red"],
        "positive_radius_px": 8.0,
        "ignore_radius_px": 15.0,
        "radius_shape": "square",
        "prior": {"train": SplitPrior(windows=600, true=0.005, by_class={"jet": 0.005})},
        "leakage": Leakage(smallest_distance_m=12.5, between=("a", "b")),
        "dtype": "uint8",
        "classes": ["jet"],
        "mean": [90.0],
        "std": [30.0],
    }
    return PatchSummary(**(fields | changes))


def test_a_summary_is_the_same_after_saving(tmp_path: Path) -> None:
    saved = summary()
    saved.save(tmp_path / "summary.json")
    assert read_summary(tmp_path) == saved
    assert saved.label_rule == LabelRule(8.0, 15.0, "square")
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["prior"]["train"]["true_central_32_px"] is None, "not known is written"
    assert "source" not in content


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("gsd_m", None, r"summary\.json: `gsd_m`: .*, got null\. Run the patches stage again: dvc"),
        ("radius_shape", "oval", r"`radius_shape`: .*'square' or 'circle'.*, got \"oval\"\."),
        ("leakage", {"between": ["a"]}, r"`leakage\.between\.1` is missing\."),
    ],
)
def test_a_broken_summary_is_one_sentence(
    tmp_path: Path, key: str, value: Any, sentence: str
) -> None:
    content = summary().to_json()
    content[key] = value
    (tmp_path / "summary.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match=sentence):
        read_summary(tmp_path)


def test_a_distance_that_is_not_known_is_said() -> None:
    counts = {split: {"positive": 12, "random": 30} for split in ("train", "val", "test")}
    prior = {
        "train": SplitPrior(windows=600, true=0.005, sampled=12 / 42),
        "val": SplitPrior(windows=600, true=0.0, sampled=0.0),
        "test": SplitPrior(windows=0),
    }
    lines = summary_lines(summary(counts=counts, prior=prior, leakage=Leakage()))
    assert "distance not known (no georeference)" in lines[-1]
    assert "1 in 200 of 600, 28.6% as cut" in lines[1]
    assert "not known, 0.0% as cut" in lines[2]
    assert "not known, none as cut" in lines[3]
    apart = summary_lines(summary(counts=counts, prior=prior))
    assert "between splits: 12 m at least" in apart[-1]


def test_one_split_alone_has_no_distance_to_another() -> None:
    empty = {"positive": 0, "random": 0}
    counts = {"train": {"positive": 12, "random": 30}, "val": empty, "test": empty}
    prior = {split: SplitPrior(windows=0) for split in counts}
    lines = summary_lines(summary(counts=counts, prior=prior, leakage=Leakage()))
    assert lines[-1] == "  all patches are in train"
