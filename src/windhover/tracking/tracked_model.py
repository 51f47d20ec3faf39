"""The model as MLflow keeps and serves it: rasters to detections, windows to probabilities.

A module of its own, because MLflow finds its classes and functions by their names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import geopandas
import mlflow.pyfunc
import numpy as np
import pandas as pd
import shapely
import torch
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from pyproj import CRS

from windhover.errors import ParameterError, WindhoverError
from windhover.geometry.georef import WGS84
from windhover.inference.aoi import area_in_scene, read_aoi
from windhover.inference.detector import Detector
from windhover.inference.result_table import is_local, table_of_columns
from windhover.models.apply_calibration import window_scores
from windhover.models.bundle import load_bundle
from windhover.models.network_names import SEGMENTATION_NETWORKS
from windhover.tracking.served_sources import ServedSources

RASTER = "raster"  # the column of paths and addresses
TEXT_COLUMNS = (RASTER, "class", "model", "crs", "wkt")
OUTPUT_COLUMNS = (
    RASTER,
    "class",
    "score",
    "col",
    "row",
    "length_m",
    "width_m",
    "edge",
    "model",
    "crs",
    "wkt",
)


class ServedModel:
    """A model bundle behind `predict`."""

    def __init__(self, folder: str) -> None:
        self._bundle = load_bundle(folder)

    @cached_property
    def _detector(self) -> Detector:
        """The model ready to search, made for the first raster."""
        return Detector(self._bundle)

    @cached_property
    def _network(self) -> torch.nn.Module:
        """The network, built for the first windows."""
        return self._bundle.network()

    def predict(
        self, model_input: Any, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame | NDArray[np.float32]:
        """Return detections in rasters, or the probability of each class in windows.

        Args:
            model_input: a table or mapping with a column `raster` of paths and addresses; or
                windows (N, S, S, C), by themselves or in that column.
            params: for rasters: `threshold` (score, 0 to 1; the model's own by default), `gsd_m`
                (metres per px of rasters without georeference) and `aoi` (polygon as WKT in
                longitude and latitude, or the path of a vector file).

        Returns:
            One row a detection, best first within a raster: `OUTPUT_COLUMNS`, `wkt` in the
            coordinate system `crs` of its raster; or probabilities (N, K).

        Raises:
            MlflowException: of bad input, one sentence.
        """
        try:
            values = _values_of(model_input)
            if values.ndim == 4:
                return self._score_windows(values)
            return self._detect(_names_of(values), params or {})
        except WindhoverError as error:
            raise MlflowException.invalid_parameter_value(error.sentence()) from None

    def _detect(self, rasters: Sequence[str], params: Mapping[str, Any]) -> pd.DataFrame:
        """Return the detections in rasters, all of which are checked before the first search."""
        sources = ServedSources.from_environment()
        threshold = _number(params, "threshold")
        gsd_m = _number(params, "gsd_m")
        thresholds = self._detector.thresholds(threshold)
        aoi = _area(params.get("aoi"), sources)
        allowed = [sources.raster(name) for name in rasters]
        tables = []
        for name, source in zip(rasters, allowed, strict=True):
            with self._detector.open(source, gsd_m) as scene:
                area = None if aoi is None else area_in_scene(aoi, scene.info)
                search = self._detector.plan(scene, thresholds, aoi=area)
                candidates = search.run().candidates
                columns = self._detector.detections(candidates, thresholds, scene)
            tables.append(_rows(name, table_of_columns([columns])))
        if not tables:
            return _rows("", table_of_columns([]))
        return pd.concat(tables, ignore_index=True)

    def _score_windows(self, windows: NDArray[Any]) -> NDArray[np.float32]:
        """Return the probability of each class (N, K) in windows (N, S, S, C) as read.

        Of a network that maps every px it is the share of the window that is to be expected.
        """
        card = self._bundle.card
        expected = (card.window_px, card.window_px, len(card.bands))
        if windows.shape[1:] != expected:
            raise ParameterError(
                f"windows must be (N, {', '.join(map(str, expected))}), got {windows.shape}. Give "
                f"windows of the model, or paths in a column `{RASTER}`."
            )
        try:
            pixels = torch.from_numpy(np.ascontiguousarray(windows, dtype=card.dtype))
        except (TypeError, ValueError, OverflowError) as error:
            raise ParameterError(
                f"windows must hold {card.dtype} ({error}). Give pixels as read."
            ) from None
        normalizer = self._bundle.normalizer()
        with torch.inference_mode():
            outputs = self._network(normalizer(pixels.permute(0, 3, 1, 2)))
        calibration = self._bundle.calibration
        if card.network.name in SEGMENTATION_NETWORKS:  # of each px: the mean is the share
            of_px = window_scores(outputs.numpy(), calibration, class_axis=1)
            shares: NDArray[np.float32] = of_px.mean(axis=(2, 3), dtype=np.float32)
            return shares
        logits = outputs.logits[:, :, 0, 0].numpy()
        return window_scores(logits, calibration).astype(np.float32)


def _values_of(model_input: Any) -> NDArray[Any]:
    """Return what a request holds: names (N,) of rasters, or windows (N, S, S, C)."""
    if isinstance(model_input, pd.DataFrame | Mapping):
        if RASTER not in model_input:
            raise ParameterError(
                f"a request needs the column `{RASTER}`, got {', '.join(map(str, model_input))}. "
                "Give paths or addresses of rasters there."
            )
        model_input = model_input[RASTER]
    return np.asarray(model_input)


def _names_of(values: NDArray[Any]) -> list[str]:
    """Return the names of rasters (N,)."""
    names: list[str] = np.atleast_1d(values).tolist()
    for name in names:
        if not isinstance(name, str) or not name:
            raise ParameterError(
                f"`{RASTER}` must hold paths or addresses, got {name!r}. Give one a row, or "
                "windows (N, S, S, C)."
            )
    return names


def _number(params: Mapping[str, Any], key: str) -> float | None:
    """Return a parameter that is a number, None where it is not given."""
    value = params.get(key)
    if value is None:
        return None
    if not math.isfinite(value) or value < 0:
        raise ParameterError(f"`{key}` must be a number from 0 on, got {value}. Correct it.")
    return float(value)


def _area(aoi: str | None, sources: ServedSources) -> geopandas.GeoSeries | None:
    """Return the polygons of an area of interest: of WKT, or of a file that may be read."""
    if not aoi:
        return None
    if aoi.lstrip().upper().startswith(("POLYGON", "MULTIPOLYGON")):
        try:
            polygon = shapely.from_wkt(aoi)
        except shapely.errors.GEOSException as error:
            raise ParameterError(f"`aoi`: no WKT ({error}). Correct it.") from None
        return geopandas.GeoSeries([polygon], crs=WGS84)
    return read_aoi(sources.polygons(aoi))


def _rows(raster: str, table: geopandas.GeoDataFrame) -> pd.DataFrame:
    """Return the detections in one raster as plain rows with WKT and coordinate system."""
    rows = pd.DataFrame(table.drop(columns=["geometry", "scene", "scene_crs"]))
    rows.insert(0, RASTER, raster)
    crs = [None if local else _crs_text(str(value)) for local, value in _systems(table)]
    rows["crs"] = pd.Series(crs, dtype=object)
    rows["wkt"] = pd.Series(table.geometry.to_wkt().to_list(), dtype=object)
    return rows[list(OUTPUT_COLUMNS)]


def _systems(table: geopandas.GeoDataFrame) -> list[tuple[bool, Any]]:
    """Return for each detection whether it is in a local grid, and its system."""
    return list(zip(is_local(table), table["scene_crs"], strict=True))


def _crs_text(crs: str) -> str:
    """Return a coordinate system as authority and code where it has them, else as WKT."""
    authority = CRS.from_user_input(crs).to_authority()
    return crs if authority is None else ":".join(authority)


def _load_pyfunc(folder: str) -> ServedModel:
    """Return the model of a folder; MLflow calls this function by its name."""
    return ServedModel(folder)


class RunModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc,name-defined]
    """The same for a bundle that a training run keeps, before it was calibrated."""

    def load_context(self, context: Any) -> None:
        """Read the bundle that was kept with the run."""
        self._model = ServedModel(context.artifacts["bundle"])

    # MLflow reads the hint on `model_input` as a schema: of arrays it takes the bare class, and
    # warns of any other hint
    def predict(
        self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> Any:
        """Return detections in rasters, or probabilities of windows, as `ServedModel` does."""
        return self._model.predict(model_input, params)
