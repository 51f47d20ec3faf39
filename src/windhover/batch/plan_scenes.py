"""Rasters as scenes of a plan: each opened once, its search planned, and all but its row forgotten.

A raster that cannot be opened is kept with its reason. Reads no pixel, except where radiometry is
measured or overviews are compared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import geopandas
import numpy as np
from affine import Affine
from shapely.geometry.base import BaseGeometry

from windhover.batch.divide_tasks import SceneBlocks
from windhover.batch.scene_row import PlannedScene
from windhover.detection.check_against_model import check_against_model, has_ground
from windhover.detection.detect_rasters import files_state
from windhover.detection.detect_request import DetectRequest, inspect_scenes, with_assumed_gsd
from windhover.detection.stac_input import StacScene
from windhover.detection.stac_scenes import named_by_item
from windhover.detection.usable_ground import check_mask
from windhover.errors import WindhoverError
from windhover.imagery.rasters import SceneInfo, files_read, scene_name
from windhover.inference.aoi import area_in_scene, read_aoi
from windhover.inference.block_search import block_bounds
from windhover.inference.detector import Detector
from windhover.inference.scene_search import block_km2

OUTSIDE = "no part of it lies in the area to be searched"


class ScenePlan(NamedTuple):
    """A scene of a plan, and the sizes of its blocks; None where nothing of it is searched."""

    scene: PlannedScene
    blocks: SceneBlocks | None


class ScenePlanner:
    """Plans scenes one after another for one model and one request.

    Attributes:
        first_error: of a raster that could not be opened; None where all could.
    """

    def __init__(
        self,
        request: DetectRequest,
        detector: Detector,
        thresholds: dict[str, float],
        *,
        items: Mapping[str, StacScene],
    ) -> None:
        """Read the area of interest.

        Args:
            request: what to search and how; its scenes are not opened.
            detector: of the model.
            thresholds: score to reach, by class.
            items: of STAC, by the path of their raster.

        Raises:
            WindhoverError: a child that names the fault of the file of the area.
        """
        self._request = request
        self._detector = detector
        self._thresholds = thresholds
        self._items = items
        self._shapes: geopandas.GeoSeries | None = None
        if request.aoi is not None:
            self._shapes = read_aoi(request.aoi)
        self.first_error: WindhoverError | None = None

    def plan(self, number: int, path: str) -> ScenePlan:
        """Return the plan of a raster.

        Args:
            number: of the scene in the plan.
            path: anything GDAL opens.
        """
        try:
            info = self._inspect(path)
            area = self._area_in(info)
            if not has_ground(info, area):
                return ScenePlan(self._unsearched(number, info, OUTSIDE, is_outside=True), None)
            check_against_model(self._request, self._detector.bundle, [info], [area])
            return self._plan_blocks(number, info, area)
        except WindhoverError as error:
            self.first_error = self.first_error or error
            return ScenePlan(self._unsearched(number, _unknown(path), error.sentence()), None)

    def _inspect(self, path: str) -> SceneInfo:
        """Return what a raster is, named by its STAC item if it has one."""
        (info,) = inspect_scenes(self._request, [path])
        if self._request.gsd_m == "unknown":
            (info,) = with_assumed_gsd([info], self._detector.bundle.card.gsd_m)
        return named_by_item(info, self._items)

    def _area_in(self, info: SceneInfo) -> BaseGeometry | None:
        """Return the area of interest in a scene's system, None for all of it."""
        return None if self._shapes is None else area_in_scene(self._shapes, info)

    def _plan_blocks(self, number: int, info: SceneInfo, area: BaseGeometry | None) -> ScenePlan:
        """Return the plan of a raster that fits the model."""
        mpx: list[float] = []
        km2: list[float] = []
        bounds: list[tuple[int, int, int, int]] = []
        with self._detector.open(info) as scene:
            check_mask(self._request, scene)
            search = self._detector.plan(
                scene, self._thresholds, aoi=area, block_px=self._request.block_px
            )
            for scale_pass in search.passes:
                for block in scale_pass.blocks:
                    n_windows = (block.row1 - block.row0) * (block.col1 - block.col0)
                    mpx.append(scale_pass.block_area_px(block) / 1e6)
                    km2.append(block_km2(scale_pass, n_windows))
                    covered = block_bounds(scale_pass, block)
                    bounds.append((covered.top, covered.left, covered.bottom, covered.right))
        if not mpx:
            return ScenePlan(self._unsearched(number, info, OUTSIDE, is_outside=True), None)
        names = [absolute_path(name) for name in files_read(info.path, info.files)]
        item = self._items.get(info.path)
        planned = PlannedScene(
            number=number,
            info=info,
            opened_path=absolute_path(info.path),
            n_blocks=len(mpx),
            mpx=sum(mpx),
            files=tuple(tuple(state) for state in files_state(names)),
            area=area,
            stack=b"" if item is None else item.stack,
        )
        known_km2 = np.array(km2) if info.is_gsd_known else None
        blocks = SceneBlocks(number, np.array(mpx), known_km2, np.array(bounds))
        return ScenePlan(planned, blocks)

    def _unsearched(
        self, number: int, info: SceneInfo, reason: str, *, is_outside: bool = False
    ) -> PlannedScene:
        """Return a scene of which nothing is searched."""
        return PlannedScene(
            number=number,
            info=info,
            opened_path=absolute_path(info.path),
            n_blocks=0,
            mpx=0.0,
            unsearched=reason,
            is_outside=is_outside,
        )


def absolute_path(path: str) -> str:
    """Return the absolute path of a file; other names that GDAL opens stay as they are."""
    if not Path(path).exists():
        return path
    return os.path.abspath(path)


def _unknown(path: str) -> SceneInfo:
    """Return the description of a raster that cannot be opened."""
    return SceneInfo(
        name=scene_name(path),
        path=path,
        width_px=0,
        height_px=0,
        bands=(),
        dtype="",
        nodata=None,
        crs=None,
        transform=Affine.identity(),
        gsd_m=(0.0, 0.0),
        is_gsd_known=False,
    )


def known_infos(scenes: Sequence[PlannedScene]) -> list[SceneInfo]:
    """Return the descriptions of the scenes whose raster could be opened."""
    return [scene.info for scene in scenes if scene.info.width_px]
