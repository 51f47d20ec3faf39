"""Searching a scene: every window scored, block by block, and duplicates removed once, over all
peaks of the scene.

So objects do not depend on how the scene is cut. Mining and evaluation stand on `search_scene`;
`Detector` adds a saved model's calibration and thresholds. Refuses to choose a threshold: that is
`evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
import torch
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.errors import FormatError, ParameterError
from windhover.export.detections import for_map, to_table
from windhover.geometry.boxes import merge, to_xyxy
from windhover.geometry.georef import pixel_to_world
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.scenes import Scene
from windhover.inference.dense import DenseScorer
from windhover.inference.model_input import open_for
from windhover.inference.multi_scale import (
    BLOCK_PX,
    FailedBlock,
    Progress,
    SearchReport,
    SearchSettings,
    note,
    plan_passes,
    search_blocks,
)
from windhover.inference.peaks import CANDIDATE
from windhover.models.bundle import Bundle, check_thresholds, load_bundle
from windhover.models.calibrated_scores import detection_scores

__all__ = [
    "BLOCK_PX",
    "Detector",
    "FailedBlock",
    "SearchReport",
    "SearchSettings",
    "choose_device",
    "merged",
    "scorers_of",
    "search_scene",
]

SHOULDER_DISTANCE = (
    0.7  # nearer than this to a surer one, in units of its size, a shoulder is no object of its own
)


def search_scene(
    scorer: DenseScorer,
    scene: Scene,
    settings: SearchSettings,
    min_logit: float | Sequence[float],
    aoi: BaseGeometry | None = None,
    progress: Progress | None = None,
    classes: Sequence[str] | None = None,
    block_px: int | None = None,
    report: SearchReport | None = None,
    second_stage: DenseScorer | None = None,
) -> pd.DataFrame:
    """Find candidate objects in a scene.

    Args:
        scorer: network at the settings' stride.
        scene: opened at the training GSD, with the training bands.
        settings: stride, scales and the rules by which candidates are the same object.
        min_logit: lowest raw logit of interest, one for all classes or one each.
        aoi: polygon in the scene's coordinate system (its local grid where it has none);
            nothing else is read.
        progress: called with the Mpx just done.
        classes: names; numbers as text without them.
        block_px: side of the blocks; changes memory and speed alone.
        report: filled with what was searched. Without one, a block that cannot be read is an error.
        second_stage: another network, which scores the peaks that are looked at again too.

    Returns:
        Merged candidates, columns class, logit, col, row, w, h (scene px, centre and size), edge;
        best first, ties by position.

    Raises:
        FormatError: a block cannot be read, and there is no `report` to say so.
        ParameterError: scorer and settings disagree.
    """
    own_report = SearchReport()
    parts = []
    for search in plan_passes(scorer, scene, settings, aoi, block_px):
        blocks = search_blocks(
            scorer, search, min_logit, report or own_report, progress, second_stage=second_stage
        )
        for block, result in blocks:
            parts.append(result.candidates)
            note(report or own_report, search, block, result)
    if report is None and own_report.failed:
        raise FormatError(own_report.failed[0].reason)
    return merged(parts, scene, settings, aoi, classes)


def merged(
    parts: Sequence[NDArray[np.void]],
    scene: Scene,
    settings: SearchSettings,
    aoi: BaseGeometry | None = None,
    classes: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the candidates of all blocks and passes without duplicates, best first; those outside
    the area go.
    """
    found = np.concatenate([np.zeros(0, CANDIDATE), *parts])
    boxes = to_xyxy(found["col"], found["row"], found["w"], found["h"])
    distance = np.where(
        found["shoulder"], max(SHOULDER_DISTANCE, settings.merge_distance), settings.merge_distance
    )
    kept = merge(boxes, found["logit"], found["class_index"], distance, settings.merge_iou)
    found = found[kept]
    if aoi is not None:
        x, y = pixel_to_world(scene.transform, found["col"], found["row"])
        found = found[shapely.contains_xy(aoi, x, y)]
    index = found["class_index"]
    names = np.asarray(classes, object)[index] if classes is not None else index.astype(str)
    columns: dict[str, Any] = {"class": pd.Series(names, dtype="str")}
    columns |= {name: found[name].astype(np.float64) for name in ("logit", "col", "row", "w", "h")}
    return pd.DataFrame(columns | {"edge": found["edge"]})


class Detector:
    """A saved model made ready to search: its network on a device, its calibration and its
    operating point.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        precision: str = "auto",
        stride_px: int | None = None,
        batch_px: int | None = None,
        scales: Sequence[float] | None = None,
        match_radiometry: bool = False,
        bands: Sequence[str] | None = None,
    ) -> None:
        """Put the bundle's network on a device.

        Args:
            bundle: from `load_bundle`.
            device: `auto` takes the GPU where there is one, else the CPU; or a torch device's name.
            precision: `fp32`, `fp16`, `bf16`, `int8` on a CPU, or `auto`, as for `DenseScorer`;
                with `match_radiometry` it takes `fp32` on a CPU.
            stride_px: the operating point's by default.
            batch_px: px scored at once.
            scales: GSD of each pass in units of the training GSD; the operating point's by default.
            match_radiometry: every raster is seen with the mean and spread of the training's
                bands, whatever its sensor's light and number type.
            bands: of every raster, names or numbers from 1, to be taken for the model's in
                their order; one may come more than once. Without them, bands are found by name, or
                by position where the names say nothing.

        Raises:
            ParameterError: a device, precision, stride or scale that cannot be had.
        """
        point = bundle.operating_point or {}
        settings = SearchSettings.from_json(
            {"stride_px": bundle.card.stride_px, **point.get("search", {})}
        )
        self.bundle, self.match_radiometry, self.bands = bundle, match_radiometry, bands
        settings = settings if stride_px is None else replace(settings, stride_px=stride_px)
        self.settings = settings if scales is None else replace(settings, scales=tuple(scales))
        device = choose_device(device)
        if precision == "auto" and match_radiometry and device == "cpu":
            # matched pixels are no bytes: int8 would round them, and cut off what lies beyond
            precision = "fp32"
        self.scorer, self.second_stage = scorers_of(
            bundle, device, precision, self.settings.stride_px, batch_px
        )

    @classmethod
    def from_bundle(cls, path: str | Path, **options: Any) -> Detector:
        """Load a bundle from its folder; options as for `Detector`.

        Raises:
            MissingFileError: the folder or one of its files is not there.
            FormatError: a file of the bundle is not what it should be.
        """
        return cls(load_bundle(path), **options)

    def describe(self) -> str:
        """Return one line: model, way of scoring, stride, device, precision."""
        way = "densely" if self.scorer.dense else "window by window (its network is padded)"
        where = f"at stride {self.settings.stride_px} px on {self.scorer.device} in {self.scorer.precision}"
        second = self.bundle.second_stage
        then = "" if second is None else f", its peaks by {second.card.network.name} too"
        chosen = (
            (self.bundle.operating_point or {})
            .get("chosen_on", {})
            .get("precision", self.scorer.precision)
        )
        then += (
            "" if chosen == self.scorer.precision else f" (its threshold was chosen in {chosen})"
        )
        return f"model {self.bundle.card.name}, scored {way} {where}{then}"

    def thresholds(self, threshold: float | Mapping[str, float] | None = None) -> dict[str, float]:
        """Return the score each class must reach: the operating point's, or what is given.

        Raises:
            MissingFileError: none is given and the model was never evaluated.
            ParameterError: not a probability, or a class the model does not know.
        """
        classes = self.bundle.card.classes
        if threshold is None:
            return self.bundle.thresholds()
        given = (
            dict(threshold) if isinstance(threshold, Mapping) else dict.fromkeys(classes, threshold)
        )
        if unknown := sorted(set(given) - set(classes)):
            raise ParameterError(
                f"the model has no class `{unknown[0]}`; it knows {', '.join(classes)}. Name one of these."
            )
        chosen = {**(self.bundle.thresholds() if set(given) != set(classes) else {}), **given}
        check_thresholds(chosen)
        return chosen

    def open(self, raster: str | Path | SceneInfo, gsd_m: float | None = None) -> Scene:
        """Open a raster as the model must see it: its training GSD and bands.

        Raises:
            MissingFileError: no such raster.
            UnsupportedError: another number type, or bands that are missing.
            DataError: no georeference and no `gsd_m`.
        """
        return open_for(self.bundle.card, raster, gsd_m, self.match_radiometry, self.bands)

    def floors(self, thresholds: Mapping[str, float]) -> list[float]:
        """Return the lowest raw logit of interest for each class; a hair low, because scores decide
        in the end.
        """
        return [logit - 1e-4 for logit in self.bundle.min_logits(thresholds)]

    def table(
        self, candidates: pd.DataFrame, thresholds: Mapping[str, float], scene: Scene
    ) -> geopandas.GeoDataFrame:
        """Return the candidates that reach their class's threshold, as the result schema in the
        scene's system.
        """
        scores = detection_scores(candidates["logit"], self.bundle.calibration)
        good = scores >= candidates["class"].map(thresholds).to_numpy(np.float64)
        card = self.bundle.card
        return to_table(candidates[good], scores[good], scene, card.name, card.sized)

    def detect(
        self,
        raster: str | Path,
        gsd_m: float | None = None,
        threshold: float | Mapping[str, float] | None = None,
        aoi: BaseGeometry | None = None,
        progress: Progress | None = None,
        block_px: int | None = None,
        report: SearchReport | None = None,
    ) -> geopandas.GeoDataFrame:
        """Find the objects of a raster.

        Args:
            raster: path of anything GDAL opens.
            gsd_m: metres per px, for images without georeference.
            threshold: score to reach, for all classes or by class; the operating point's by
                default.
            aoi: polygon in the raster's coordinate system; nothing else is read.
            progress: called with the Mpx just done.
            block_px: side of the blocks; changes memory and speed alone.
            report: filled with what was searched. Without one, a block that cannot be read is
                an error.

        Returns:
            One row an object, best first: `windhover.export.detections.COLUMNS`, in the
                raster's coordinate system.

        Raises:
            WindhoverError: a child that says what is wrong with the raster, the model or an option.
        """
        thresholds = self.thresholds(threshold)
        with self.open(raster, gsd_m) as scene:
            candidates = search_scene(
                self.scorer,
                scene,
                self.settings,
                self.floors(thresholds),
                aoi,
                progress,
                self.bundle.card.classes,
                block_px,
                report,
                self.second_stage,
            )
            return for_map(self.table(candidates, thresholds, scene), [scene.crs])


def scorers_of(
    bundle: Bundle,
    device: str,
    precision: str,
    stride_px: int | None = None,
    batch_px: int | None = None,
) -> tuple[DenseScorer, DenseScorer | None]:
    """Return a bundle's network made ready to score, and that of its second look where it has one.

    A second look that cannot be put in 8-bit integers, such as a padded network, stays in `fp32`:
    it sees peaks alone.

    Raises:
        ParameterError: precision, stride or batch is not one that can be had.
        FormatError: the card does not fit the network.
    """

    def ready(part: Bundle, precision: str, stride_px: int | None) -> DenseScorer:
        network, normalizer = part.network(), part.normalizer()
        return DenseScorer(
            network, normalizer, device, precision, stride_px, batch_px, part.card.ranges
        )

    first, other = ready(bundle, precision, stride_px), bundle.second_stage
    if other is None:
        return first, None
    return first, ready(
        other, "fp32" if precision == "int8" and other.card.ranges is None else precision, None
    )


def choose_device(device: str) -> str:
    """Return a torch device's name, `auto` made real.

    Raises:
        ParameterError: no such device here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:80]
        raise ParameterError(
            f"device {device!r} cannot be had here ({reason}). Use auto, cpu or cuda."
        ) from None
    return device
