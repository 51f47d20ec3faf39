"""A saved model ready to search rasters: its network on a device, calibration and thresholds.

The public entry of the library. Runs `scene_search`, and turns candidates into the table of
detections. Chooses no threshold: `evaluate` does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from shapely.geometry.base import BaseGeometry

from windhover.errors import DataError, ParameterError
from windhover.geometry.georef import box_polygons
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.scenes import Scene
from windhover.inference.aoi import area_in_scene, read_aoi
from windhover.inference.candidates import Candidates
from windhover.inference.coverage_map import NO_CANDIDATE
from windhover.inference.detection_columns import DetectionColumns
from windhover.inference.model_input import open_for_model
from windhover.inference.result_rules import ResultRules, search_settings
from windhover.inference.runtimes import make_scorers
from windhover.inference.scene_search import Progress, SceneSearch
from windhover.inference.scorer import Scorer
from windhover.inference.search_results import SearchReport
from windhover.models.bundle import Bundle, load_bundle

if TYPE_CHECKING:
    import geopandas

# Logits are searched from a little below the thresholds, because scores decide in the end.
MIN_LOGIT_MARGIN = 1e-4


class Detector:
    """A saved model ready to search.

    Attributes:
        bundle: the model.
        settings: stride, scales and rules of the search.
        scorer: of the model's network.
        second_stage: scorer of its second network, None where it has none.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        runtime: str = "auto",
        device: str = "auto",
        inference_precision: str = "auto",
        stride_px: int | None = None,
        batch_px: int | None = None,
        scales: Sequence[float] | None = None,
        match_radiometry: bool = False,
        bands: Sequence[str] | None = None,
    ) -> None:
        """Move the bundle's network to a device.

        Args:
            bundle: from `load_bundle`.
            runtime: `torch`, `onnx` or `openvino`; `auto` takes OpenVINO on a CPU where it is
                installed and the model holds its graphs, else torch.
            device: `auto` takes the GPU where there is one, else the CPU; or a torch device's name.
            inference_precision: `fp32`, `fp16`, `bf16`, `int8` on a CPU, or `auto`, as for
                `TorchScorer`; with `match_radiometry`, `auto` takes `fp32` on a CPU.
            stride_px: the operating point's by default.
            batch_px: px scored at once.
            scales: GSD of each pass in units of the training GSD; the operating point's by default.
            match_radiometry: whether every raster is brought to the mean and spread of the
                training's bands, so that light and number type of its sensor do not matter.
            bands: of every raster, names or numbers from 1, to be taken for the model's in their
                order; one may come more than once. Without them, bands are found by name, or by
                position where no band has a telling name.

        Raises:
            ParameterError: a device, precision, stride or scale that is not available.
        """
        self.bundle = bundle
        self.match_radiometry = match_radiometry
        self.bands = bands
        self.settings = search_settings(bundle, stride_px, scales)
        scorer, second_stage = make_scorers(
            bundle,
            runtime=runtime,
            device=device,
            inference_precision=inference_precision,
            # matched pixels are no bytes: int8 would round them, and clip what is beyond
            allow_int8=not match_radiometry,
            stride_px=self.settings.stride_px,
            batch_px=batch_px,
        )
        self.scorer: Scorer = scorer
        self.second_stage: Scorer | None = second_stage

    @classmethod
    def from_bundle(cls, path: str | Path, **options: Any) -> Detector:
        """Load a bundle from its folder; options as for `Detector`.

        Raises:
            MissingFileError: the folder or one of its files is not there.
            FormatError: a file of the bundle is damaged or of another format.
        """
        return cls(load_bundle(path), **options)

    def describe(self) -> str:
        """Return one line: model, way of scoring, stride, device, precision."""
        scorer = self.scorer
        way = "densely" if scorer.dense else "window by window (its network is padded)"
        line = (
            f"model {self.bundle.card.name}, scored {way} at stride {self.settings.stride_px} px "
            f"on {scorer.device} in {scorer.inference_precision} by {scorer.runtime}"
        )
        if self.bundle.second_stage is not None:
            line += f", its peaks by {self.bundle.second_stage.card.network.name} too"
        point = self.bundle.operating_point
        chosen_in = None if point is None else point.chosen_on.inference_precision
        if chosen_in is not None and chosen_in != scorer.inference_precision:
            line += f" (its threshold was chosen in {chosen_in})"
        return line

    def thresholds(self, threshold: float | Mapping[str, float] | None = None) -> dict[str, float]:
        """Return the score each class must reach: the operating point's, or what is given.

        Raises:
            MissingFileError: none is given and the model was never evaluated.
            ParameterError: not a probability, or a class the model does not know.
        """
        return self.bundle.choose_thresholds(threshold)

    def open(self, raster: str | Path | SceneInfo, gsd_m: float | None = None) -> Scene:
        """Open a raster at the model's training GSD, with its bands.

        Raises:
            MissingFileError: no such raster.
            UnsupportedError: another number type, or bands that are missing.
            DataError: no georeference and no `gsd_m`.
        """
        return open_for_model(
            self.bundle.card,
            raster,
            gsd_m=gsd_m,
            match_radiometry=self.match_radiometry,
            bands=self.bands,
        )

    def plan(
        self,
        scene: Scene,
        thresholds: Mapping[str, float],
        *,
        aoi: BaseGeometry | None = None,
        block_px: int | None = None,
        keep_logits: bool = False,
    ) -> SceneSearch:
        """Return the search of a scene for candidates that can reach their class's threshold.

        Args:
            scene: from `open`.
            thresholds: score to reach, by class.
            aoi: polygon in the scene's coordinate system.
            block_px: side of the blocks.
            keep_logits: whether blocks of the pass nearest to the training GSD keep their logits.
        """
        is_coverage = self.bundle.card.task == "coverage"
        logits = self.bundle.min_logits(thresholds)
        min_logit = [logit - MIN_LOGIT_MARGIN for logit in logits]
        if is_coverage:
            min_logit = [NO_CANDIDATE] * len(logits)
        return SceneSearch.plan(
            self.scorer,
            scene,
            self.settings,
            min_logit=min_logit,
            aoi=aoi,
            block_px=block_px,
            second_stage=self.second_stage,
            keep_logits=keep_logits,
            cells_alone=is_coverage,
        )

    def run_name(self, thresholds: Mapping[str, float]) -> str:
        """Return the name of a search: equal for equal model, thresholds, settings and program.

        It keeps the rows of two searches apart that were put into one table, and is the same for
        parts of one search that ran on many machines.

        Args:
            thresholds: score to reach, by class.
        """
        return self._rules(thresholds).run_name

    def _rules(self, thresholds: Mapping[str, float]) -> ResultRules:
        """Return what turns candidates into detections."""
        return ResultRules(
            self.bundle,
            self.settings,
            thresholds,
            bands=self.bands,
            match_radiometry=self.match_radiometry,
        )

    def detections(
        self,
        candidates: Candidates,
        thresholds: Mapping[str, float],
        scene: Scene,
        *,
        split: str | None = None,
    ) -> DetectionColumns:
        """Return the candidates that reach their class's threshold, as columns of results.

        Args:
            candidates: of the scene, as in `SceneResult`.
            thresholds: score to reach, by class.
            scene: the grid that the candidates are in.
            split: of a scene of a catalog.
        """
        return self._rules(thresholds).columns(candidates, scene, split=split)

    def detect(
        self,
        raster: str | Path,
        *,
        gsd_m: float | None = None,
        threshold: float | Mapping[str, float] | None = None,
        aoi: BaseGeometry | str | Path | None = None,
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
            aoi: polygon in the raster's coordinate system, or the path of a vector file of
                polygons; nothing else is read.
            progress: called with the Mpx just done.
            block_px: side of the blocks; changes memory and speed alone.
            report: filled with what was searched. Without one, a block that cannot be read is an
                error.

        Returns:
            One row an object, best first: `result_table.COLUMNS`, in the raster's coordinate
            system.

        Raises:
            WindhoverError: a child that names the fault of the raster, the model or an option.
        """
        from windhover.inference.result_table import table_of_columns, to_map_table

        self.bundle.card.require_objects()
        _check_types(raster, gsd_m, aoi)
        thresholds = self.thresholds(threshold)
        with self.open(raster, gsd_m) as scene:
            if isinstance(aoi, str | Path):
                aoi = area_in_scene(read_aoi(aoi), scene.info)
            _check_area(aoi, scene.info)
            search = self.plan(scene, thresholds, aoi=aoi, block_px=block_px)
            result = search.run(progress=progress, report=report)
            columns = self.detections(result.candidates, thresholds, scene)
        return to_map_table(table_of_columns([columns]), [scene.crs])


def _check_area(aoi: BaseGeometry | None, info: SceneInfo) -> None:
    """Check that an area has a part of a scene; else nothing at all would be searched, unsaid.

    Raises:
        DataError: no part of the scene is in it.
    """
    outline = box_polygons([0, 0, info.width_px, info.height_px], info.transform)[0]
    if aoi is not None and not outline.intersects(aoi):
        raise DataError(
            f"{info.path}: no part of it lies in the area to be searched. Give the area in the "
            "raster's coordinate system, or as a file that names its own."
        )


def _check_types(raster: Any, gsd_m: Any, aoi: Any) -> None:
    """Check the arguments that are easily mistaken, since numpy's own errors would mislead.

    Raises:
        ParameterError: a raster that is no path, a GSD that is no number, or an area that is
            neither a shape nor a path.
    """
    if not isinstance(raster, str | os.PathLike):
        raise ParameterError(
            f"`raster` must be a path of anything GDAL opens, got {type(raster).__name__}. Write "
            "an array to a file first, or into rasterio's MemoryFile, and pass its name."
        )
    is_number = isinstance(gsd_m, int | float | np.number) and not isinstance(gsd_m, bool)
    if gsd_m is not None and not is_number:
        raise ParameterError(
            f"`gsd_m` must be metres per px, got {gsd_m!r}. Where it is unknown, use "
            "`windhover detect --gsd unknown`, or give the model's GSD and several `scales`."
        )
    if aoi is not None and not isinstance(aoi, BaseGeometry | str | Path):
        raise ParameterError(
            f"`aoi` must be one shape in the raster's coordinate system, or the path of a vector "
            f"file, got {type(aoi).__name__}. Of a GeoDataFrame, give "
            "`frame.to_crs(crs).union_all()`."
        )
