"""Patches of a `.npz`: taken over as they are, and what is wrong with one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import MakeScene
from toy_catalog import CENTERS, catalog_of, cut, write_labels
from windhover.errors import DataError, FormatError, MissingFileError
from windhover.patches.cut_patches import summary_lines
from windhover.patches.patch_store import load_patches


def npz(tmp_path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        "train_images": rng.integers(0, 255, (50, 64, 64, 3)).astype(np.uint8),
        "train_labels": np.repeat([0, 1], 25),
        "test_images": rng.integers(0, 255, (20, 64, 64, 3)).astype(np.uint8),
        "test_labels": np.repeat([0, 1], 10),
    } | changes
    (tmp_path / "raw").mkdir(exist_ok=True)
    np.savez(tmp_path / "raw/patches.npz", **arrays)
    return tmp_path / "raw/patches.npz"


def test_ready_patches_are_taken_over_as_they_are(tmp_path: Path) -> None:
    path = npz(tmp_path)
    arrays = dict(np.load(path))
    arrays["train_images"][3] = arrays["test_images"][5]
    path = npz(tmp_path, **arrays)
    summary = cut(catalog_of(tmp_path, classes={"1": "plane"}), tmp_path / "out", npz=str(path))
    test = load_patches(tmp_path / "out", "test")
    assert (test.images == arrays["test_images"]).all()
    assert test.index["class"].tolist() == [""] * 10 + ["plane"] * 10
    assert (test.index["origin"] == "npz").all()
    val = load_patches(tmp_path / "out", "val")
    assert val.index["kind"].value_counts().to_dict() == {"positive": 5, "random": 5}
    assert (
        len(load_patches(tmp_path / "out", "train")) + len(val) == 49
    )  # the one that stands in test is left out
    assert summary.classes == ["plane"]
    assert summary.prior["test"].true is None
    assert summary.skipped == {"same pixels as another patch": 1}
    assert "not known" in "\n".join(summary_lines(summary))


def test_scenes_beside_ready_patches_must_hold_the_same_classes(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    path = npz(tmp_path)
    scene = make_scene("raw/s0.tif", shape_hw=(210, 400))
    write_labels(tmp_path / "raw/s0.gpkg", scene, CENTERS[:1], ["plane"])
    catalog = catalog_of(tmp_path, split_fractions=[1.0, 0.0, 0.0])
    with pytest.raises(
        DataError, match=r"its patches show object, but scenes beside them hold 'plane'"
    ):
        cut(catalog, tmp_path / "out", npz=str(path))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"train_images": np.zeros((5, 32, 32, 3), np.uint8)},
            r"train_images must be uint8 \(N, 64, 64, C\), got uint8 \(5, 32, 32, 3\)",
        ),
        ({"test_images": np.zeros((20, 64, 64, 3))}, "test_images must be uint8"),
        ({"train_labels": np.zeros(3, int)}, "train_labels must be one number or name a patch"),
        (
            {"train_labels": np.eye(2, dtype=int)[[0, 1] * 25]},
            r"train_labels must be one .* got int64 \(50, 2\) for 50",
        ),
        ({"train_labels": np.array([{}] * 50, object)}, "Object arrays cannot be loaded"),
        (
            {"test_images": np.zeros((20, 64, 64, 1), np.uint8)},
            "train_images have 3 bands and test_images 1",
        ),
        (
            {"test_images": np.zeros((0, 64, 64, 3), np.uint8), "test_labels": []},
            "test_labels must be one number",
        ),
    ],
)
def test_broken_ready_patches_are_named(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    path = npz(tmp_path, **changes)
    with pytest.raises(FormatError, match=sentence):
        cut(catalog_of(tmp_path), tmp_path / "out", npz=str(path))


def test_an_npz_that_lacks_an_array_or_is_none_is_named(tmp_path: Path) -> None:
    path = npz(tmp_path)
    np.savez(path, train_images=np.zeros(3))
    with pytest.raises(FormatError, match="has no array 'train_labels', only train_images"):
        cut(catalog_of(tmp_path), tmp_path / "out", npz=str(path))
    whole = npz(tmp_path).read_bytes()
    for broken, sentence in (
        (b"", "is no .npz"),
        (b"nothing", "is no .npz"),
        (whole[:-9] + bytes(9), "cannot be read"),
    ):
        path.write_bytes(broken)
        with pytest.raises(FormatError, match=sentence):
            cut(catalog_of(tmp_path), tmp_path / "out", npz=str(path))
    with pytest.raises(MissingFileError, match=r"`patches.npz`: .* does not exist"):
        cut(catalog_of(tmp_path), tmp_path / "out", npz="none.npz")
