"""The report of a catalog: its statistics in `report.json`, a page, and lines for the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from windhover.dataset.catalog import REPORT_FILE, Catalog
from windhover.dataset.data_page import data_page
from windhover.dataset.data_statistics import statistics_lines, with_statistics
from windhover.dataset.discover import portable_path
from windhover.dataset.splits import SPLITS
from windhover.progress import counted
from windhover.rendering.text import count_lines

PAGE_FILE = "report.html"


def write_report(catalog: Catalog, folder: Path, final: Path) -> Catalog:
    """Write the report with its statistics and the page; return the catalog with the report.

    Args:
        catalog: as built.
        folder: where the files are written, next to the virtual rasters.
        final: where that folder will be moved to.
    """
    catalog = with_statistics(catalog)
    catalog.report.save(folder / REPORT_FILE)
    paths = [_current_path(path, folder, final) for path in catalog.scenes["path"]]
    scenes = catalog.scenes.assign(path=paths)
    if "class_map" in scenes:
        scenes["class_map"] = [_current_class_map(path, folder) for path in scenes["class_map"]]
    readable = replace(catalog, scenes=scenes)
    page = data_page(readable, summary_lines(catalog))
    (folder / PAGE_FILE).write_text(page, encoding="utf-8")
    return catalog


def _current_path(path: str, folder: Path, final: Path) -> str:
    """Return where a raster is before the folder is moved to its final path."""
    if Path(path).parent == Path(portable_path(final)):
        return str(folder / Path(path).name)
    return path


def _current_class_map(path: str | None, folder: Path) -> str | None:
    """Return where a class map is before the folder is moved; None where a scene has none."""
    return None if path is None else str(folder / Path(path).name)


def summary_lines(catalog: Catalog) -> list[str]:
    """Return what the catalog holds, for the terminal."""
    report = catalog.report
    labels = counted(report.labels, "label")
    if catalog.is_coverage:
        n_labeled = report.scenes - len(report.unlabelled_scenes)
        labels = f"{n_labeled} with a class map of {', '.join(catalog.classes) or 'no class'}"
    lines = [f"{counted(report.scenes, 'scene')} of {counted(report.places, 'place')}, {labels}"]
    for split in SPLITS:
        counts = []
        for row in report.by_split:
            if row.split == split:
                ignored = " (ignored)" if row.role == "ignore" else ""
                counts.append(f"{row.labels} {row.class_name}{ignored}")
        labels = ", ".join(counts) or "no objects"
        if catalog.is_coverage:
            lines.append(f"  {split:5} {report.scenes_by_split[split]:4} scenes")
            continue
        lines.append(f"  {split:5} {report.scenes_by_split[split]:4} scenes: {labels}")
    n_unlabeled = len(report.unlabelled_scenes)
    if n_unlabeled:
        lines.append(
            f"  {counted(n_unlabeled, 'scene')} without labels, searched but not learned from"
        )
    lines += statistics_lines(report)
    lines += [f"  {note}" for note in report.notes]
    lines += [f"  {line}" for line in count_lines(report.dropped, "label")]
    return lines
