"""What a catalog holds, in numbers that tell before any training whether the data will do.

Counts and sizes by class, what does not fit, what is odd, and how rare the objects are among all
windows. Reads no pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.dataset.catalog import Catalog, scene_info
from windhover.dataset.label_rule import CENTRAL, count_positive_windows, objects_of
from windhover.dataset.splits import SPLITS
from windhover.geometry.windows import STRIDE_PX, WINDOW_PX
from windhover.imagery.resample import snap_ratio, target_length

TINY_PX = 3.0  # an object smaller than this at the training GSD can hardly be seen
NAMED = 20  # labels named one by one; beyond that only counted
DARK_SHARE = 0.01  # of a scene's pixels that are black or missing, from which the scene is named


def survey(catalog: Catalog) -> dict[str, Any]:
    """Return the facts of a catalog as plain values."""
    return {
        "scene_table": scene_rows(catalog),
        "class_table": class_rows(catalog),
        "larger_than_the_window": named_labels(catalog, "larger"),
        "smaller_than_3_px": named_labels(catalog, "smaller"),
        "prior": window_prior(catalog),
        "dark_scenes": dark_scenes(catalog),
    }


def scene_rows(catalog: Catalog) -> list[dict[str, Any]]:
    """Return one row a scene: size, ground, dtype, place, labels."""
    counts = catalog.labels["scene"].value_counts()
    pixels = catalog.report.get("pixels", {})
    rows = []
    for row in catalog:
        share = pixels.get(str(row.scene).split("~")[0], {})
        km2 = row.width_px * row.gsd_x_m * row.height_px * row.gsd_y_m / 1e6
        rows.append(
            {
                "scene": row.scene,
                "size_px": f"{row.width_px} x {row.height_px}",
                "km2": round(float(km2), 4),
                "gsd_m": f"{row.gsd_x_m:.4g} x {row.gsd_y_m:.4g}",
                "dtype": row.dtype,
                "bands": ", ".join(row.bands),
                "crs": "local grid" if row.crs is None or pd.isna(row.crs) else str(row.crs)[:40],
                "nodata": None if pd.isna(row.nodata) else float(row.nodata),
                "valid": _share(share, "valid"),
                "black": _share(share, "black"),
                "place": row.place,
                "split": row.split,
                "labels": int(counts.get(row.scene, 0)) if row.labeled else "not labelled",
            }
        )
    return rows


def _share(found: Mapping[str, float], name: str) -> float | str | None:
    """Return a share of a raster's pixels, as an estimate in words where only a sample was read."""
    return f"about {found[name]:.2g}" if found.get("sampled") else found.get(name)


def longer_side_px(catalog: Catalog) -> NDArray[np.float64]:
    """Return the longer side of each label in px at the training GSD; NaN for points."""
    return np.asarray(catalog.labels["length_m"], np.float64) / catalog.gsd_m


def class_rows(catalog: Catalog) -> list[dict[str, Any]]:
    """Return one row a class: how many in each split, and sizes in metres and in px at the training
    GSD.
    """
    split_of = dict(zip(catalog.scenes["scene"], catalog.scenes["split"], strict=True))
    table = catalog.labels[["class", "role", "scene"]].assign(
        meters=catalog.labels["length_m"].to_numpy(np.float64),
        px=longer_side_px(catalog),
        split=catalog.labels["scene"].map(split_of),
    )
    rows = []
    for (name, role), part in table.groupby(["class", "role"], sort=True):
        sized = part[np.isfinite(part["px"])]
        meters, px = (_spread(sized[column]) for column in ("meters", "px"))
        rows.append(
            {
                "class": name,
                "role": role,
                "labels": len(part),
                **{split: int((part["split"] == split).sum()) for split in SPLITS},
                "length_m": meters,
                "length_px": px,
                "larger_than_the_window": int((sized["px"] > WINDOW_PX).sum()),
                "smaller_than_3_px": int((sized["px"] < TINY_PX).sum()),
                "points": len(part) - len(sized),
            }
        )
    return rows


def _spread(values: pd.Series) -> str:
    """Return smallest, median and largest as text."""
    if values.empty:
        return "no size"
    low, middle, high = values.min(), values.median(), values.max()
    return f"{low:.1f} .. {middle:.1f} .. {high:.1f}"


def named_labels(catalog: Catalog, what: str) -> dict[str, Any]:
    """Return how many objects are larger than the window (or smaller than 3 px), and the first of
    them by name.
    """
    px = longer_side_px(catalog)
    wrong = px > WINDOW_PX if what == "larger" else px < TINY_PX
    wrong &= (catalog.labels["role"] == "object").to_numpy()
    order = np.argsort(-px if what == "larger" else px, kind="stable")
    first = [index for index in order if wrong[index]][:NAMED]
    columns = ["scene", "class", "col", "row", "length_m"]
    named = (
        catalog.labels.iloc[first][columns]
        .round({"col": 1, "row": 1, "length_m": 2})
        .to_dict("records")
    )
    return {"count": int(wrong.sum()), "first": named}


def window_prior(catalog: Catalog) -> dict[str, Any]:
    """Return how many windows at stride 8 have an object's centre in their central 32 px, over what
    is labelled.

    As in the patches stage, windows count only where areas say that everything is labelled.
    """
    hits = windows = 0
    labels, areas = (
        dict(list(table.groupby("scene"))) for table in (catalog.labels, catalog.areas)
    )
    for row in catalog:
        if not row.labeled:
            continue
        info = scene_info(row)
        ratio_x, ratio_y = (snap_ratio(catalog.gsd_m / native) for native in info.gsd_m)
        shape = target_length(info.height_px, ratio_y), target_length(info.width_px, ratio_x)
        own_labels = labels.get(info.name, catalog.labels[:0])
        own_areas = areas.get(info.name, catalog.areas[:0])
        objects = objects_of(own_labels, own_areas, (ratio_x, ratio_y))
        found, total = count_positive_windows(shape, objects, CENTRAL)
        hits, windows = hits + found, windows + total
    return {
        "stride_px": STRIDE_PX,
        "windows": windows,
        "with_an_object": hits,
        "one_in": round(windows / hits) if hits else None,
    }


def dark_scenes(catalog: Catalog) -> list[str]:
    """Return the rasters of which more than 1 % is black in every band or missing: a border, or a
    hole.
    """
    shares = catalog.report.get("pixels", {})
    return [
        name
        for name, share in shares.items()
        if share["black"] > DARK_SHARE or share["valid"] < 1 - DARK_SHARE
    ]


def survey_lines(catalog: Catalog, facts: dict[str, Any]) -> list[str]:
    """Return the facts that a person should see, for the terminal."""
    lines = [
        f"  {row['class']}: {row['labels']} labels, longer side {row['length_m']} m, {row['length_px']} px"
        for row in facts["class_table"]
    ]
    larger, smaller = facts["larger_than_the_window"]["count"], facts["smaller_than_3_px"]["count"]
    if larger:
        lines.append(
            f"  {larger} objects are longer than the {WINDOW_PX} px window at {catalog.gsd_m:g} m "
            "(search at several scales)"
        )
    if smaller:
        lines.append(
            f"  {smaller} objects are smaller than 3 px at {catalog.gsd_m:g} m: choose a finer `scenes.gsd_m`"
        )
    prior = facts["prior"]
    if prior["one_in"]:
        lines.append(
            f"  one window in {prior['one_in']} of {prior['windows']} has an object in its middle"
        )
    if facts["dark_scenes"]:
        lines.append(
            f"  {len(facts['dark_scenes'])} rasters are partly black or without data: "
            f"{', '.join(facts['dark_scenes'][:5])}"
        )
    return lines
