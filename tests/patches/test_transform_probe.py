"""Transforms are tried before any patch is changed: size, type, range and place of labels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from toy_patches import AUGMENT, patch_folder
from windhover.dataset.label_rule import LabelRule
from windhover.errors import FormatError, ParameterError
from windhover.params.augment import DEFAULT_TRANSFORMS, AugmentParams
from windhover.patches.albumentations_pipeline import (
    augment_patch,
    augment_patches,
    build_transforms,
    without_unfit_defaults,
)
from windhover.patches.augment_patches import augment_training_patches, read_augment_params
from windhover.patches.pixel_value_range import ValueRange
from windhover.patches.transform_probe import find_fault

MIRRORED_AFFINE = {
    "name": "Affine",
    "scale": [0.92, 1.08],
    "rotate": [-20, 20],
    "border_mode": 4,
    "p": 1.0,
}
UNIT = ValueRange(np.zeros(3, np.float32), np.full(3, 255, np.float32))


@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (
            {"name": "Resize", "height": 48, "width": 32},
            "Resize returns a picture of 48 x 32.* must stay 64 x 64",
        ),
        ({"name": "SmallestMaxSize", "max_size": 96}, "SmallestMaxSize returns a picture of 96"),
        (
            {"name": "RandomScale", "scale_limit": 0.5, "p": 0.05},
            "RandomScale returns a picture of",
        ),
        (
            {"name": "Normalize", "mean": 0.5, "std": 0.1},
            r"Normalize changes the range of the pixels from 0\.\.1 to",
        ),
        (
            {"name": "Normalize", "mean": 0, "std": 1, "max_pixel_value": 9000},
            "Normalize makes patches of nearly one value",
        ),
        ({"name": "FromFloat", "dtype": "uint16"}, "FromFloat changes the number type.*uint16"),
        ({"name": "ToTensorV2"}, "ToTensorV2 returns a Tensor"),
        ({"name": "MaskDropout"}, "MaskDropout fails on a patch"),
        ({"name": "ElasticTransform", "alpha": 60, "sigma": 6}, "moves labels .* px beside"),
        ({"name": "ThinPlateSpline", "scale_range": [0.3, 0.5]}, "ThinPlateSpline "),
        ({"name": "GridDistortion", "distort_limit": 0.4}, "GridDistortion "),
        ({"name": "OpticalDistortion", "distort_limit": 0.3}, "OpticalDistortion "),
    ],
)
def test_what_does_not_keep_a_patch_or_its_label_is_refused(
    entry: dict, sentence: str, bands: int
) -> None:
    with pytest.raises(ParameterError, match=sentence):
        build_transforms([{"name": "D4"}, entry], bands)


@pytest.mark.parametrize(
    "entry",
    [
        MIRRORED_AFFINE,
        {"name": "Perspective", "scale": [0.02, 0.08]},
        {"name": "RandomResizedCrop", "size": [64, 64], "scale": [0.6, 1.0]},
        {"name": "CoarseDropout"},
        {"name": "GridDropout"},
        {"name": "PixelDropout"},
        {"name": "Posterize"},
        {"name": "MotionBlur"},
        {"name": "Morphological"},
        {"name": "Affine", "rotate": [-20, 20], "fill": 255},
    ],
)
@pytest.mark.parametrize("bands", [1, 4])
def test_what_keeps_both_is_taken(entry: dict, bands: int) -> None:
    build_transforms([entry], bands)


@pytest.mark.parametrize(
    ("share", "value", "is_refused"),
    [(0.2, -1.0, False), (0.3, -1.0, True), (0.2, 2.0, False), (0.3, 2.0, True)],
)
def test_more_than_a_quarter_of_the_pixels_out_of_range_is_refused(
    share: float, value: float, is_refused: bool
) -> None:
    def out_of_range(image: np.ndarray, points: np.ndarray, seed: int) -> tuple:
        image[: round(share * len(image))] = value
        return image, points

    fault = find_fault(out_of_range, 2, moves_labels=False)
    assert (fault is not None and "changes the range of the pixels" in fault) == is_refused


@pytest.mark.parametrize(
    ("low", "high", "is_refused"), [(0.2, 0.8, True), (0.3, 0.8, False), (0.2, 0.7, False)]
)
def test_one_value_in_the_middle_half_of_the_pixels_is_refused(
    low: float, high: float, is_refused: bool
) -> None:
    def flat_between(image: np.ndarray, points: np.ndarray, seed: int) -> tuple:
        return np.where((image > low) & (image < high), np.float32(0.5), image), points

    fault = find_fault(flat_between, 1, moves_labels=False)
    assert (fault is not None and "patches of nearly one value" in fault) == is_refused


def test_a_transform_that_writes_into_its_input_is_tried_on_whole_pixels_each_time() -> None:
    def brighten(image: np.ndarray, points: np.ndarray, seed: int) -> tuple:
        image += np.float32(0.1)
        return image, points

    assert find_fault(brighten, 3, moves_labels=True) is None


def test_labels_follow_pixels_where_a_border_is_mirrored() -> None:
    image = np.full((64, 64, 3), 30, np.uint8)
    image[20:24, 38:44] = 250
    record = {"class": "a", "dx_px": 9.0, "dy_px": -10.0, "w_px": 6.0, "h_px": 4.0}
    transforms = build_transforms([MIRRORED_AFFINE], 3)
    for seed in range(40):
        transforms.set_random_seed(seed)
        picture, moved, _ = augment_patch(image, record, transforms, scale=UNIT)
        weight = picture[..., 0].astype(float) - 30
        at = np.arange(64) + 0.5 - 32
        x = (weight.sum(0) * at).sum() / weight.sum()
        y = (weight.sum(1) * at).sum() / weight.sum()
        assert (moved["dx_px"], moved["dy_px"]) == pytest.approx((x, y), abs=0.5)
        assert 4 < moved["w_px"] < 10
        assert 3 < moved["h_px"] < 9


def test_no_copy_is_lost_to_a_mirrored_border() -> None:
    index = pd.DataFrame(
        [{"class": "a", "kind": "positive", "dx_px": 1.0, "dy_px": 2.0, "w_px": 9, "h_px": 9}] * 30
    )
    done = augment_patches(
        np.random.default_rng(0).integers(1, 255, (30, 64, 64, 3)).astype(np.uint8),
        index,
        build_transforms([MIRRORED_AFFINE], 3),
        scale=UNIT,
        variants=1,
        keep_original=False,
        seed=4,
        rule=LabelRule(8.0, 15.0, "square"),
    )
    assert done.n_left_out == 0
    assert np.hypot(done.index["dx_px"], done.index["dy_px"]).between(1.9, 2.6).all()


def test_the_row_of_a_patch_decides_its_copy() -> None:
    """Equal patches in several rows get unequal copies, and each row the same copy again."""
    one = np.random.default_rng(0).integers(1, 255, (1, 64, 64, 3)).astype(np.uint8)
    images = np.repeat(one, 12, axis=0)
    record = {"class": "", "kind": "random", "dx_px": np.nan, "dy_px": np.nan}
    index = pd.DataFrame([{**record, "w_px": np.nan, "h_px": np.nan}] * 12)
    turned = build_transforms([{"name": "RandomBrightnessContrast", "p": 1.0}], 3)
    options = {
        "scale": UNIT,
        "variants": 2,
        "keep_original": False,
        "seed": 3,
        "rule": LabelRule(8.0, 15.0, "square"),
    }
    done = augment_patches(images, index, turned, **options).images
    assert len(np.unique(done.reshape(24, -1), axis=0)) == 24
    assert np.array_equal(augment_patches(images, index, turned, **options).images, done)
    other = augment_patches(images, index, turned, **{**options, "seed": 4}).images
    assert (other != done).reshape(24, -1).any(axis=1).all()


def test_a_refused_transform_names_itself_before_any_patch_is_made(tmp_path: Path) -> None:
    patches = patch_folder(tmp_path / "patches")
    wrong = AugmentParams(**{**AUGMENT.model_dump(), "transforms": ({"name": "Normalize"},)})
    with pytest.raises(ParameterError, match=r"`augment\.transforms`: Normalize changes"):
        augment_training_patches(patches, tmp_path / "augmented", wrong)
    assert not (tmp_path / "augmented").exists()


def test_the_default_fits_any_number_of_bands_and_names_what_it_leaves_out(tmp_path: Path) -> None:
    for bands in (1, 2, 4, 8):
        kept, left_out = without_unfit_defaults(DEFAULT_TRANSFORMS, bands)
        assert left_out == ["HueSaturationValue"]
        build_transforms(kept, bands)
    assert without_unfit_defaults(DEFAULT_TRANSFORMS, 3) == (list(DEFAULT_TRANSFORMS), [])
    own = [{"name": "HueSaturationValue", "hue_shift_limit": 9}]
    assert without_unfit_defaults(own, 4) == (own, [])
    params = AugmentParams.model_validate_json(AugmentParams(sheet_rows=2).model_dump_json())
    sentence = augment_training_patches(
        patch_folder(tmp_path / "patches", bands=4), tmp_path / "out", params
    )
    expected = "HueSaturationValue of the default left out, which needs 3 bands: the patches have 4"
    assert expected in sentence


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", '{"seed": "x"}', '{"unknown": 1}', "[" * 5000, '{"transforms": [{}]}']
)
def test_a_damaged_record_of_the_parameters_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "augment.json").write_text(text)
    with pytest.raises(FormatError, match=re.escape("dvc repro -f augment")):
        read_augment_params(tmp_path)
