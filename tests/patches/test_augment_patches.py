"""The augment stage: training patches alone, the same bytes twice, a sheet to look at, its
parameters beside it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toy_patches import AUGMENT, patch_folder
from windhover.errors import MissingFileError, ParameterError
from windhover.files import sha256_file
from windhover.params.augment import AugmentParams
from windhover.patches.augment_patches import augment_training_patches, read_augment_params
from windhover.patches.patch_store import load_patches


def test_the_stage_writes_copies_a_sheet_and_how_they_were_made(tmp_path: Path) -> None:
    patches, out = patch_folder(tmp_path / "patches"), tmp_path / "augmented"
    sentence = augment_training_patches(patches, out, AUGMENT)
    assert sentence.startswith("40 training patches -> ")
    done = load_patches(out, "train")
    assert set(done.index["split"]) == {"train"}
    assert (done.index["variant"] == 0).sum() == 40
    assert done.images.dtype == np.uint8
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
