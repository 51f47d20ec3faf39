"""The files of a collection: objects in a spatial grid, all views, counts, STAC, a GeoPackage.

Equal objects give equal bytes. Merges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from windhover.collection.change_status import NO_DATE, STATUSES
from windhover.collection.collected_objects import CollectedObjects
from windhover.collection.collection_counts import (
    count_by_area_and_date,
    count_by_date,
    ground_km2,
)
from windhover.collection.detection_spill import with_shapes
from windhover.collection.manifest import (
    FailedPart,
    Manifest,
    ObjectCounts,
    Searched,
    Unsearched,
    WrittenFile,
)
from windhover.collection.spatial_grid import GridFile, plan_files
from windhover.collection.views import EARTH
from windhover.disk_space import check_space
from windhover.export.collected_scene import UnsearchedScene
from windhover.export.detection_summary import DetectionSummary
from windhover.export.detections import write_map
from windhover.export.expected_counts import NO_DATE as UNKNOWN_DATE
from windhover.export.geopackage import write_geopackage
from windhover.export.stac import write_stac
from windhover.files import sha256_file
from windhover.geometry.arrays import Ints
from windhover.geometry.georef import WGS84, is_engineering, same_crs
from windhover.inference.detection_columns import SCENE_CRS

OBJECTS = "objects"
VIEWS_FILE = "views.parquet"
GEOPACKAGE_FILE = "objects.gpkg"
DATES_FILE = "counts_by_date.csv"
AREAS_FILE = "counts_by_area.csv"
STAC = "stac"
MAX_GEOPACKAGE_ROWS = 100_000  # of more, QGIS opens the GeoParquet files faster than one package
OBJECT_BYTES = 700  # of an object in the folder without its GeoPackage
VIEW_ROWS = 100_000  # of a group of rows
# what an object has beside the columns of its best view
OBJECT_COLUMNS = (
    "views",
    "views_possible",
    "dates_found",
    "first_found",
    "last_found",
    "absent_before",
    "absent_after",
    "status",
    "status_probability",
)


def write_files(
    objects: CollectedObjects,
    summary: DetectionSummary,
    folder: Path,
    *,
    final: Path,
    unsearched: Sequence[UnsearchedScene],
    failed: Sequence[FailedPart],
    plan: Mapping[str, Any] | None,
    areas: Path | None,
) -> Manifest:
    """Write all files of a collection but its manifest, which is returned.

    Args:
        objects: of the collection.
        summary: of the search, with all its scenes in the order of their numbers.
        folder: to write in.
        final: where the folder will be moved to.
        unsearched: rasters of which nothing was searched.
        failed: parts of rasters that could not be read.
        plan: of the search.
        areas: vector file of polygons to count objects in.

    Raises:
        FullDiskError: the disk has no room for it.
    """
    check_space(folder, OBJECT_BYTES * len(objects))
    on_earth = objects.best.frame == EARTH
    lonlat = objects.best.lonlat
    files = plan_files(lonlat, on_earth, objects.ids[objects.groups.best])
    crs = _map_crs(summary)
    written = [write_grid_file(objects, file, folder / OBJECTS, crs) for file in files]
    written.append(_write_views(objects, summary, folder / VIEWS_FILE))
    written += _write_counts(objects, summary, folder, areas)
    if len(objects) <= MAX_GEOPACKAGE_ROWS:
        rows = np.concatenate([file.rows for file in files])
        write_geopackage(_object_table(objects, rows, crs), folder / GEOPACKAGE_FILE, summary)
        written.append(_written(folder / GEOPACKAGE_FILE, folder, len(objects)))
    notes = _notes(len(objects))
    notes += _write_stac(objects, summary, files, folder=folder / STAC, final=final / STAC)
    return Manifest(
        program=summary.program,
        model=summary.model,
        run=summary.run,
        thresholds=summary.thresholds,
        search=summary.search,
        plan=None if plan is None else dict(plan),
        searched=_searched(summary, objects.dates),
        unsearched=tuple(
            Unsearched(scene=one.scene, path=one.path, reason=one.reason, kind=one.kind)
            for one in unsearched
        ),
        failed=tuple(failed),
        found=_object_counts(objects),
        counted_by_outline=objects.unread,
        notes=(*summary.notes, *notes),
        files=tuple(written),
    )


def _notes(n_objects: int) -> list[str]:
    """Return sentences on what is not written of so many objects."""
    if n_objects <= MAX_GEOPACKAGE_ROWS:
        return []
    reason = f"more than {MAX_GEOPACKAGE_ROWS} objects; QGIS opens the files in {OBJECTS}/"
    return [f"no {GEOPACKAGE_FILE}: {reason}"]


def _map_crs(summary: DetectionSummary) -> str | None:
    """Return the coordinate system of all shapes: WGS 84, or that of local grids."""
    systems = [scene.crs for scene in summary.scenes]
    if not systems or None in systems:
        return None if systems else WGS84
    if any(is_engineering(str(crs)) for crs in systems):
        is_one = all(same_crs(systems[0], crs) for crs in systems)
        return systems[0] if is_one else None
    return WGS84


def write_grid_file(
    objects: CollectedObjects, file: GridFile, folder: Path, crs: str | None
) -> WrittenFile:
    """Write one file of the grid as GeoParquet 1.1.

    Args:
        objects: of the collection.
        file: which of them.
        folder: of the grid.
        crs: of the shapes.
    """
    path = folder / file.path
    write_map(_object_table(objects, file.rows, crs), path)
    return _written(path, folder.parent, len(file.rows))


def _written(path: Path, folder: Path, rows: int | None = None) -> WrittenFile:
    name = path.relative_to(folder).as_posix()
    return WrittenFile(path=name, rows=rows, sha256=sha256_file(path))


def _object_table(objects: CollectedObjects, rows: Ints, crs: str | None) -> geopandas.GeoDataFrame:
    """Return some objects as rows: the columns of their best views, then their own."""
    table = objects.spill.rows(objects.groups.best[rows])
    frame = with_shapes(table, crs)
    changes = objects.changes
    own = {
        "views": objects.n_views[rows],
        "views_possible": objects.n_possible[rows],
        "dates_found": changes.dates_found[rows],
        "first_found": _date_texts(objects, changes.first[rows]),
        "last_found": _date_texts(objects, changes.last[rows]),
        "absent_before": _date_texts(objects, changes.absent_before[rows]),
        "absent_after": _date_texts(objects, changes.absent_after[rows]),
        "status": _texts(changes.status[rows]),
        "status_probability": np.round(changes.probability[rows], 6),
    }
    for name in OBJECT_COLUMNS:
        frame[name] = own[name]
    columns = [name for name in frame if name not in (SCENE_CRS, "geometry")]
    return frame[[*columns, SCENE_CRS, "geometry"]]


def _date_texts(objects: CollectedObjects, numbers: Ints) -> pd.Series[Any]:
    """Return days as text; missing where there is none."""
    names = np.array([*objects.dates, ""], object)
    return _texts(np.where(numbers == NO_DATE, "", names[numbers]))


def _texts(values: NDArray[np.object_]) -> pd.Series[Any]:
    """Return texts as a column; the empty ones are missing."""
    texts = pd.Series(values, dtype="str")
    return texts.where(texts != "", None)


def _write_views(objects: CollectedObjects, summary: DetectionSummary, path: Path) -> WrittenFile:
    """Write which detections are of which object: one row a detection, the best of each first."""
    names = np.array([scene.scene for scene in summary.scenes], object)
    acquired = np.array([scene.acquired for scene in summary.scenes], object)
    object_ids = objects.ids[objects.groups.best]
    index = objects.groups.object_index
    order = np.lexsort((objects.place, objects.ids[objects.groups.best][index]))
    schema = pa.schema(
        [
            ("object", pa.string()),
            ("id", pa.string()),
            ("scene", pa.string()),
            ("acquired", pa.string()),
            ("class", pa.string()),
            ("score", pa.float64()),
            ("edge", pa.bool_()),
            ("is_best", pa.bool_()),
        ]
    )
    classes = np.array([*objects.spill.classes, ""], object)
    views = objects.views
    is_best = np.zeros(len(order), bool)
    is_best[objects.groups.best] = True
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(order), VIEW_ROWS):
            rows = order[start : start + VIEW_ROWS]
            scene = views.scene[rows]
            columns = [
                pa.array(_decoded(object_ids[index[rows]]), pa.string()),
                pa.array(_decoded(objects.ids[rows]), pa.string()),
                pa.array(names[scene], pa.string()),
                pa.array(acquired[scene], pa.string()),
                pa.array(classes[views.class_index[rows]], pa.string()),
                pa.array(views.score[rows]),
                pa.array(views.edge[rows]),
                pa.array(is_best[rows]),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return _written(path, path.parent, len(order))


def _decoded(ids: NDArray[np.bytes_]) -> list[str]:
    return [text.decode(errors="replace") for text in ids.tolist()]


def _write_counts(
    objects: CollectedObjects, summary: DetectionSummary, folder: Path, areas: Path | None
) -> list[WrittenFile]:
    """Write the tables of counts."""
    best = objects.best
    tables = {DATES_FILE: count_by_date(objects.found, best.score, summary.scenes)}
    if areas is not None:
        on_earth = best.frame == EARTH
        tables[AREAS_FILE] = count_by_area_and_date(
            objects.found, (best.lonlat, best.score, on_earth), summary, areas
        )
    for name, table in tables.items():
        table.to_csv(folder / name, index=False, lineterminator="\n")
    return [_written(folder / name, folder) for name in tables]


def _write_stac(
    objects: CollectedObjects,
    summary: DetectionSummary,
    files: Sequence[GridFile],
    *,
    folder: Path,
    final: Path,
) -> list[str]:
    """Write a STAC collection with an item a scene; return a note where it cannot be written."""
    number_of_file = np.zeros(len(objects), np.int64)
    for number, file in enumerate(files):
        number_of_file[file.rows] = number
    file_of_view = number_of_file[objects.groups.object_index]
    pairs = np.unique(np.stack([objects.views.scene, file_of_view], axis=1), axis=0)
    tables: dict[str, list[str]] = {scene.scene: [] for scene in summary.scenes}
    for scene, number in pairs.tolist():
        tables[summary.scenes[scene].scene].append(f"../{OBJECTS}/{files[number].path}")
    try:
        write_stac(summary, folder, detections_href=f"../{OBJECTS}", final=final, tables=tables)
    except ModuleNotFoundError:
        return ["no STAC: needs pystac: pip install 'windhover-eo[stac]'"]
    return []


def _searched(summary: DetectionSummary, dates: Sequence[str]) -> Searched:
    """Return the ground that was searched."""
    grounds = [scene.clear for scene in summary.scenes if scene.clear is not None]
    known = [ground.km2 for ground in grounds if ground.km2 is not None]
    return Searched(
        scenes=len(summary.scenes),
        km2=summary.total.km2,
        km2_ground=ground_km2(summary.scenes),
        km2_clear=round(sum(known), 6) if known else None,
        dates=tuple(date for date in dates if date != UNKNOWN_DATE),
    )


def _object_counts(objects: CollectedObjects) -> ObjectCounts:
    """Return what was found, each object once."""
    best = objects.best
    by_class = np.bincount(best.class_index, minlength=len(objects.spill.classes)).tolist()
    n_views, n_objects = np.unique(objects.n_views, return_counts=True)
    status = objects.changes.status
    by_status = {name: int((status == name).sum()) for name in STATUSES}
    return ObjectCounts(
        objects=len(objects),
        detections=len(objects.views.score),
        expected=round(float(np.sort(best.score).sum()), 3),
        by_class=dict(sorted(zip(objects.spill.classes, by_class, strict=True))),
        by_views=dict(zip(map(str, n_views.tolist()), n_objects.tolist(), strict=True)),
        by_status={name: count for name, count in by_status.items() if count},
    )
