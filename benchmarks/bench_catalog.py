"""100,000 labels over 1,000 scenes: catalogd and checked, in seconds and in memory."""

from __future__ import annotations

import json
import resource
import tempfile
import time
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import shapely
from rasterio.transform import Affine

from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.catalog import write_catalog
from windhover.dataset.write_catalog_report import write_report
from windhover.files import atomic_folder, write_json
from windhover.params.scenes import ScenesParams

SCENES, LABELS, SIDE_PX = 1000, 100, 512
RESULT = Path(__file__).parent / "results" / "catalog.json"


def make(folder: Path) -> None:
    """Write the scenes, and one GeoPackage of all labels in longitude and latitude."""
    rng = np.random.default_rng(0)
    shapes = []
    folder.mkdir()
    for number in range(SCENES):
        x, y = 4e5 + number % 40 * 1000, 5e6 + number // 40 * 1000
        transform = Affine(1.25, 0, x, 0, -1.25, y)
        with rasterio.open(
            folder / f"s{number:04}.tif",
            "w",
            driver="GTiff",
            height=SIDE_PX,
            width=SIDE_PX,
            count=3,
            dtype="uint8",
            crs="EPSG:32631",
            transform=transform,
            tiled=True,
            blockxsize=256,
            blockysize=256,
            compress="deflate",
        ) as dataset:
            dataset.write(rng.integers(0, 255, (3, SIDE_PX, SIDE_PX)).astype(np.uint8))
        left, top = rng.uniform(0, 600, (2, LABELS))
        shapes.append(shapely.box(x + left, y - top - 30, x + left + 30, y - top))
    frame = geopandas.GeoDataFrame(
        {"class": "plane"},
        geometry=list(np.concatenate(shapes)),
        crs="EPSG:32631",
        index=range(SCENES * LABELS),
    )
    frame.to_crs("EPSG:4326").to_file(folder / "labels.gpkg")


def main() -> None:
    """Measure, print and write the result."""
    with tempfile.TemporaryDirectory() as temporary:
        raw, out = Path(temporary) / "raw", Path(temporary) / "out"
        make(raw)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        params = ScenesParams(
            raw=str(raw),
            rasters=None,
            stack=None,
            gsd_m=1.25,
            native_gsd_m=None,
            bands=None,
            labels="labels.gpkg",
            class_column=None,
            classes={},
            ignore_classes=[],
            duplicate_iou=1.0,
            empty_scenes="unlabelled",
            groups=None,
            group_column=None,
            fixed_splits={},
            areas=None,
            spatial_block_m=None,
            guard_m=80.0,
            folds=None,
            fold=0,
            split_fractions=[0.6, 0.15, 0.25],
            seed=0,
        )
        with atomic_folder(out) as folder:
            catalog = build_catalog(params, folder, out)
            write_catalog(catalog, folder)
            write_report(catalog, folder, out)
        seconds = time.perf_counter() - started
    result = {
        "scenes": len(catalog.scenes),
        "labels": len(catalog.labels),
        "seconds": round(seconds, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "of_which_before_mb": round(before / 1024),
    }
    print(json.dumps(result))
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
