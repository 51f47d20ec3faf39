"""The catalog: the scenes of a data set, their labels and areas, as three tables and a report.

Positions are in native px of each scene's raster. Holds the tables' columns and how they are saved
and read; checks no raster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
from affine import Affine
from geopandas import GeoDataFrame
from numpy.typing import NDArray

from windhover.dataset.catalog_report import CatalogReport
from windhover.dataset.catalog_tables import (
    AREA_COLUMNS,
    AREAS,
    BOX_COLUMNS,
    LABEL_COLUMNS,
    LABELS,
    SCENE_COLUMNS,
    SCENES,
)
from windhover.dataset.class_maps import ClassMap
from windhover.errors import FormatError, MissingFileError
from windhover.files import atomic_folder
from windhover.geometry.arrays import Floats
from windhover.geometry.objects import Objects, Role
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.scenes import Scene
from windhover.table_record import Column, TableSchema

# checked only where they are: catalogs of earlier versions have none
ORIGINS = TableSchema(
    "scenes", dict.fromkeys(("origin_col_px", "origin_row_px"), Column("integer", least=0))
)
# only where the task is coverage
CLASS_MAPS = TableSchema("scenes", {"class_map": Column("text", nullable=True)})
REPORT_FILE = "report.json"


@dataclass(frozen=True)
class SceneRow:
    """One scene of the catalog, a row of its table of scenes.

    Attributes:
        scene: name.
        path: of the raster, from the project's root where it is inside.
        width_px: native.
        height_px: native.
        bands: names, in the file's order.
        dtype: of the pixels.
        nodata: value of missing pixels, None where the raster has none.
        crs: WKT or authority code, None for a local grid.
        transform: the six coefficients of the affine, pixel corner to world.
        gsd_x_m: native, along columns.
        gsd_y_m: native, along rows.
        place: location group; scenes of one place share a split.
        split: train, val or test.
        labeled: whether its labels are known to be all there are on labeled ground.
        footprint_wkt_4326: outline in longitude and latitude, None for a local grid.
        origin_col_px: column of a spatial block's first px in the raster it is cut from.
        origin_row_px: row of it.
        class_map: file of its class map, where the task is coverage and it is labeled.
    """

    scene: str
    path: str
    width_px: int
    height_px: int
    bands: tuple[str, ...]
    dtype: str
    nodata: float | None
    crs: str | None
    transform: tuple[float, ...]
    gsd_x_m: float
    gsd_y_m: float
    place: str
    split: str
    labeled: bool
    footprint_wkt_4326: str | None
    origin_col_px: int = 0
    origin_row_px: int = 0
    class_map: str | None = None

    @classmethod
    def from_record(cls, record: Mapping[Any, Any]) -> SceneRow:
        """Return the row of a table's record, its numbers and missing values made plain."""
        return cls(
            scene=str(record["scene"]),
            path=str(record["path"]),
            width_px=int(record["width_px"]),
            height_px=int(record["height_px"]),
            bands=tuple(record["bands"]),
            dtype=str(record["dtype"]),
            nodata=_none_if_missing(record["nodata"], float),
            crs=_none_if_missing(record["crs"], str),
            transform=tuple(float(value) for value in record["transform"]),
            gsd_x_m=float(record["gsd_x_m"]),
            gsd_y_m=float(record["gsd_y_m"]),
            place=str(record["place"]),
            split=str(record["split"]),
            labeled=bool(record["labeled"]),
            footprint_wkt_4326=_none_if_missing(record["footprint_wkt_4326"], str),
            **{name: int(record.get(name, 0)) for name in ORIGINS.columns},
            class_map=_none_if_missing(record.get("class_map"), str),
        )

    @property
    def gsd_m(self) -> tuple[float, float]:
        """Native GSD along x and y, m."""
        return self.gsd_x_m, self.gsd_y_m

    @property
    def area_m2(self) -> float:
        """Ground that the whole raster covers, m2."""
        return self.width_px * self.gsd_x_m * self.height_px * self.gsd_y_m


def _none_if_missing(value: Any, as_type: type) -> Any:
    """Return a table's value as a type, None where the table has none."""
    return None if pd.isna(value) else as_type(value)


@dataclass(frozen=True)
class Catalog:
    """Scenes, labels and areas; iterating yields the scenes as `SceneRow`.

    Attributes:
        scenes: one row a scene, sorted by name; `SCENE_COLUMNS`.
        labels: one row a label, `left, top, right, bottom` its box and `geometry` its shape as
            delivered; native px; `LABEL_COLUMNS`.
        areas: polygons with a role (`complete`, `positive_only`, `ignore`), native px.
        report: the training GSD and bands, and what was found and dropped.
    """

    scenes: pd.DataFrame
    labels: geopandas.GeoDataFrame
    areas: geopandas.GeoDataFrame
    report: CatalogReport

    def __iter__(self) -> Iterator[SceneRow]:
        for record in self.scenes.to_dict("records"):
            yield SceneRow.from_record(record)

    def split(self, name: str) -> Catalog:
        """Return the part of one split."""
        scenes = self.scenes[self.scenes["split"] == name].reset_index(drop=True)
        names = set(scenes["scene"])
        labels = self.labels[self.labels["scene"].isin(names)].reset_index(drop=True)
        areas = self.areas[self.areas["scene"].isin(names)].reset_index(drop=True)
        return Catalog(scenes, labels, areas, self.report)

    def labels_of(self, scene: str) -> geopandas.GeoDataFrame:
        """Return the labels on one scene."""
        return self.labels.iloc[self._label_rows.get(scene, [])]

    def areas_of(self, scene: str) -> geopandas.GeoDataFrame:
        """Return the areas on one scene."""
        return self.areas[self.areas["scene"] == scene]

    def objects_of(
        self, scene: str, ratio_xy: tuple[float, float], classes: Sequence[str]
    ) -> Objects:
        """Return the labels on one scene as objects, ignored ones included.

        Args:
            scene: name.
            ratio_xy: native px per px of the grid in which the objects are wanted.
            classes: names in the order of their index; an ignored label has the index -1.

        Raises:
            ValueError: a label that counts is of none of the classes.
        """
        labels = self.labels_of(scene)
        boxes = _boxes_of(labels, ratio_xy)
        sizes = boxes[:, 2:] - boxes[:, :2]
        sizes[(sizes <= 0).all(axis=1)] = np.nan  # points have no size
        centers = labels[["col", "row"]].to_numpy(np.float64).reshape(-1, 2) / ratio_xy
        is_object = (labels["role"] == "object").to_numpy()
        class_index = np.full(len(labels), -1, np.int64)
        for row in np.flatnonzero(is_object):
            class_index[row] = classes.index(labels["class"].iloc[row])
        role = np.where(is_object, Role.OBJECT, Role.IGNORE).astype(np.int8)
        return Objects(centers, sizes, class_index, role)

    def ignored_boxes_of(self, scene: str, ratio_xy: tuple[float, float]) -> Floats:
        """Return the boxes of one scene's ignored labels, (N, 4) left, top, right, bottom.

        Points are boxes without extent. The edges are exact, as delivered: center and size of
        `objects_of` give them back with rounding only.

        Args:
            scene: name.
            ratio_xy: native px per px of the grid in which the boxes are wanted.
        """
        labels = self.labels_of(scene)
        return _boxes_of(labels[labels["role"] != "object"], ratio_xy)

    @cached_property
    def _label_rows(self) -> dict[str, NDArray[np.int64]]:
        """Scene -> rows of its labels."""
        rows: dict[str, NDArray[np.int64]] = self.labels.groupby("scene").indices
        return rows

    @property
    def gsd_m(self) -> float:
        """GSD at which the scenes are seen in training, m."""
        return self.report.training_gsd_m

    @property
    def bands(self) -> list[str]:
        """Names of the bands that are read, in order."""
        return list(self.report.bands)

    @property
    def dtype(self) -> str:
        """Number type of the pixels, the same in all scenes."""
        return str(self.scenes["dtype"].iloc[0])

    @property
    def is_coverage(self) -> bool:
        """Whether its classes are ground without boxes, labeled by class maps."""
        return self.report.coverage_classes is not None

    @property
    def classes(self) -> list[str]:
        """Names of the classes to be found, sorted; ignored ones are not among them."""
        if self.report.coverage_classes is not None:
            return list(self.report.coverage_classes)
        return sorted(self.labels.loc[self.labels["role"] == "object", "class"].unique())


def _boxes_of(labels: pd.DataFrame, ratio_xy: tuple[float, float]) -> Floats:
    """Return the boxes (N, 4) of labels in px of a grid, left, top, right, bottom."""
    boxes = labels[list(BOX_COLUMNS)].to_numpy(np.float64).reshape(-1, 4)
    return np.asarray(boxes / np.array([*ratio_xy, *ratio_xy]))


def scene_info(row: SceneRow) -> SceneInfo:
    """Return what the catalog knows of a scene's raster, without opening the file."""
    return SceneInfo(
        name=row.scene,
        path=row.path,
        width_px=row.width_px,
        height_px=row.height_px,
        bands=row.bands,
        dtype=row.dtype,
        nodata=row.nodata,
        crs=row.crs,
        transform=Affine(*row.transform),
        gsd_m=row.gsd_m,
        origin_px=(row.origin_col_px, row.origin_row_px),
    )


def open_catalog_scene(
    row: SceneRow, target_gsd_m: float | None = None, bands: list[str] | None = None
) -> Scene:
    """Open a scene of the catalog.

    Args:
        row: of the scene; it holds the GSD that was stated for an image without georeference.
        target_gsd_m: at which the scene is seen; None for its native GSD.
        bands: names, in order; None for all.

    Raises:
        MissingFileError: the raster is no longer there.
    """
    path = row.path
    is_local = "://" not in path and not path.startswith("/vsi")
    if is_local and not Path(path).exists():
        raise MissingFileError(
            f"{path}: the raster of scene {row.scene} is gone. Put it back, or run the scenes "
            "stage again."
        )
    return Scene(scene_info(row), target_gsd_m, bands)


def open_class_map(row: SceneRow, scene: Scene) -> ClassMap:
    """Open the class map of a scene of the catalog on the grid of that scene.

    Args:
        row: of the scene.
        scene: opened, at any GSD.

    Raises:
        MissingFileError: the scene has none, or it is no longer there.
    """
    if row.class_map is None:
        raise MissingFileError(
            f"Scene {row.scene} has no class map. Put a class raster beside its raster and run the "
            "scenes stage again."
        )
    return ClassMap(row.class_map, scene.ratio_xy, scene.shape_hw)


def empty_labels() -> geopandas.GeoDataFrame:
    """Return a labels table without rows."""
    labels = geopandas.GeoDataFrame({name: [] for name in LABEL_COLUMNS}, geometry="geometry")
    return labels.assign(length_m=labels["length_m"].astype(float))


def empty_areas() -> geopandas.GeoDataFrame:
    """Return an areas table without rows."""
    return geopandas.GeoDataFrame({name: [] for name in AREA_COLUMNS}, geometry="geometry")


def save_catalog(catalog: Catalog, folder: str | Path) -> None:
    """Write the catalog's tables and report, the whole folder at once."""
    with atomic_folder(folder) as temporary:
        write_catalog(catalog, temporary)


def write_catalog(catalog: Catalog, folder: Path) -> None:
    """Write the catalog's tables and report into an existing folder."""
    optional = (*ORIGINS.columns, *CLASS_MAPS.columns)
    columns = [name for name in (*SCENE_COLUMNS, *optional) if name in catalog.scenes]
    catalog.scenes[columns].to_parquet(folder / "scenes.parquet", index=False)
    catalog.labels[list(LABEL_COLUMNS)].to_parquet(folder / "labels.parquet", index=False)
    catalog.areas[list(AREA_COLUMNS)].to_parquet(folder / "areas.parquet", index=False)
    catalog.report.save(folder / REPORT_FILE)


def load_catalog(folder: str | Path) -> Catalog:
    """Read a catalog.

    Raises:
        MissingFileError: the folder or one of its files is missing.
        FormatError: a table is broken or lacks a column, or the report has a wrong value.
    """
    folder = Path(folder)
    scenes = SCENES.read(folder / "scenes.parquet")
    if set(ORIGINS.columns) & set(scenes.columns):
        ORIGINS.check(scenes, folder / "scenes.parquet")
    if set(CLASS_MAPS.columns) & set(scenes.columns):
        CLASS_MAPS.check(scenes, folder / "scenes.parquet")
    labels = LABELS.read(folder / "labels.parquet")
    areas = AREAS.read(folder / "areas.parquet")
    for name, table in (("labels.parquet", labels), ("areas.parquet", areas)):
        _check_scenes_known(folder / name, table, scenes)
    report = CatalogReport.load(folder / REPORT_FILE)
    return Catalog(scenes, GeoDataFrame(labels), GeoDataFrame(areas), report)


def _check_scenes_known(path: Path, table: pd.DataFrame, scenes: pd.DataFrame) -> None:
    """Check that a table names scenes that are there, each of them once.

    Raises:
        FormatError: it does not.
    """
    again = "Run the scenes stage again: dvc repro -f scenes."
    twice = scenes.loc[scenes["scene"].duplicated(), "scene"]
    if len(twice):
        raise FormatError(
            f"{path.with_name('scenes.parquet')}: lists the scene {twice.iloc[0]!r} twice. {again}"
        )
    strange = sorted(set(table["scene"]) - set(scenes["scene"]))
    if strange:
        raise FormatError(
            f"{path}: names the scene {strange[0]!r}, which scenes.parquet does not list. {again}"
        )
