"""The class and the role of each label, and the size of its box on the ground."""

from __future__ import annotations

import re
import unicodedata

import geopandas
import numpy as np
import pandas as pd

from windhover.dataset.areas import labels_in_ignore_areas
from windhover.dataset.catalog_tables import BOX_COLUMNS, LABEL_COLUMNS
from windhover.errors import DataError
from windhover.geometry import georef
from windhover.geometry.arrays import Floats
from windhover.imagery.rasters import SceneInfo
from windhover.labels.table import NO_CLASS
from windhover.params.scenes import ScenesParams
from windhover.progress import counted


def classify_labels(
    labels: geopandas.GeoDataFrame,
    areas: geopandas.GeoDataFrame,
    params: ScenesParams,
    *,
    infos: list[SceneInfo],
) -> geopandas.GeoDataFrame:
    """Return the labels of the catalog: with class, role and sides on the ground.

    Args:
        labels: of `DataSources`.
        areas: of the catalog; labels in `ignore` areas are ignored.
        params: of the stage.
        infos: the scenes.

    Raises:
        DataError: a class is unknown, or none of the named classes is in the labels.
    """
    _check_classes(labels, params)
    is_ignored = labels["ignored"] | labels_in_ignore_areas(labels, areas)
    is_ignored |= labels["class"].isin(params.ignore_classes)
    classified = labels.copy()
    classified["role"] = np.where(is_ignored, "ignore", "object")
    classified["class"] = labels["class"].map(lambda name: params.classes.get(name, name))
    sides = _sides_on_ground(labels, infos)
    classified["length_m"] = sides.max(axis=1)
    classified["width_m"] = sides.min(axis=1)
    return classified[list(LABEL_COLUMNS)]


def _check_classes(labels: geopandas.GeoDataFrame, params: ScenesParams) -> None:
    """Check the classes of the labels against the parameters.

    Raises:
        DataError: a class is unknown, or none of the named classes is in the labels.
    """
    if not params.classes:
        return
    in_labels = set(labels["class"])
    known = set(params.classes) | set(params.ignore_classes)
    unknown = sorted(in_labels - known)
    if unknown:
        raise DataError(
            f"The labels hold the class {unknown[0]!r}, which is neither in `scenes.classes` nor "
            f"in `scenes.ignore_classes` ({', '.join(sorted(known))}). Add it to one of them."
        )
    absent = sorted(set(params.classes) - in_labels)
    if len(absent) == len(params.classes) and len(labels):
        raise DataError(
            f"`scenes.classes` names {', '.join(absent)}, but the labels hold "
            f"{', '.join(sorted(in_labels))}. Correct the names."
        )


def notes_on_class_names(names: pd.Series) -> list[str]:
    """Return a sentence on classes that are likely one, and one on labels without a class.

    Args:
        names: (N,) class of each label.
    """
    counts = names.value_counts()
    spellings: dict[str, list[str]] = {}
    for name in sorted(counts.index):
        plain = unicodedata.normalize("NFKC", name).casefold()
        spellings.setdefault(re.sub(r"[\s_-]+", "", plain) or name, []).append(name)
    notes = [
        f"the classes {', '.join(map(repr, alike))} differ by case, blanks or hyphens alone, and "
        "are learned as different ones: give them one name in `scenes.classes`"
        for alike in spellings.values()
        if len(alike) > 1
    ]
    if NO_CLASS in counts and len(counts) > 1:
        notes.append(
            f"the class {NO_CLASS!r}, which labels without a class get, has "
            f"{counted(int(counts[NO_CLASS]), 'label')}: `scenes.ignore_classes` leaves such "
            "labels out of training"
        )
    return notes


def _sides_on_ground(labels: geopandas.GeoDataFrame, infos: list[SceneInfo]) -> Floats:
    """Return the lengths (N, 2) of the sides of the labels' boxes, m; NaN for points."""
    by_name = {info.name: info for info in infos}
    boxes = labels[list(BOX_COLUMNS)].to_numpy(np.float64)
    sides = np.full((len(labels), 2), np.nan)
    for name, rows in labels.groupby("scene").indices.items():
        info = by_name[str(name)]
        sides[rows] = georef.box_sides_m(boxes[rows], info.transform, info.crs)
    is_point = (boxes[:, 2:] <= boxes[:, :2]).all(axis=1)
    sides[is_point] = np.nan
    return sides
