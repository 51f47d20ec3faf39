"""Augmentation: objects follow their pixels, one seed a sample, any dtype and band count, refusals
in a sentence.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windhover.dataset.label_rule import LabelRule
from windhover.errors import ParameterError
from windhover.patches.albumentations_pipeline import (
    THREE_BANDS,
    augment_patch,
    augment_patches,
    build_transforms,
)
from windhover.patches.pixel_value_range import ValueRange, value_range

FULL = [
    {"name": "D4", "p": 1.0},
    {"name": "RandomBrightnessContrast", "brightness_limit": 0.2, "contrast_limit": 0.2, "p": 1.0},
    {"name": "RandomGamma", "gamma_limit": [80, 120], "p": 0.5},
    {"name": "GaussNoise", "std_range": [0.01, 0.02], "p": 0.5},
    {"name": "GaussianBlur", "blur_limit": 0, "sigma_limit": [0.3, 0.8], "p": 0.3},
]
RECORD = {
    "class": "aircraft",
    "kind": "positive",
    "dx_px": 3.0,
    "dy_px": -5.0,
    "w_px": 12.0,
    "h_px": 6.0,
}
UNIT = ValueRange(np.zeros(3, np.float32), np.full(3, 255, np.float32))


def index_of(count: int) -> pd.DataFrame:
    return pd.DataFrame([RECORD] * count)


def spotted(record: dict, side: int = 64) -> np.ndarray:
    """A picture whose one bright rectangle is the record's box."""
    image = np.full((side, side, 3), 20, np.uint8)
    x, y = side / 2 + record["dx_px"], side / 2 + record["dy_px"]
    image[
        int(y - record["h_px"] / 2) : int(y + record["h_px"] / 2),
        int(x - record["w_px"] / 2) : int(x + record["w_px"] / 2),
    ] = 220
    return image


def box_of(image: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(image[..., 0] > 120)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return (left + right) / 2 - 32, (top + bottom) / 2 - 32, right - left, bottom - top


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(-10, 10),
    st.integers(-10, 10),
    st.integers(2, 10),
    st.integers(2, 10),
)
def test_symmetries_carry_center_and_box_exactly(
    seed: int, dx: int, dy: int, half_w: int, half_h: int
) -> None:
    record = {
        **RECORD,
        "dx_px": float(dx),
        "dy_px": float(dy),
        "w_px": 2.0 * half_w,
        "h_px": 2.0 * half_h,
    }
    transforms = build_transforms([{"name": "D4", "p": 1.0}], 3)
    transforms.set_random_seed(seed)
    picture, known, _ = augment_patch(spotted(record), record, transforms, scale=UNIT)
    assert (known["dx_px"], known["dy_px"], known["w_px"], known["h_px"]) == pytest.approx(
        box_of(picture), abs=1e-4
    )


def test_an_affine_carries_the_center_too() -> None:
    transforms = build_transforms(
        [{"name": "Affine", "scale": [0.8, 0.8], "translate_px": [4, 4], "p": 1.0}], 3
    )
    transforms.set_random_seed(1)
    picture, known, _ = augment_patch(spotted(RECORD), RECORD, transforms, scale=UNIT)
    assert (known["dx_px"], known["dy_px"], known["w_px"], known["h_px"]) == pytest.approx(
        box_of(picture), abs=1.0
    )


@pytest.mark.parametrize(
    ("dtype", "bands"), [("uint8", 3), ("uint8", 1), ("uint16", 4), ("float32", 5)]
)
def test_any_type_and_band_count_comes_back_as_it_was(dtype: str, bands: int) -> None:
    random = np.random.default_rng(0)
    images = (random.random((3, 64, 64, bands)) * (200 if dtype == "uint8" else 3000)).astype(dtype)
    scale = value_range(
        np.dtype(dtype), images.mean((0, 1, 2)).tolist(), images.std((0, 1, 2)).tolist()
    )
    done = augment_patches(
        images,
        index_of(3),
        build_transforms(FULL, bands),
        scale=scale,
        variants=2,
        keep_original=True,
        seed=1,
        rule=LabelRule(16.0, 16.0, "square"),
    )
    assert done.images.dtype == np.dtype(dtype)
    assert done.images.shape == (9, 64, 64, bands)
    assert np.array_equal(done.images[::3], images)
    assert done.index["source"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert done.index["variant"].tolist() == [0, 1, 2] * 3
    assert abs(float(done.images.mean()) / float(images.mean()) - 1) < 0.4


def test_a_copy_depends_on_its_patch_and_the_seed_and_not_on_its_neighbors() -> None:
    images = np.random.default_rng(0).integers(1, 255, (4, 64, 64, 3)).astype(np.uint8)

    def copies(pictures: np.ndarray, seed: int) -> np.ndarray:
        options = {
            "scale": UNIT,
            "variants": 1,
            "keep_original": False,
            "seed": seed,
            "rule": LabelRule(16.0, 16.0, "square"),
        }
        return augment_patches(
            pictures, index_of(len(pictures)), build_transforms(FULL, 3), **options
        ).images

    assert np.array_equal(copies(images, 5), copies(images, 5))
    assert np.array_equal(copies(images, 5)[:2], copies(images[:2], 5))
    assert not np.array_equal(copies(images, 5), copies(images, 6))


def test_copies_whose_label_would_no_longer_hold_are_left_out_and_counted() -> None:
    shift = build_transforms([{"name": "Affine", "translate_px": [10, 10], "p": 1.0}], 3)
    images = np.full((2, 64, 64, 3), 9, np.uint8)
    index = index_of(2).assign(dx_px=[0.0, 14.0], **{"class": ["aircraft", ""]})
    done = augment_patches(
        images,
        index,
        shift,
        scale=UNIT,
        variants=1,
        keep_original=False,
        seed=0,
        rule=LabelRule(8.0, 12.0, "square"),
    )
    assert done.n_left_out == 1
    assert done.index["source"].tolist() == [1]


def test_three_band_transforms_are_refused_for_other_bands() -> None:
    for name in ("HueSaturationValue", "CLAHE"):
        assert name in THREE_BANDS
        with pytest.raises(
            ParameterError, match=f"{name} works on 3 bands only, the patches have 4"
        ):
            build_transforms([{"name": name}], 4)
        build_transforms([{"name": name}], 3)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"name": "Sharpenn"}, "no transform 'Sharpenn'"),
        ({"name": "D4", "q": 1}, "D4: .*q"),
        ({"name": "GaussNoise", "p": 2}, "GaussNoise: "),
    ],
)
def test_wrong_declarations_are_refused(entry: dict, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        build_transforms([entry], 3)
