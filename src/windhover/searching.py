"""Detecting in every scene of a catalogue with the evaluated model: the flow behind the `detect` stage.

Reads the catalogue and the model bundle, writes one table and one summary; decides neither threshold nor search settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas

from windhover.catalogue import load_catalogue, scene_info
from windhover.detections import concatenated, save_table
from windhover.detector import Detector, SearchReport, search_scene
from windhover.errors import DataError
from windhover.files import atomic_folder, write_json
from windhover.progress import progress_bar
from windhover.scenes import Scene

TABLE, SUMMARY = "detections.parquet", "summary.json"


def detect_catalogue(
    catalogue_folder: str | Path,
    model_folder: str | Path,
    out_folder: str | Path,
    device: str = "auto",
    block_px: int | None = None,
) -> dict[str, Any]:
    """Search every scene at the operating point and write `detections.parquet` and `summary.json`.

    Args:
        catalogue_folder: written by the scenes stage.
        model_folder: written by the evaluate stage.
        out_folder: replaced whole when all is done.
        device: `auto`, `cpu` or `cuda`.
        block_px: side of the blocks.

    Returns:
        The summary: per scene and in all, objects by class, windows searched and skipped, km2.

    Raises:
        DataError: a part of a scene cannot be read.
    """
    catalogue = load_catalogue(catalogue_folder)
    detector = Detector.from_bundle(model_folder, device=device)
    print(detector.describe())
    thresholds = detector.thresholds()
    tables, records = [], []
    total = float((catalogue.scenes["width_px"] * catalogue.scenes["height_px"]).sum()) / 1e6
    with progress_bar("detecting", total, "Mpx") as advance:
        for row in catalogue:
            with detector.open(scene_info(row)) as scene:
                table, record = _detect_one(detector, scene, thresholds, block_px)
            tables.append(table)
            records.append({"scene": row.scene, "split": row.split, **record})
            advance(row.width_px * row.height_px / 1e6)
    summary = summarise(records, detector, thresholds)
    with atomic_folder(out_folder) as folder:
        save_table(concatenated(tables), folder / TABLE)
        write_json(folder / SUMMARY, summary)
    return summary


def _detect_one(
    detector: Detector, scene: Scene, thresholds: dict[str, float], block_px: int | None
) -> tuple[geopandas.GeoDataFrame, dict[str, Any]]:
    report = SearchReport()
    candidates = search_scene(
        detector.scorer,
        scene,
        detector.settings,
        detector.floors(thresholds),
        classes=detector.bundle.card.classes,
        block_px=block_px,
        report=report,
    )
    if report.failed:
        raise DataError(f"{report.failed[0].reason} ({len(report.failed)} such parts.)")
    table = detector.table(candidates, thresholds, scene)
    return table, scene_record(scene, table, report)


def scene_record(scene: Scene, table: geopandas.GeoDataFrame, report: SearchReport) -> dict[str, Any]:
    """Return what was searched and found in one scene; nothing in it differs between two equal runs."""
    return {
        "crs": scene.crs,
        "objects": len(table),
        "by_class": {name: int(count) for name, count in table["class"].value_counts(sort=False).sort_index().items()},
        "expected_objects": round(float(table["score"].sum()), 3),
        "windows_searched": report.windows_searched,
        "windows_skipped": report.windows_skipped,
        "km2": round(report.km2, 6),
    }


def summarise(records: list[dict[str, Any]], detector: Detector, thresholds: dict[str, float]) -> dict[str, Any]:
    """Return the records with their totals, the model and the thresholds."""
    names = ("objects", "windows_searched", "windows_skipped", "km2")
    totals = {name: round(sum(record[name] for record in records), 6) for name in names}
    return {
        "model": detector.bundle.card.name,
        "thresholds": thresholds,
        "search": detector.settings.to_json() | {"scales": list(detector.settings.scales)},
        "total": {"scenes": len(records), **totals},
        "scenes": records,
    }
