"""From the table of detections to files for a map: the flow behind the `export` stage.

Reads what the detect stage wrote and nothing else; computes no detection.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas

from windhover.export.detection_summary import SUMMARY, DetectionSummary
from windhover.export.detections import load_table, write_map
from windhover.files import atomic_folder
from windhover.inference.result_table import is_local, to_map_table

TABLE = "detections.parquet"
STEM = "detections"
LOCAL_STEM = "detections-local"


def export_map(
    detections_folder: str | Path, out_folder: str | Path, formats: Sequence[str]
) -> list[str]:
    """Write the detections in each format; `out_folder` is replaced whole.

    Georeferenced scenes go to `detections.*`. Scenes without georeference stay in their local grid
    in metres and get no GeoJSON; they go to `detections.*` where all scenes are so, else to
    `detections-local.*`.

    Args:
        detections_folder: written by the detect stage.
        out_folder: such as data/map.
        formats: `gpkg`, `parquet`, `geojson`, `csv`.

    Returns:
        Sentences to print: what was written, and what could not be.
    """
    detections_folder = Path(detections_folder)
    out_folder = Path(out_folder)
    table = load_table(detections_folder / TABLE)
    summary = DetectionSummary.load(detections_folder / SUMMARY)
    systems = [scene.crs for scene in summary.scenes]
    known_systems = [crs for crs in systems if crs is not None]
    local = is_local(table)
    tables = {}
    if known_systems:
        tables[STEM] = to_map_table(table[~local], known_systems)
    if None in systems or not known_systems:
        stem = LOCAL_STEM if known_systems else STEM
        tables[stem] = to_map_table(table[local])
    messages = []
    with atomic_folder(out_folder) as folder:
        for stem, map_table in tables.items():
            messages += _write_formats(
                map_table,
                folder,
                stem,
                formats=formats,
                shown=out_folder,
                description=" ".join(summary.notes),
            )
    return [*messages, *(f"note: {note}" for note in summary.notes)]


def _write_formats(
    table: geopandas.GeoDataFrame,
    folder: Path,
    stem: str,
    *,
    formats: Sequence[str],
    shown: Path,
    description: str,
) -> list[str]:
    """Write a map table in each format; return a sentence for each, with the folder `shown`."""
    messages = []
    for suffix in formats:
        name = f"{stem}.{suffix}"
        if suffix == "geojson" and table.crs is None:
            messages.append(
                f"no {name}: the scenes have no georeference, so their boxes have no longitude and "
                "latitude"
            )
            continue
        write_map(table, folder / name, description)
        messages.append(f"{shown / name}: {len(table)} objects")
    return messages
