"""What a reader of a model has to know, next to what a search needs: origin, limits, figures.

Written by `evaluate` into the card; nothing in a search depends on it. Places are hashes of their
names: whoever has a place can ask whether the model knows it, and no one else can read where it
was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

HASH_DIGITS = 16


class _Part(BaseModel):
    """Base of the records here: frozen, finite numbers, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Figure(_Part):
    """A figure with its 95 % interval; None where one is undefined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class Accuracy(_Part):
    """What was measured on labelled scenes that the model did not learn from.

    Attributes:
        split: of the scenes.
        scenes: number of them.
        places: of those scenes, number of them.
        objects: labelled there.
        km2: searched.
        match: when a detection is an object, in words.
        figures: by name, at the model's own threshold.
    """

    split: str = "test"
    scenes: int
    places: int
    objects: int
    km2: float
    match: str
    figures: dict[str, Figure]


class ModelDescription(_Part):
    """Origin, licence, limits and figures of a model.

    Attributes:
        sensor: that took the scenes, as the user names it; None where it was not named.
        native_gsd_m: finest and coarsest GSD of the training scenes as delivered, m; None for
            ready-made patches.
        places: hashes of the names of the places, by split.
        scenes: of training.
        objects: labelled in them.
        data_version: hash of scenes, labels, areas and patches.
        license: of the model.
        data_license: of the scenes and labels.
        limits: sentences: where the model is not to be trusted.
        accuracy: None where no scene was kept for a test.
    """

    sensor: str | None = None
    native_gsd_m: tuple[float, float] | None = None
    places: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    scenes: int = 0
    objects: int = 0
    data_version: str = ""
    license: str | None = None
    data_license: str | None = None
    limits: tuple[str, ...] = ()
    accuracy: Accuracy | None = None


def place_hashes(places: Iterable[str]) -> tuple[str, ...]:
    """Return 16 hexadecimal digits of the SHA-256 of each place's name, sorted, each once."""
    return tuple(sorted({place_hash(place) for place in places}))


def place_hash(place: str) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a place's name."""
    return hashlib.sha256(place.encode()).hexdigest()[:HASH_DIGITS]
