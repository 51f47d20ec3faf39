"""The catalog: what scenes there are, their labels and areas, as three tables and a report.

Positions are in native px of each scene's raster. Holds the tables' columns and how they are saved;
checks no raster.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
from affine import Affine

from windhover.errors import FormatError, MissingFileError
from windhover.files import atomic_folder, write_json
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.scenes import Scene

SCENE_COLUMNS = (
    "scene", "path", "width_px", "height_px", "bands", "dtype", "nodata", "crs", "transform", "gsd_x_m", "gsd_y_m",
    "place", "split", "labeled", "footprint_wkt_4326",
)  # fmt: skip
LABEL_COLUMNS = (
    "scene",
    "class",
    "role",
    "col",
    "row",
    "left",
    "top",
    "right",
    "bottom",
    "length_m",
    "width_m",
    "source",
    "geometry",
)
AREA_COLUMNS = ("scene", "role", "split", "geometry")


@dataclass(frozen=True)
class Catalog:
    """Scenes, labels and areas.

    Attributes:
        scenes: one row a scene, sorted by name.
        labels: one row a label, `left, top, right, bottom` its box; `geometry` its shape as
            delivered; native px.
        areas: polygons with a role (`complete`, `positive_only`, `ignore`), native px.
        report: the training GSD and bands, and what was found and dropped; plain values.
    """

    scenes: pd.DataFrame
    labels: geopandas.GeoDataFrame
    areas: geopandas.GeoDataFrame
    report: dict[str, Any] = field(default_factory=dict)

    def split(self, name: str) -> Catalog:
        """Return the part of one split."""
        scenes = self.scenes[self.scenes["split"] == name].reset_index(drop=True)
        kept = set(scenes["scene"])
        labels = self.labels[self.labels["scene"].isin(kept)].reset_index(drop=True)
        areas = self.areas[self.areas["scene"].isin(kept)].reset_index(drop=True)
        return Catalog(scenes, labels, areas, self.report)

    def labels_of(self, scene: str) -> geopandas.GeoDataFrame:
        """Return the labels on one scene."""
        return self.labels[self.labels["scene"] == scene]

    def __iter__(self) -> Iterator[Any]:
        """Yield the scenes' rows, as named tuples."""
        return self.scenes.itertuples(index=False)

    @property
    def gsd_m(self) -> float:
        """GSD at which the scenes are seen in training, m."""
        return float(self.report["training_gsd_m"])

    @property
    def bands(self) -> list[str]:
        """Names of the bands that are read, in order."""
        return list(self.report["bands"])

    @property
    def dtype(self) -> str:
        """Number type of the pixels, the same in all scenes."""
        return str(self.scenes["dtype"].iloc[0])

    @property
    def classes(self) -> list[str]:
        """Names of the classes to be found, sorted; ignored ones are not among them."""
        return sorted(self.labels.loc[self.labels["role"] == "object", "class"].unique())


def scene_info(row: Any) -> SceneInfo:
    """Return what the catalog's row of a scene says, without opening the file."""
    return SceneInfo(
        name=row.scene,
        path=row.path,
        width_px=int(row.width_px),
        height_px=int(row.height_px),
        bands=tuple(row.bands),
        dtype=row.dtype,
        nodata=None if pd.isna(row.nodata) else float(row.nodata),
        crs=None if pd.isna(row.crs) else row.crs,
        transform=Affine(*row.transform),
        gsd_m=(float(row.gsd_x_m), float(row.gsd_y_m)),
    )


def open_catalog_scene(
    row: Any, target_gsd_m: float | None = None, bands: list[str] | None = None
) -> Scene:
    """Open the scene of a catalog's row at a GSD; a stated GSD of an image without georeference is
    in the row.

    Raises:
        MissingFileError: the raster is no longer there.
    """
    path = str(row.path)
    if "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
        raise MissingFileError(
            f"{path}: the raster of scene {row.scene} is gone. Put it back, or run the scenes stage again."
        )
    return Scene(scene_info(row), target_gsd_m, bands)


def empty_areas() -> geopandas.GeoDataFrame:
    """Return an areas table without rows."""
    return geopandas.GeoDataFrame({name: [] for name in AREA_COLUMNS}, geometry="geometry")


def save_catalog(catalog: Catalog, folder: str | Path) -> None:
    """Write the catalog's tables and report, the whole folder at once."""
    with atomic_folder(folder) as temporary:
        write_catalog(catalog, temporary)


def write_catalog(catalog: Catalog, folder: Path) -> None:
    """Write the catalog's tables and report into a folder that is there."""
    catalog.scenes[list(SCENE_COLUMNS)].to_parquet(folder / "scenes.parquet", index=False)
    catalog.labels[list(LABEL_COLUMNS)].to_parquet(folder / "labels.parquet", index=False)
    catalog.areas[list(AREA_COLUMNS)].to_parquet(folder / "areas.parquet", index=False)
    write_json(folder / "report.json", catalog.report)


def load_catalog(folder: str | Path) -> Catalog:
    """Read a catalog.

    Raises:
        MissingFileError: the folder or one of its tables is not there.
        FormatError: a table is broken or lacks a column.
    """
    folder = Path(folder)
    for name in ("scenes.parquet", "labels.parquet", "areas.parquet", "report.json"):
        if not (folder / name).is_file():
            raise MissingFileError(
                f"{folder / name}: no such file. Run the scenes stage first: dvc repro scenes."
            )
    try:
        scenes = pd.read_parquet(folder / "scenes.parquet")
        labels = geopandas.read_parquet(folder / "labels.parquet")
        areas = geopandas.read_parquet(folder / "areas.parquet")
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise FormatError(
            f"{folder}: the catalog cannot be read ({error}). Run the scenes stage again."
        ) from None
    for table, columns, name in (
        (scenes, SCENE_COLUMNS, "scenes"),
        (labels, LABEL_COLUMNS, "labels"),
        (areas, AREA_COLUMNS, "areas"),
    ):
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise FormatError(
                f"{folder / name}.parquet: has no column {missing[0]!r}. Run the scenes stage again."
            )
    return Catalog(scenes, labels, areas, report)
