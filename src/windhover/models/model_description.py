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


class ExportedAccuracy(_Part):
    """An exported detector on labelled scenes next to the model itself, as `detect` searches.

    Attributes:
        split: of the scenes.
        scenes: number of them.
        objects: labelled there.
        ap_exported: AP of the exported detector, at all scores.
        ap_detect: AP of the model.
        difference_low: lower end of the 95 % interval of the first less the second, paired over
            places; None where places are too few.
        difference_high: its upper end.
        alike: objects that both report at the model's threshold.
        differing_inside: objects that one of them reports, apart from borders.
        largest_score_difference: of the objects that both report, apart from borders.
    """

    split: str = "test"
    scenes: int
    objects: int
    ap_exported: float | None
    ap_detect: float | None
    difference_low: float | None = None
    difference_high: float | None = None
    alike: int
    differing_inside: int
    largest_score_difference: float

    def line(self) -> str:
        """Return the comparison as a sentence."""
        if self.ap_exported is None or self.ap_detect is None:
            figures = "AP is undefined"
        else:
            figures = f"AP {self.ap_exported:.4f}, by `detect` {self.ap_detect:.4f}"
        if self.difference_low is not None and self.difference_high is not None:
            figures += f" (difference {self.difference_low:+.4f} to {self.difference_high:+.4f})"
        return (
            f"On {self.split}, {self.objects} objects in {self.scenes} scenes: {figures}; "
            f"{self.alike} objects alike, {self.differing_inside} others apart from borders, "
            f"largest difference of a score {self.largest_score_difference:.4f}."
        )


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
        exported: the exported detector; None where none was measured.
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
    exported: ExportedAccuracy | None = None


def place_hashes(places: Iterable[str]) -> tuple[str, ...]:
    """Return 16 hexadecimal digits of the SHA-256 of each place's name, sorted, each once."""
    return tuple(sorted({place_hash(place) for place in places}))


def place_hash(place: str) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a place's name."""
    return hashlib.sha256(place.encode()).hexdigest()[:HASH_DIGITS]
