"""Labels written for a raster, the catalog made of a folder of them, and patches cut of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np

from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.catalog import Catalog
from windhover.dataset.import_labels import ImportOptions, import_labels
from windhover.geometry import georef
from windhover.imagery.rasters import inspect_scene
from windhover.params.patches import PatchesParams
from windhover.params.scenes import ScenesParams
from windhover.patches.cut_patches import cut_patches
from windhover.patches.patch_summary import PatchSummary

# what differs from the defaults of the models
SCENES: dict[str, Any] = {
    "ignore_classes": ["cut"],
    "groups": None,
    "group_column": None,
    "split_fractions": [0.4, 0.3, 0.3],
}
PATCHES: dict[str, Any] = {
    "positives_per_object": 4,
    "negatives_per_positive": {"random": 2.0},
}
# x, y px; the last one at the scene's corner
CENTERS = [(60.0, 50.0), (200.25, 140.5), (330.0, 70.0), (395.0, 195.0)]


def catalog_of(tmp_path: Path, **changes: Any) -> Catalog:
    (tmp_path / "made").mkdir(exist_ok=True)
    params = ScenesParams(raw=str(tmp_path / "raw"), **(SCENES | changes))
    return build_catalog(params, tmp_path / "made", tmp_path / "made")


def cut(catalog: Catalog, folder: Path, **changes: Any) -> PatchSummary:
    folder.mkdir(parents=True, exist_ok=True)
    return cut_patches(catalog, PatchesParams.model_validate(PATCHES | changes), folder)


def write_labels(
    path: Path,
    scene: Path,
    centers: list[tuple[float, float]],
    classes: list[str],
    side: float = 24.0,
) -> None:
    info = inspect_scene(scene)
    boxes = np.array(
        [(x - side / 2, y - side / 2, x + side / 2, y + side / 2) for x, y in centers]
    ).reshape(-1, 4)
    frame = geopandas.GeoDataFrame(
        {"class": classes}, geometry=list(georef.box_polygons(boxes, info.transform)), crs=info.crs
    )
    frame.to_file(path, layer="labels")


def import_folder(
    labels: Path, folder: Path, output: str, lines: list[str] | None = None
) -> Catalog:
    """Import labels on the rasters of `folder/raw`; the reported lines are added to `lines`."""
    report = (lines if lines is not None else []).append
    return import_labels(
        labels, folder / "raw", folder / output, options=ImportOptions(), report=report
    )
