"""Rasters that cannot be what a model learned from are told, sound ones are not."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from conftest import MakeScene
from fake_models import make_card
from windhover.detection.detect_scene import DetectionOutcome
from windhover.detection.unusual_values import describe_unusual_values, log_unusual_values
from windhover.imagery.scenes import open_scene
from windhover.models.card import Card
from windhover.models.pixel_ranges import PixelRanges

SHAPE_HW = (300, 520)  # larger than what is read whole


def card_of(dtype: str = "uint8", low: float = 3.0, high: float = 250.0, **more: Any) -> Card:
    values = {
        "dtype": dtype,
        "mean": (low + (high - low) * 0.4,) * 3,
        "std": ((high - low) / 5,) * 3,
        "ranges": PixelRanges(((low, high),) * 3),
    }
    return make_card().model_copy(update=values | more)


def sentence_on(make_scene: MakeScene, data: np.ndarray, card: Card, **profile: Any) -> str | None:
    with open_scene(make_scene(data=data, **profile), card.gsd_m) as scene:
        return describe_unusual_values(scene, card)


def random_pixels(low: float, high: float, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(5).uniform(low, high, (3, *SHAPE_HW)).astype(dtype)


def test_a_raster_of_single_bits_is_told(make_scene: MakeScene) -> None:
    sentence = sentence_on(make_scene, random_pixels(0, 2), card_of(), NBITS=1)
    assert sentence is not None
    assert "its pixels are 0 to 1, and the model learned from 3 to 250" in sentence


def test_a_raster_of_one_value_is_told(make_scene: MakeScene) -> None:
    data = np.full((3, *SHAPE_HW), 37, np.uint8)
    sentence = sentence_on(make_scene, data, card_of())
    assert sentence is not None
    assert "every pixel that was looked at is 37, and the model learned from 3" in sentence
    data[2, 100:140, 50:90] = 200  # one patch of content that the first windows do not show
    assert sentence_on(make_scene, data, card_of()) is None
    small = np.full((3, 90, 70), 0, np.uint8)
    assert "is 0, and" in str(sentence_on(make_scene, small, card_of()))


@pytest.mark.parametrize(
    ("dtype", "trained", "seen"),
    [
        ("float32", (1.0, 9000.0), (0.0001, 0.9)),  # reflectance as fractions
        ("uint16", (40.0, 3000.0), (9000.0, 60000.0)),  # stretched to 16 bits
    ],
)
def test_another_unit_is_told(
    make_scene: MakeScene, dtype: str, trained: tuple[float, float], seen: tuple[float, float]
) -> None:
    sentence = sentence_on(make_scene, random_pixels(*seen, dtype), card_of(dtype, *trained))
    assert sentence is not None
    assert "--match-radiometry" in sentence


@pytest.mark.parametrize(
    ("dtype", "trained", "seen"),
    [
        ("uint8", (3.0, 250.0), (20.0, 90.0)),  # a darker scene
        ("uint8", (3.0, 250.0), (240.0, 256.0)),  # snow
        ("uint16", (40.0, 9000.0), (250.0, 420.0)),  # open water
        ("float32", (-30.0, 5.0), (-24.0, -19.0)),  # decibels of calm water
    ],
)
def test_sound_scenes_are_not_told(
    make_scene: MakeScene, dtype: str, trained: tuple[float, float], seen: tuple[float, float]
) -> None:
    card = card_of(dtype, *trained)
    assert sentence_on(make_scene, random_pixels(*seen, dtype), card) is None
    earlier = card_of(dtype, *trained, ranges=None)
    assert sentence_on(make_scene, random_pixels(*seen, dtype), earlier) is None


def test_black_and_white_objects_are_not_told(make_scene: MakeScene) -> None:
    assert sentence_on(make_scene, random_pixels(0, 2) * np.uint8(255), card_of()) is None


def test_ground_without_data_is_not_told(make_scene: MakeScene) -> None:
    data = np.zeros((3, *SHAPE_HW), np.uint8)
    assert sentence_on(make_scene, data, card_of(), nodata=0) is None


def test_few_rasters_are_named(make_scene: MakeScene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="windhover")
    card = card_of()
    outcome = DetectionOutcome()
    for number in range(6):
        path = make_scene(f"s{number}.tif", data=np.full((3, 90, 70), 9, np.uint8))
        with open_scene(path, card.gsd_m) as scene:
            outcome.n_unusual = log_unusual_values(scene, card, outcome.n_unusual)
    assert outcome.n_unusual == 6
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "s0",
        "s1",
        "s2",
        "more rasters have values that the model cannot know; they are not named",
    ]
