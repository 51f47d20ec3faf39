"""The polygons of all mapped rasters as one GeoPackage, with its style.

One layer holds the rasters of one coordinate system, so that no border is moved. Written map by
map, a few thousand polygons at a time; equal maps give equal bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pyogrio
import rasterio
from affine import Affine
from rasterio.crs import CRS

from windhover.export.coverage_polygons import Region, region_table
from windhover.export.coverage_style import write_polygon_style
from windhover.export.geopackage import GEOPACKAGE_VERSION, fixed_gdal_time
from windhover.files import atomic_file

POLYGONS = "coverage.gpkg"
LAYER = "coverage"
ROWS_AT_ONCE = 5000  # of polygons that are written


@contextmanager
def polygon_file(path: Path, classes: Sequence[str]) -> Iterator[PolygonFile]:
    """Open a GeoPackage of polygons; it replaces the one that is there when all is written."""
    with atomic_file(path) as temporary, fixed_gdal_time():
        polygons = PolygonFile(temporary, classes)
        yield polygons
        polygons.write_styles()


class PolygonFile:
    """A GeoPackage that is being written: scene, class, km2 and mean_probability of polygons."""

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        """Take a path at which nothing is yet, and the (K,) names of the classes."""
        self._path = path
        self._classes = classes
        self._systems: list[CRS | None] = []
        self._begun: set[str] = set()

    def add(self, scene: str, regions: Iterator[Region], class_map: Path, *, is_km2: bool) -> None:
        """Write the regions of a raster; also of one without any.

        Args:
            scene: name of the raster.
            regions: of its class map.
            class_map: whose grid the regions are on.
            is_km2: whether areas are known.
        """
        with rasterio.open(class_map) as dataset:
            crs = dataset.crs
            transform = dataset.transform
        layer = self._layer_of(crs)
        self._append([], scene, layer=layer, transform=transform, crs=crs)
        while rows := list(islice(regions, ROWS_AT_ONCE)):
            if not is_km2:
                rows = [row._replace(km2=float("nan")) for row in rows]
            self._append(rows, scene, layer=layer, transform=transform, crs=crs)

    def write_styles(self) -> None:
        """Write the style of each layer."""
        layers = [self._layer_of(crs) for crs in self._systems]
        write_polygon_style(self._path, layers, self._classes)

    def _layer_of(self, crs: CRS | None) -> str:
        """Return the layer of a coordinate system: `coverage`, then `coverage_2`, ..."""
        if crs not in self._systems:
            self._systems.append(crs)
        number = self._systems.index(crs) + 1
        return LAYER if number == 1 else f"{LAYER}_{number}"

    def _append(
        self,
        regions: Sequence[Region],
        scene: str,
        *,
        layer: str,
        transform: Affine,
        crs: CRS | None,
    ) -> None:
        """Write regions behind those of a layer; it is made where there is none."""
        table = region_table(regions, self._classes, transform, crs)
        table.insert(0, "scene", scene)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")  # a local grid has none
            pyogrio.write_dataframe(
                table.astype({"scene": "str"}),
                self._path,
                layer=layer,
                driver="GPKG",
                geometry_type="MultiPolygon",
                promote_to_multi=True,
                append=layer in self._begun,
                dataset_options={"VERSION": GEOPACKAGE_VERSION},
            )
        self._begun.add(layer)
