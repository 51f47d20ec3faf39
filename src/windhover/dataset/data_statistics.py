"""Statistics of a catalog, which show before any training whether the data will do.

Counts and sizes by class, labels that do not fit the window, odd scenes, and how rare the objects
are among all windows. Reads no pixel.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from windhover.dataset.catalog import Catalog, SceneRow, scene_info
from windhover.dataset.catalog_report import (
    CatalogReport,
    NamedLabels,
    PixelShares,
    TableRow,
    WindowPrior,
)
from windhover.dataset.class_prior import count_positive_windows
from windhover.dataset.label_coverage import LabelCoverage
from windhover.dataset.label_rule import CENTRAL_WINDOW_RULE
from windhover.dataset.spatial_blocks import raster_name
from windhover.dataset.splits import SPLITS
from windhover.geometry.arrays import Floats
from windhover.geometry.windows import STRIDE_PX, WINDOW_PX
from windhover.imagery.resample import snap_ratio, target_length
from windhover.progress import counted

TINY_PX = 3.0  # an object smaller than this at the training GSD can hardly be seen
MAX_NAMED = 20  # labels named one by one; beyond that only counted
DARK_SHARE = 0.01  # of a scene's pixels that are black or missing, from which the scene is named
CRS_CHARS = 40  # of a coordinate system that a table shows
N_DARK_SHOWN = 5  # scenes that a line of the terminal names


def with_statistics(catalog: Catalog) -> Catalog:
    """Return the catalog with its statistics in the report; those of labels for objects alone."""
    if catalog.is_coverage:
        shown = {
            "scene_table": scene_table(catalog),
            "dark_scenes": dark_scenes(catalog.report.pixels or {}),
        }
        return replace(catalog, report=catalog.report.model_copy(update=shown))
    larger, smaller = _odd_sizes(catalog)
    statistics = {
        "scene_table": scene_table(catalog),
        "class_table": class_table(catalog),
        "larger_than_the_window": larger,
        "smaller_than_3_px": smaller,
        "prior": window_prior(catalog),
        "dark_scenes": dark_scenes(catalog.report.pixels or {}),
    }
    return replace(catalog, report=catalog.report.model_copy(update=statistics))


def scene_table(catalog: Catalog) -> list[TableRow]:
    """Return one row a scene: size, ground, dtype, place, labels."""
    n_labels = catalog.labels["scene"].value_counts()
    pixels = catalog.report.pixels or {}
    rows = []
    for row in catalog:
        shares = pixels.get(raster_name(row.scene))
        rows.append(_scene_table_row(row, shares, int(n_labels.get(row.scene, 0))))
    return rows


def _scene_table_row(row: SceneRow, shares: PixelShares | None, n_labels: int) -> TableRow:
    """Return the row of one scene."""
    return {
        "scene": row.scene,
        "size_px": f"{row.width_px} x {row.height_px}",
        "km2": round(row.area_m2 / 1e6, 4),
        "gsd_m": f"{row.gsd_x_m:.4g} x {row.gsd_y_m:.4g}",
        "dtype": row.dtype,
        "bands": ", ".join(row.bands),
        "crs": "local grid" if row.crs is None else row.crs[:CRS_CHARS],
        "nodata": row.nodata,
        "valid": _shown_share(shares, "valid"),
        "black": _shown_share(shares, "black"),
        "place": row.place,
        "split": row.split,
        "labels": n_labels if row.labeled else "not labelled",
    }


def _shown_share(shares: PixelShares | None, name: str) -> float | str | None:
    """Return a share of a raster's pixels; in words where only a sample was read."""
    if shares is None:
        return None
    share = float(getattr(shares, name))
    return f"about {share:.2g}" if shares.sampled else share


def longer_side_px(catalog: Catalog) -> Floats:
    """Return the longer side of each label (N,) in px at the training GSD; NaN for points."""
    return np.asarray(catalog.labels["length_m"], np.float64) / catalog.gsd_m


def class_table(catalog: Catalog) -> list[TableRow]:
    """Return one row a class and role: labels by split, sizes in meters and in training px."""
    split_of = dict(zip(catalog.scenes["scene"], catalog.scenes["split"], strict=True))
    table = catalog.labels[["class", "role", "scene"]].assign(
        meters=catalog.labels["length_m"].to_numpy(np.float64),
        px=longer_side_px(catalog),
        split=catalog.labels["scene"].map(split_of),
    )
    rows = []
    for (name, role), part in table.groupby(["class", "role"], sort=True):
        sized = part[np.isfinite(part["px"])]
        rows.append(
            {
                "class": name,
                "role": role,
                "labels": len(part),
                **{split: int((part["split"] == split).sum()) for split in SPLITS},
                "length_m": _range_text(sized["meters"]),
                "length_px": _range_text(sized["px"]),
                "larger_than_the_window": int((sized["px"] > WINDOW_PX).sum()),
                "smaller_than_3_px": int((sized["px"] < TINY_PX).sum()),
                "points": len(part) - len(sized),
            }
        )
    return rows


def _range_text(values: pd.Series) -> str:
    """Return smallest, median and largest as text."""
    if values.empty:
        return "no size"
    return f"{values.min():.1f} .. {values.median():.1f} .. {values.max():.1f}"


def _odd_sizes(catalog: Catalog) -> tuple[NamedLabels, NamedLabels]:
    """Return the objects that are larger than the window, and those smaller than `TINY_PX`."""
    px = longer_side_px(catalog)
    is_object = (catalog.labels["role"] == "object").to_numpy()
    larger = _named_labels(catalog, is_object & (px > WINDOW_PX), order_by=-px)
    smaller = _named_labels(catalog, is_object & (px < TINY_PX), order_by=px)
    return larger, smaller


def _named_labels(catalog: Catalog, is_odd: np.ndarray, *, order_by: Floats) -> NamedLabels:
    """Return how many labels are odd, and the first of them with position and length."""
    order = np.argsort(order_by, kind="stable")
    first = order[is_odd[order]][:MAX_NAMED]
    columns = ["scene", "class", "col", "row", "length_m"]
    digits = {"col": 1, "row": 1, "length_m": 2}
    rows = catalog.labels.iloc[first][columns].round(digits).to_dict("records")
    return NamedLabels(count=int(is_odd.sum()), first=rows)


def window_prior(catalog: Catalog) -> WindowPrior:
    """Return how many windows have an object's center in their middle, over all that is labeled.

    As in the patches stage, windows count only where everything is labeled. No pixel is read:
    those without data are counted too.
    """
    classes = catalog.classes
    positive = 0
    total = 0
    for row in catalog:
        if not row.labeled:
            continue
        info = scene_info(row)
        ratio_x, ratio_y = (snap_ratio(catalog.gsd_m / native) for native in info.gsd_m)
        shape_hw = target_length(info.height_px, ratio_y), target_length(info.width_px, ratio_x)
        objects = catalog.objects_of(row.scene, (ratio_x, ratio_y), classes)
        coverage = LabelCoverage.in_grid(catalog.areas_of(row.scene), (ratio_x, ratio_y))
        count = count_positive_windows(
            shape_hw,
            objects,
            coverage,
            CENTRAL_WINDOW_RULE,
            ignored_xyxy=catalog.ignored_boxes_of(row.scene, (ratio_x, ratio_y)),
        )
        positive += count.positive
        total += count.total
    return WindowPrior(
        stride_px=STRIDE_PX,
        windows=total,
        with_an_object=positive,
        one_in=round(total / positive) if positive else None,
    )


def dark_scenes(pixels: dict[str, PixelShares]) -> list[str]:
    """Return the rasters of which more than 1 % is black in every band or missing.

    Args:
        pixels: shares by raster.
    """
    names = []
    for name, shares in pixels.items():
        if shares.black > DARK_SHARE or shares.valid < 1 - DARK_SHARE:
            names.append(name)
    return names


def _coverage_lines(report: CatalogReport) -> list[str]:
    """Return the mean share of each class over the scenes of each split; empty for objects."""
    lines = []
    table = pd.DataFrame(report.coverage_table or [])
    for split in SPLITS:
        rows = table[table["split"] == split] if len(table) else table
        if not len(rows):
            continue
        means = rows[["background", *(report.coverage_classes or [])]].mean()
        shares = ", ".join(f"{name} {share:.1%}" for name, share in means.items())
        lines.append(f"  {split:5} mean share: {shares}; {rows['known'].mean():.1%} known")
    return lines


def statistics_lines(report: CatalogReport) -> list[str]:
    """Return the main statistics for the terminal; empty before they are made."""
    lines = _coverage_lines(report)
    for row in report.class_table or []:
        sizes = f"longer side {row['length_m']} m, {row['length_px']} px"
        if row["points"] == row["labels"]:
            sizes = "points, without a size"
        lines.append(f"  {row['class']}: {counted(row['labels'], 'label')}, {sizes}")
    gsd = f"{report.training_gsd_m:g} m"
    larger = report.larger_than_the_window
    if larger and larger.count:
        lines.append(
            f"  {counted(larger.count, 'object')} longer than the {WINDOW_PX} px window at {gsd} "
            "(search at several scales)"
        )
    smaller = report.smaller_than_3_px
    if smaller and smaller.count:
        lines.append(
            f"  {counted(smaller.count, 'object')} smaller than {TINY_PX:g} px at {gsd}: choose a "
            "finer `scenes.gsd_m`"
        )
    prior = report.prior
    if prior and prior.one_in:
        lines.append(
            f"  one window in {prior.one_in} of {prior.windows} has an object in its middle"
        )
    if report.dark_scenes:
        shown = ", ".join(report.dark_scenes[:N_DARK_SHOWN])
        lines.append(
            f"  {counted(len(report.dark_scenes), 'raster')} black or without data in part: {shown}"
        )
    return lines
