"""A result as a GeoPackage of three styled layers: detections, scenes with counts, searched area.

Equal tables give equal bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import geopandas
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from windhover.disk_space import errors_of_writing
from windhover.errors import FormatError
from windhover.export.detection_summary import DetectionSummary
from windhover.export.map_files import LAYER, SCENES_LAYER, SEARCHED_LAYER
from windhover.export.qgis_style import add_style
from windhover.export.scene_layers import scenes_layer, searched_layer

# GDAL writes the time into a GeoPackage; a fixed one makes equal tables equal files
STAMP = "2000-01-01T00:00:00Z"
# newer versions make older readers warn, and add nothing used here
GEOPACKAGE_VERSION = "1.2"
# of the metadata of the layer `detections`: the summary of the search. In those of the file, GDAL
# would write a sidecar whenever the file is read.
SUMMARY_ITEM = "WINDHOVER"


def write_geopackage(
    table: geopandas.GeoDataFrame, path: Path, summary: DetectionSummary | None
) -> None:
    """Write a map table as the layer `detections`, with its style.

    Args:
        table: from `to_map_table`.
        path: of the file, which is not there yet.
        summary: of the search, for the layers `scenes` and `searched`; None for a file without.

    Raises:
        OSError: it cannot be written.
    """
    layers = {LAYER: table}
    about = {}
    if summary is not None and summary.notes:
        about["DESCRIPTION"] = " ".join(summary.notes)  # a GIS shows it
    if summary is not None and summary.scenes:
        layers[SCENES_LAYER] = scenes_layer(summary, table.crs)
        layers[SEARCHED_LAYER] = searched_layer(summary, table.crs)
    of_layer: dict[str, Any] = {}
    if summary is not None:
        of_layer = {"layer_metadata": {SUMMARY_ITEM: summary.model_dump_json()}}
    with fixed_gdal_time(), errors_of_writing(path):
        for name, layer in layers.items():
            write_layer(
                layer,
                path,
                name,
                driver="GPKG",
                append=name != LAYER,
                dataset_options={"VERSION": GEOPACKAGE_VERSION},
                layer_options=about if name == LAYER else {},
                **(of_layer if name == LAYER else {}),
            )
        # In the temporary file too: a killed run's SQLite journal must not be left next to the
        # finished one.
        add_style(path, list(layers))


def read_geopackage_summary(path: Path) -> DetectionSummary:
    """Return the summary of the search that a GeoPackage holds.

    Raises:
        FormatError: it holds none, as files of versions before 2026-11-27.
    """
    try:
        metadata = pyogrio.read_info(path, layer=LAYER)["layer_metadata"] or {}
        return DetectionSummary.model_validate_json(metadata[SUMMARY_ITEM])
    except (KeyError, ValueError, OSError, DataSourceError, DataLayerError):
        raise FormatError(
            f"{path}: holds no summary of a search. Give a .gpkg or .parquet that this version of "
            "`windhover detect` wrote."
        ) from None


def write_layer(
    table: geopandas.GeoDataFrame, path: Path | BytesIO, layer: str, *, driver: str, **options: Any
) -> None:
    """Write a table of polygons by GDAL; also one without rows, with its columns.

    Raises:
        DataSourceError, DataLayerError: GDAL cannot.
    """
    types = set(table.geom_type)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # a local grid has none
        pyogrio.write_dataframe(
            table,
            path,
            layer=layer,
            driver=driver,
            geometry_type="Polygon" if types <= {"Polygon"} else "MultiPolygon",
            promote_to_multi="MultiPolygon" in types,
            **options,
        )


@contextmanager
def fixed_gdal_time() -> Iterator[None]:
    """Make GDAL write `STAMP` for the time of the run."""
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": STAMP})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
