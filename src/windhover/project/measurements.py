"""What is measured of scenes and labels before anything is proposed: plain records, written as
JSON.

Computes nothing; `measure` fills them, `propose` and pages read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

from windhover.imagery.rasters import SceneInfo

QUANTILES = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)
DIGITS = 6


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quantiles(_Record):
    """Distribution of one quantity: smallest, largest, and the shares below a value in percent."""

    low: float
    p02: float
    p05: float
    p10: float
    p25: float
    p50: float
    p75: float
    p90: float
    p95: float
    p98: float
    high: float

    @classmethod
    def of(cls, values: ArrayLike) -> Quantiles | None:
        """Return the quantiles of finite values; None without any."""
        numbers = np.asarray(values, np.float64).ravel()
        numbers = numbers[np.isfinite(numbers)]
        if not len(numbers):
            return None
        names = [f"p{round(100 * q):02d}" for q in QUANTILES]
        found = np.quantile(numbers, QUANTILES).round(DIGITS).tolist()
        low = round(float(numbers.min()), DIGITS)
        high = round(float(numbers.max()), DIGITS)
        return cls(low=low, high=high, **dict(zip(names, found, strict=True)))


class LeftOut(_Record):
    """A raster or a class that is not used, and why."""

    name: str
    reason: str


class MeasuredScene(_Record):
    """One scene.

    Attributes:
        scene: its name in the catalog.
        path: of the raster, or folder of its stacked bands.
        width_px: columns, native px.
        height_px: rows, native px.
        gsd_m: native, the coarser of the two axes.
        crs: None for a local grid.
        place: scenes that touch or overlap have one name.
        labeled: whether label files or areas cover it.
        objects: labels on it that count.
    """

    scene: str
    path: str
    width_px: int
    height_px: int
    gsd_m: float
    crs: str | None
    place: str
    labeled: bool
    objects: int

    @classmethod
    def of(cls, info: SceneInfo, place: str, *, labeled: bool, objects: int) -> MeasuredScene:
        """Return the record of a raster."""
        return cls(
            scene=info.name,
            path=info.path,
            width_px=info.width_px,
            height_px=info.height_px,
            gsd_m=round(max(info.gsd_m), DIGITS),
            crs=info.crs,
            place=place,
            labeled=labeled,
            objects=objects,
        )


class ColorMeasure(_Record):
    """How far objects differ from their surroundings, in spreads over the objects.

    Attributes:
        hue: largest over the bands, of a band's share of all bands; 0 with fewer than three bands.
        brightness: of the mean of the bands; below 0 where objects are darker.
        objects: how many were measured.
    """

    hue: float
    brightness: float
    objects: int


class Measurements(_Record):
    """What was measured of a folder of scenes and its labels.

    Attributes:
        raw: folder of the scenes, absolute.
        rasters: pattern of the rasters in it; None for all.
        labels: label file or folder, absolute, or `auto`.
        scenes: in the order of their names.
        left_out: rasters that are not used.
        stack: band name -> file pattern where bands are in separate files.
        coarse_bands: bands in files of their own that are coarser than those, left out.
        bands: used of every scene.
        all_bands: whether those are all bands of every scene, in their order.
        dtype: of the pixels.
        native_gsd_m: median over the scenes with labels.
        stated_gsd_m: by the user, for pictures without georeference; None where none was needed.
        megapixels: of all scenes, native.
        classes: class as in the labels -> objects; of coverage, windows of ground with it.
        notes: what the readers report, in sentences.
        dropped: reason -> labels that are on no scene or cannot be read.
        task: what labels are; all that follows is of objects alone.
        ignored: labels that count neither way.
        geometry: kind of shape (points, boxes, polygons) -> labels.
        length_m: longer sides of the objects; None where all are points.
        width_m: shorter sides.
        nearest_m: distance of each object's centre to the next one's.
        nearest_sizes: the same in units of the smaller one's size (root of the box's area).
        merged: merge distance and IoU, as `0.5/0.3` -> share of the labelled objects that merging
            at these settings would take for duplicates of others.
        marked_twice: share of the labels whose box overlaps an earlier one of its class by an IoU
            above 0.6, while hardly any overlap by 0.4 to 0.6.
        color: objects against their surroundings; None where it cannot be measured.
    """

    raw: str
    rasters: str | None
    labels: str
    scenes: tuple[MeasuredScene, ...]
    left_out: tuple[LeftOut, ...]
    stack: dict[str, str] | None
    coarse_bands: tuple[str, ...] = ()
    bands: tuple[str, ...]
    all_bands: bool
    dtype: str
    native_gsd_m: float
    stated_gsd_m: float | None
    megapixels: float
    classes: dict[str, int]
    notes: tuple[str, ...]
    dropped: dict[str, int] = {}
    task: Literal["objects", "coverage"] = "objects"
    ignored: int = 0
    geometry: dict[str, int] = {}
    length_m: Quantiles | None = None
    width_m: Quantiles | None = None
    nearest_m: Quantiles | None = None
    nearest_sizes: Quantiles | None = None
    merged: dict[str, float] = {}
    marked_twice: float = 0.0
    color: ColorMeasure | None = None

    @property
    def n_objects(self) -> int:
        """Objects of all classes."""
        return sum(self.classes.values())

    @property
    def objects_by_place(self) -> dict[str, int]:
        """Place -> its objects, places without any included."""
        return objects_by_place(self.scenes)


def objects_by_place(scenes: Sequence[MeasuredScene]) -> dict[str, int]:
    """Return place -> its objects, places without any included."""
    counts: dict[str, int] = {}
    for scene in scenes:
        counts[scene.place] = counts.get(scene.place, 0) + scene.objects
    return counts
