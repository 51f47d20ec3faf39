"""The augment stage: training patches alone, the same bytes twice, a sheet to look at, its
parameters beside it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from toy_patches import AUGMENT, patch_folder
from windhover.errors import MissingFileError, ParameterError
from windhover.files import sha256_file
from windhover.params.augment import AugmentParams
from windhover.patches.albumentations_pipeline import Augmented
from windhover.patches.augment_patches import (
    augment_training_patches,
    read_augment_params,
    sheet_rows,
)
from windhover.patches.patch_store import load_patches


def test_the_stage_writes_copies_a_sheet_and_how_they_were_made(tmp_path: Path) -> None:
    patches, out = patch_folder(tmp_path / "patches"), tmp_path / "augmented"
    sentence = augment_training_patches(patches, out, AUGMENT)
    assert sentence.startswith("40 training patches -> ")
    done = load_patches(out, "train")
    assert set(done.index["split"]) == {"train"}
    assert (done.index["variant"] == 0).sum() == 40
    assert done.images.dtype == np.uint8
    n_left_out = 40 * (1 + AUGMENT.variants) - len(done.index)
    assert json.loads((out / "summary.json").read_text()) == {
        "patches": 40,
        "written": len(done.index),
        "left_out": n_left_out,
    }
    assert read_augment_params(out) == AUGMENT
    with Image.open(out / "contact_sheet.png") as sheet:
        assert min(sheet.size) > 100
    first = {path.name: sha256_file(path) for path in sorted(out.iterdir())}
    augment_training_patches(patches, out, AUGMENT)
    assert {path.name: sha256_file(path) for path in sorted(out.iterdir())} == first


def test_a_refusal_leaves_what_was_there(tmp_path: Path) -> None:
    patches, out = patch_folder(tmp_path / "patches", bands=4), tmp_path / "augmented"
    augment_training_patches(patches, out, AUGMENT)
    before = sorted(path.name for path in out.iterdir())
    wrong = AugmentParams(**{**AUGMENT.model_dump(), "transforms": ({"name": "CLAHE"},)})
    with pytest.raises(ParameterError, match="CLAHE works on 3 bands only"):
        augment_training_patches(patches, out, wrong)
    assert sorted(path.name for path in out.iterdir()) == before


def test_a_folder_that_does_not_say_how_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="Run the augment stage"):
        read_augment_params(tmp_path)


@pytest.mark.parametrize(
    ("n_rows", "kinds"), [(5, "pppll"), (4, "ppll"), (1, "p"), (30, "p" * 6 + "l" * 6)]
)
def test_the_sheet_shows_patches_of_every_kind_each_before_its_copies(
    n_rows: int, kinds: str
) -> None:
    images = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3)).astype(np.uint8)
    values = dict.fromkeys(("dx_px", "dy_px", "w_px", "h_px"), np.nan)
    index = pd.DataFrame({"kind": ["lookalike"] * 6 + ["positive"] * 6, "class": "", **values})
    # variant 0 is the patch as cut; copies may be left out
    sources = np.repeat(np.arange(12), np.arange(12) % 3 + 1)
    copies = index.iloc[sources].assign(source=sources)
    copies["variant"] = copies.groupby("source").cumcount()
    augmented = Augmented(images[copies["source"]], copies, 0)
    rows = sheet_rows(images, index, augmented, n_rows=n_rows)
    titles = [[cell.title for cell in row] for row in rows]
    assert "".join(row[0][0] for row in titles) == kinds
    shown = [int(np.flatnonzero((images == row[0].image).all((1, 2, 3)))[0]) for row in rows]
    assert len(set(shown)) == len(shown)
    for source, row in zip(shown, titles, strict=True):
        assert row[1:] == [f"copy {variant}" for variant in range(1, source % 3 + 1)]
