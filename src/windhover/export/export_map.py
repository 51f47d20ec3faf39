"""From the table of detections to files for a map: the flow behind the `export` stage.

Reads what `detect` wrote and nothing else; computes no detection.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import geopandas

from windhover.errors import MissingFileError
from windhover.export.detections import for_map, is_local, load_table, write_map
from windhover.files import atomic_folder

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
    detections_folder, out_folder = Path(detections_folder), Path(out_folder)
    table = load_table(detections_folder / "detections.parquet")
    systems = _scene_systems(detections_folder / "summary.json")
    placed = [crs for crs in systems if crs is not None]
    local = is_local(table)
    said = []
    with atomic_folder(out_folder) as folder:
        if placed:
            said += _write(for_map(table[~local], placed), folder, STEM, formats, out_folder)
        if None in systems or not placed:
            stem = LOCAL_STEM if placed else STEM
            said += _write(for_map(table[local]), folder, stem, formats, out_folder)
    return said


def _scene_systems(path: Path) -> list[str | None]:
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Run the detect stage first.")
    return [scene["crs"] for scene in json.loads(path.read_text(encoding="utf-8"))["scenes"]]


def _write(
    table: geopandas.GeoDataFrame, folder: Path, stem: str, formats: Sequence[str], shown: Path
) -> list[str]:
    said = []
    for name in formats:
        if name == "geojson" and table.crs is None:
            said.append(
                f"no {stem}.geojson: the scenes have no georeference, so their boxes have no longitude and latitude"
            )
            continue
        write_map(table, folder / f"{stem}.{name}")
        said.append(f"{shown / f'{stem}.{name}'}: {len(table)} objects")
    return said
