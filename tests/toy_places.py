"""A catalog of three places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np

from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.catalog import Catalog
from windhover.geometry import georef
from windhover.imagery.rasters import inspect_scene
from windhover.params.scenes import ScenesParams

DEFAULTS: dict[str, Any] = {
    "groups": None,
    "group_column": None,
    "split_fractions": [0.6, 0.2, 0.2],
}


def catalog_of(tmp_path: Path, **changes: Any) -> Catalog:
    """Return the catalog of a raw folder."""
    raw = changes.pop("raw", tmp_path / "raw")
    out = tmp_path / "made"
    out.mkdir(exist_ok=True)
    return build_catalog(ScenesParams(raw=str(raw), **(DEFAULTS | changes)), out, out)


def write_labels(
    path: Path,
    scene: Path,
    boxes: list[tuple[float, float, float, float]],
    classes: list[str] | None = None,
) -> None:
    """Write boxes in px of a scene as a label file in its coordinate system."""
    info = inspect_scene(scene)
    shapes = georef.box_polygons(np.array(boxes).reshape(-1, 4), info.transform)
    path.parent.mkdir(exist_ok=True)
    names = classes or ["plane"] * len(boxes)
    geopandas.GeoDataFrame({"class": names}, geometry=list(shapes), crs=info.crs).to_file(
        path, layer="labels"
    )
