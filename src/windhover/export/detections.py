"""The result of a search as a table: its columns, and its files for maps.

One schema in every format: scene, class, score, centre in px of the raster as delivered, sides in
metres, edge flag, model and the box as a polygon through the full affine. Scenes that share a
coordinate system stay in it; where they differ everything is brought to EPSG:4326 and a column
names each scene's own. Equal tables give equal bytes. Refuses to
invent a place on Earth for a scene without georeference: such boxes stay in the scene's local grid
in metres.
"""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from pyproj import Transformer
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from windhover.errors import DataError, FormatError, MissingFileError, ParameterError
from windhover.export.qgis_style import add_style
from windhover.files import atomic_file
from windhover.geometry.boxes import to_xyxy
from windhover.geometry.georef import WGS84, box_polygons, box_sides_m, same_crs, transformer
from windhover.imagery.scenes import Scene

COLUMNS = (
    "scene",
    "class",
    "score",
    "col",
    "row",
    "length_m",
    "width_m",
    "edge",
    "model",
    "geometry",
)
SCENE_CRS = "scene_crs"
LAYER = "detections"
SUFFIXES = (".gpkg", ".parquet", ".geojson", ".csv")
# GDAL writes the time into a GeoPackage; a fixed one makes equal tables equal files
STAMP = "2000-01-01T00:00:00Z"
LONLAT_DECIMALS = 8  # 1 mm


def empty_table() -> geopandas.GeoDataFrame:
    """Return a table without rows, each column of its type, `scene_crs` last."""
    columns: dict[str, Any] = {
        "scene": pd.Series([], dtype="str"),
        "class": pd.Series([], dtype="str"),
        **{
            name: pd.Series([], dtype="float64")
            for name in ("score", "col", "row", "length_m", "width_m")
        },
        "edge": pd.Series([], dtype="bool"),
        "model": pd.Series([], dtype="str"),
        "geometry": geopandas.GeoSeries([]),
        SCENE_CRS: pd.Series([], dtype="str"),
    }
    return geopandas.GeoDataFrame(columns, geometry="geometry")


def to_table(
    candidates: pd.DataFrame,
    scores: NDArray[np.float64],
    scene: Scene,
    model: str,
    sized: bool = True,
) -> geopandas.GeoDataFrame:
    """Return a scene's detections in its own coordinate system, or its local grid in metres.

    Args:
        candidates: columns class, col, row, w, h (px of `scene`'s grid), edge.
        scores: (N,) calibrated probabilities.
        scene: the grid that the candidates are in.
        model: the model's name.
        sized: whether the model knows sizes; if not, boxes are windows and the lengths of their
            sides are unknown.

    Returns:
        Columns `COLUMNS` and `scene_crs`; in the order of the candidates.
    """
    info, (ratio_x, ratio_y) = scene.info, scene.ratio_xy
    col, row = (
        candidates[name].to_numpy(np.float64) * ratio
        for name, ratio in (("col", ratio_x), ("row", ratio_y))
    )
    w, h = (
        candidates[name].to_numpy(np.float64) * ratio
        for name, ratio in (("w", ratio_x), ("h", ratio_y))
    )
    boxes = to_xyxy(col, row, w, h)
    sides = box_sides_m(boxes, info.transform, info.crs)
    sides[~np.isfinite(sides) | (not sized) | (not info.gsd_known)] = np.nan
    count = len(candidates)
    columns: dict[str, Any] = {
        "scene": pd.Series([info.name] * count, dtype="str"),
        "class": pd.Series(candidates["class"].to_numpy(), dtype="str"),
        "score": np.asarray(scores, np.float64),
        "col": col,
        "row": row,
        "length_m": sides.max(axis=1, initial=-np.inf) if count else np.zeros(0),
        "width_m": sides.min(axis=1, initial=np.inf) if count else np.zeros(0),
        "edge": candidates["edge"].to_numpy(bool),
        "model": pd.Series([model] * count, dtype="str"),
        "geometry": box_polygons(boxes, info.transform) if count else geopandas.GeoSeries([]),
        SCENE_CRS: pd.Series([info.crs] * count, dtype="str"),
    }
    return geopandas.GeoDataFrame(columns, geometry="geometry").reset_index(drop=True)


def concatenated(tables: Sequence[geopandas.GeoDataFrame]) -> geopandas.GeoDataFrame:
    """Return several scenes' tables as one, each scene's boxes still in its own coordinate system."""
    filled = [table for table in tables if len(table)]
    if not filled:
        return empty_table()
    return geopandas.GeoDataFrame(pd.concat(filled, ignore_index=True), geometry="geometry")


def save_table(table: geopandas.GeoDataFrame, path: str | Path) -> None:
    """Write a table whose scenes may have different coordinate systems: GeoParquet without one,
    `scene_crs` as text.
    """
    with atomic_file(path) as temporary:
        table[[*COLUMNS, SCENE_CRS]].to_parquet(temporary, index=False)


def load_table(path: str | Path) -> geopandas.GeoDataFrame:
    """Read what `save_table` wrote.

    Raises:
        MissingFileError: no such file.
        FormatError: not such a table.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Run the detect stage first.")
    try:
        table = geopandas.read_parquet(path)
    except (ValueError, OSError, KeyError) as error:
        raise FormatError(
            f"{path}: not a table of detections ({' '.join(str(error).split())[:120]}). Run detect again."
        ) from None
    missing = [name for name in (*COLUMNS, SCENE_CRS) if name not in table.columns]
    if missing:
        raise FormatError(f"{path}: has no column `{missing[0]}`. Run detect again.")
    return table


def is_local(table: geopandas.GeoDataFrame) -> NDArray[np.bool_]:
    """Tell which detections lie in a local grid, on no place on Earth."""
    return np.asarray(table[SCENE_CRS].isna(), bool)


def for_map(
    table: geopandas.GeoDataFrame, all_crs: Sequence[str | None] = ()
) -> geopandas.GeoDataFrame:
    """Return the detections in one coordinate system.

    Args:
        table: from `to_table`; either all georeferenced or all local.
        all_crs: of every scene searched, so that scenes without detections count too.

    Returns:
        `COLUMNS` in the scenes' own system where they share one; else in EPSG:4326 with `scene_crs`
        as last column.

    Raises:
        DataError: local and georeferenced detections in one table.
    """
    systems = list(
        dict.fromkeys([*all_crs, *(None if pd.isna(crs) else crs for crs in table[SCENE_CRS])])
    )
    if None in systems and len(systems) > 1:
        raise DataError(
            "scenes with and without georeference cannot share one map. Export them apart."
        )
    if not systems or systems == [None]:
        return geopandas.GeoDataFrame(table[list(COLUMNS)], geometry="geometry")
    if all(same_crs(systems[0], crs) for crs in systems):
        return geopandas.GeoDataFrame(table[list(COLUMNS)], geometry="geometry", crs=systems[0])
    lonlat = geopandas.GeoDataFrame(table[[*COLUMNS, SCENE_CRS]], geometry="geometry")
    return lonlat.set_geometry(geopandas.GeoSeries(_lonlat(table), index=table.index, crs=WGS84))


def _lonlat(table: geopandas.GeoDataFrame) -> NDArray[np.object_]:
    """Return every box in longitude and latitude, cut at the antimeridian, counter-clockwise (RFC
    7946).
    """
    geometries = table.geometry.to_numpy()
    result = np.empty(len(table), object)
    for crs, rows in table.groupby(SCENE_CRS, sort=False).indices.items():
        moved = _reprojected(geometries[rows], transformer(str(crs), WGS84))
        result[rows] = [_cut_at_antimeridian(polygon) for polygon in moved]
    return result


def _reprojected(geometries: NDArray[np.object_], way: Transformer) -> Any:
    return shapely.transform(
        geometries, lambda xy: np.stack(way.transform(xy[:, 0], xy[:, 1]), axis=1)
    )


def _cut_at_antimeridian(polygon: BaseGeometry) -> BaseGeometry:
    """Return a small polygon in longitudes of -180..180, in two parts where it crosses the
    antimeridian.
    """
    left, _, right, _ = polygon.bounds
    if right - left > 180:  # its corners lie on both sides: bring them together east of 180
        polygon = shapely.transform(
            polygon,
            lambda xy: np.stack([np.where(xy[:, 0] < 0, xy[:, 0] + 360, xy[:, 0]), xy[:, 1]], 1),
        )
    elif right <= 180 and left >= -180:
        return oriented(polygon)
    parts = []
    for turn in (-360, 0, 360):
        shifted = affinity.translate(polygon, turn)
        part = shapely.intersection(shifted, shapely.box(-180, -90, 180, 90))
        if part.area > 0:
            parts.append(part)
    whole: Any = parts[0] if len(parts) == 1 else shapely.multipolygons(np.array(parts))
    return oriented(whole)


def oriented(polygon: BaseGeometry) -> BaseGeometry:
    """Return the polygon with its outer rings counter-clockwise."""
    turned: BaseGeometry = shapely.orient_polygons(polygon)
    return turned


def write_map(table: geopandas.GeoDataFrame, path: str | Path) -> None:
    """Write a map table (from `for_map`) in the format of the path's suffix, atomically.

    Args:
        table: one coordinate system, or none for a local grid.
        path: `.gpkg`, `.parquet`, `.geojson` or `.csv`.

    Raises:
        ParameterError: another suffix.
        DataError: a local grid as GeoJSON, which knows longitude and latitude only.
    """
    path = Path(path)
    check_suffix(path, georeferenced=True)
    if path.suffix == ".geojson" and table.crs is None and len(table):
        raise DataError(
            f"{path}: boxes in a local grid have no longitude and latitude for GeoJSON. Write .gpkg, .parquet or .csv."
        )
    writers = {
        ".gpkg": _write_gpkg,
        ".parquet": _write_parquet,
        ".geojson": _write_geojson,
        ".csv": _write_csv,
    }
    with atomic_file(path) as temporary:
        try:
            writers[path.suffix](table, temporary)
        except (
            DataSourceError,
            sqlite3.Error,
        ) as error:  # a disk that is full, or a file system without locks
            raise OSError(f"{path}: {' '.join(str(error).split())}") from None


def check_suffix(path: Path, georeferenced: bool) -> None:
    """Refuse a path that no detections can be written to, before the work.

    Raises:
        ParameterError: an unknown suffix.
        DataError: GeoJSON for a scene without georeference.
    """
    if path.suffix not in SUFFIXES:
        raise ParameterError(f"{path}: must end in one of {', '.join(SUFFIXES)}. Rename it.")
    if path.suffix == ".geojson" and not georeferenced:
        raise DataError(
            f"{path}: a scene without georeference has no longitude and latitude for GeoJSON. Write .gpkg or .parquet."
        )


def _write_parquet(table: geopandas.GeoDataFrame, path: Path) -> None:
    table.to_parquet(path, index=False)


def _write_csv(table: geopandas.GeoDataFrame, path: Path) -> None:
    flat = pd.DataFrame(table.drop(columns="geometry"))
    flat["geometry"] = shapely.to_wkt(table.geometry.to_numpy(), rounding_precision=9)
    flat.to_csv(path, index=False, lineterminator="\n")


def _write_gpkg(table: geopandas.GeoDataFrame, path: Path) -> None:
    kinds = set(table.geom_type)
    with _fixed_time(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # a local grid has none
        pyogrio.write_dataframe(
            table,
            path,
            layer=LAYER,
            driver="GPKG",
            geometry_type="Polygon" if kinds <= {"Polygon"} else "MultiPolygon",
            promote_to_multi="MultiPolygon" in kinds,
            dataset_options={
                "VERSION": "1.2"
            },  # newer ones make older readers warn, and add nothing used here
        )
    add_style(
        path, LAYER
    )  # aside too: SQLite's own journal of a killed run must not lie beside the finished file


@contextmanager
def _fixed_time() -> Iterator[None]:
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": STAMP})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})


def _write_geojson(table: geopandas.GeoDataFrame, path: Path) -> None:
    """Write RFC 7946: longitude and latitude, right-hand rule, cut at the antimeridian; one feature
    a line.
    """
    lonlat = table.geometry.to_numpy()
    if len(table):
        lonlat = _lonlat(
            table.assign(
                **{SCENE_CRS: WGS84 if table.crs.to_epsg() == 4326 else table.crs.to_wkt()}
            )
        )
    properties = pd.DataFrame(table.drop(columns="geometry")).to_dict("records")
    with path.open("w", encoding="utf-8") as stream:
        stream.write('{"type": "FeatureCollection", "features": [')
        for number, (geometry, record) in enumerate(zip(lonlat, properties, strict=True)):
            feature = {
                "type": "Feature",
                "properties": _plain(record),
                "geometry": _rounded(shapely.geometry.mapping(geometry)),
            }
            stream.write(
                ("\n" if number == 0 else ",\n")
                + json.dumps(feature, allow_nan=False, ensure_ascii=False)
            )
        stream.write("\n]}\n")


def _plain(record: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row with NaN as null and numpy's scalars as Python's."""
    values = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in record.items()
    }
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in values.items()
    }


def _rounded(geometry: Mapping[str, Any]) -> dict[str, Any]:
    def walk(part: Any) -> Any:
        return (
            round(part, LONLAT_DECIMALS)
            if isinstance(part, float)
            else [walk(inner) for inner in part]
        )

    return {"type": geometry["type"], "coordinates": walk(geometry["coordinates"])}
