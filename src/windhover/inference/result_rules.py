"""What turns a scene's candidates into its detections: calibration, thresholds and their names.

Needs no network, so that results of many machines are put together where none is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from windhover import __version__
from windhover.errors import FormatError
from windhover.imagery.scenes import Scene
from windhover.inference.candidates import Candidates
from windhover.inference.detection_columns import DetectionColumns, run_name, scene_columns
from windhover.inference.search_settings import SearchSettings
from windhover.models.apply_calibration import detection_scores
from windhover.models.bundle import OPERATING_POINT, Bundle


@dataclass(frozen=True)
class ResultRules:
    """How candidates of a search become its detections.

    Attributes:
        bundle: the model.
        settings: of the search.
        thresholds: score to reach, by class.
        bands: that were stated for every raster; None where they are found by name.
        match_radiometry: whether rasters were brought to the training's radiometry.
    """

    bundle: Bundle
    settings: SearchSettings
    thresholds: Mapping[str, float]
    bands: Sequence[str] | None = None
    match_radiometry: bool = False

    @property
    def run_name(self) -> str:
        """Name of the search: equal for equal model, thresholds, settings and program."""
        return run_name(
            program=__version__,
            model=self.bundle.card.name,
            calibration=self.bundle.calibration.to_json(),
            search=self.settings.to_json(),
            thresholds=self.thresholds,
            bands=self.bands,
            match_radiometry=self.match_radiometry,
        )

    def columns(
        self, candidates: Candidates, scene: Scene, *, split: str | None = None
    ) -> DetectionColumns:
        """Return the candidates that reach their class's threshold, as columns of results.

        Args:
            candidates: of the scene, as in `SceneResult`.
            scene: the grid that the candidates are in; it is not read.
            split: of a scene of a catalog.
        """
        card = self.bundle.card
        class_index = candidates.class_index
        scores = detection_scores(candidates.logits, self.bundle.calibration, class_index)
        threshold_of_class = np.array([self.thresholds[name] for name in card.classes])
        reached = scores >= threshold_of_class[class_index]
        return scene_columns(
            candidates.select(reached),
            scores[reached],
            scene,
            classes=card.classes,
            model=card.name,
            thresholds=[self.thresholds[name] for name in card.classes],
            run=self.run_name,
            has_sizes=card.sized,
            split=split,
        )


def search_settings(
    bundle: Bundle, stride_px: int | None, scales: Sequence[float] | None
) -> SearchSettings:
    """Return the settings of the operating point, stride and scales replaced where given.

    Args:
        bundle: the model.
        stride_px: distance between windows; None for the model's own.
        scales: GSD of each pass in units of the training GSD; None for the model's own.

    Raises:
        FormatError: the operating point holds settings that are none.
        ParameterError: a stride or scale that is not possible.
    """
    values: dict[str, Any] = {"stride_px": bundle.card.stride_px}
    if bundle.operating_point is not None:
        values |= bundle.operating_point.search
    try:
        settings = SearchSettings.from_json(values)
    except FormatError as error:
        if bundle.folder is None:
            raise
        raise FormatError(f"{bundle.folder / OPERATING_POINT}: {error}") from None
    if stride_px is not None:
        settings = replace(settings, stride_px=stride_px)
    if scales is not None:
        settings = replace(settings, scales=tuple(scales))
    return settings
