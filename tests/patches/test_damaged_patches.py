"""Damaged files of a folder of patches: one sentence that names the file and the stage to run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from toy_patches import patch_folder
from windhover.errors import FormatError
from windhover.patches.patch_store import load_patches, read_summary

AGAIN = re.escape("dvc repro -f patches")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scrambled(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


def header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def flattened(path: Path) -> None:
    np.save(path, np.load(path).ravel())


def of_another_side(path: Path) -> None:
    np.save(path, np.load(path)[:, :32])


def of_text(path: Path) -> None:
    np.save(path, np.full((len(np.load(path)), 64, 64, 3), "x"))


def one_fewer(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def as_archive(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, images=np.zeros(3))


@pytest.mark.parametrize(
    "damage",
    [
        emptied,
        cut_short,
        scrambled,
        header_only,
        flattened,
        of_another_side,
        of_text,
        one_fewer,
        as_archive,
    ],
)
def test_a_damaged_array_is_one_sentence(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = patch_folder(tmp_path / "patches")
    damage(folder / "train.npy")
    with pytest.raises(FormatError, match=rf"train\.npy: .*{AGAIN}"):
        load_patches(folder, "train")


@pytest.mark.parametrize("damage", [emptied, cut_short, scrambled])
def test_a_damaged_index_is_one_sentence(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = patch_folder(tmp_path / "patches")
    damage(folder / "index.parquet")
    with pytest.raises(FormatError, match=rf"index\.parquet: cannot be read .*{AGAIN}"):
        load_patches(folder, "train")


@pytest.mark.parametrize("column", ["split", "patch", "class", "dx_px", "gsd_m", "place"])
def test_an_index_without_a_column_names_it(tmp_path: Path, column: str) -> None:
    folder = patch_folder(tmp_path / "patches")
    path = folder / "index.parquet"
    pd.read_parquet(path).drop(columns=column).to_parquet(path)
    with pytest.raises(FormatError, match=rf"has no column '{column}'.*{AGAIN}"):
        load_patches(folder, "train")


def test_text_for_numbers_is_refused(tmp_path: Path) -> None:
    folder = patch_folder(tmp_path / "patches")
    path = folder / "index.parquet"
    pd.read_parquet(path).assign(left_px="far").to_parquet(path)
    with pytest.raises(FormatError, match=rf"'left_px' must hold finite numbers.*{AGAIN}"):
        load_patches(folder, "train")


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("class", 3, "must hold text"),
        ("split", None, "has no value"),
        ("gsd_m", 0.0, "above 0"),
        ("left_px", np.inf, "finite numbers"),
        ("patch", 0.5, "whole numbers"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named(
    tmp_path: Path, column: str, value: object, rule: str
) -> None:
    folder = patch_folder(tmp_path / "patches")
    path = folder / "index.parquet"
    pd.read_parquet(path).assign(**{column: value}).to_parquet(path)
    with pytest.raises(FormatError, match=rf"column '{column}' .*{rule}.*{AGAIN}"):
        load_patches(folder, "train")


def of_four_bands(path: Path) -> None:
    np.save(path, np.load(path)[..., [0, 1, 2, 0]])


def of_another_type(path: Path) -> None:
    np.save(path, np.load(path).astype(np.int16))


@pytest.mark.parametrize("damage", [of_four_bands, of_another_type])
def test_patches_that_do_not_fit_their_summary_are_refused(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = patch_folder(tmp_path / "patches")
    summary = read_summary(folder)
    load_patches(folder, "train", summary)
    damage(folder / "train.npy")
    with pytest.raises(FormatError, match=rf"train\.npy: holds patches of .*{AGAIN}"):
        load_patches(folder, "train", summary)


def test_bytes_in_another_order_are_refused(tmp_path: Path) -> None:
    folder = patch_folder(tmp_path / "patches")
    np.save(folder / "train.npy", np.load(folder / "train.npy").astype(">u2"))
    with pytest.raises(FormatError, match=rf"must hold numbers, got >u2.*{AGAIN}"):
        load_patches(folder, "train")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"window_px": "x"}', "[" * 9000, "\0"])
def test_a_damaged_summary_is_one_sentence(tmp_path: Path, text: str) -> None:
    folder = patch_folder(tmp_path / "patches")
    (folder / "summary.json").write_text(text)
    with pytest.raises(FormatError, match=rf"summary\.json: .*{AGAIN}"):
        read_summary(folder)
