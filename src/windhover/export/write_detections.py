"""A search's detections written as one file of any format, map page included; finds nothing."""

from __future__ import annotations

from pathlib import Path

import geopandas

from windhover.disk_space import check_space
from windhover.export.coco import write_coco
from windhover.export.detection_summary import DetectionSummary
from windhover.export.detections import EMPTY_MAP_BYTES, ROW_BYTES, write_map
from windhover.export.map_files import check_suffix
from windhover.files import atomic_file
from windhover.inference.result_table import to_map_table


def write_detections(
    table: geopandas.GeoDataFrame, summary: DetectionSummary, path: str | Path
) -> None:
    """Write detections in the format of the path's suffix, atomically.

    Args:
        table: of detections, each box in its own scene's coordinate system; either all
            georeferenced or all local.
        summary: of the search; every scene of it is of that kind.
        path: with one of `map_files.SUFFIXES`.

    Raises:
        ParameterError: another suffix.
        DataError: local and georeferenced scenes in one file, or a local grid in a format that
            knows longitude and latitude only.
        FullDiskError: the disk has no room for it.
        OSError: the file cannot be written.
    """
    path = Path(path)
    systems = [scene.crs for scene in summary.scenes]
    check_suffix(path, georeferenced=None not in systems)
    if path.suffix == ".html":
        # loads what matches labels too, which takes as long as a search of a small raster
        from windhover.export.map_page import write_map_page

        write_map_page(table, summary, path)
        return
    if path.suffix != ".json":
        write_map(to_map_table(table, systems), path, summary)
        return
    check_space(path, EMPTY_MAP_BYTES + ROW_BYTES * len(table))
    with atomic_file(path) as temporary:
        write_coco(table, summary, temporary)
