"""Peak memory and seconds of each stage over 500 to 5,000 small scenes of five objects each.

    python benchmarks/bench_many_scenes.py [NUMBER_OF_SCENES ...]

Every stage is a process of its own, as DVC starts it, with a network of random weights in place of
training. The sizes of the map page and of the report are given too.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from measuring import ROOT, measure_process, save
from rasterio.transform import Affine
from ruamel.yaml import YAML

COUNTS = (500, 1000, 5000)
SHAPE_HW, OBJECTS, SIDE_PX, GSD_M = (192, 256), 5, 10, 1.25
SCENES_PER_PLACE = 10
STAGES = ("scenes", "patches", "evaluate", "detect", "export")
LIMIT_MIB = 2048
PARAMETERS: dict[str, dict[str, Any]] = {
    "patches": {"positives_per_object": 2},
    "evaluate": {"n_bootstrap": 100},
}


def write_scenes(folder: Path, count: int) -> None:
    """Write the scenes, one file of labels in longitude and latitude, and their places."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    lines, shapes = ["scene,place"], []
    for number in range(count):
        x, y = 4e5 + number % 70 * 500, 5e6 + number // 70 * 500
        transform = Affine(GSD_M, 0, x, 0, -GSD_M, y)
        # of each scene's own, since equal patches in two splits stop the patches stage
        pixels = rng.integers(30, 90, (3, *SHAPE_HW), np.uint8)
        for center in rng.integers(20, np.array(SHAPE_HW) - 20, (OBJECTS, 2)):
            row, col = center - SIDE_PX // 2
            pixels[:, row : row + SIDE_PX, col : col + SIDE_PX] = 230
            corners = transform @ (col, row), transform @ (col + SIDE_PX, row + SIDE_PX)
            shapes.append(shapely.box(*corners[0], *corners[1]))
        profile = {"height": SHAPE_HW[0], "width": SHAPE_HW[1], "count": 3, "dtype": "uint8"}
        path = folder / f"s{number:05}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", crs="EPSG:32631", transform=transform, **profile
        ) as dataset:
            dataset.write(pixels)
        lines.append(f"s{number:05},p{number // SCENES_PER_PLACE:04}")
    (folder / "places.csv").write_text("\n".join(lines) + "\n")
    frame = geopandas.GeoDataFrame(
        {"class": ["plane"] * len(shapes)}, geometry=shapes, crs="EPSG:32631"
    )
    frame.to_crs("EPSG:4326").to_file(folder / "labels.gpkg")


def write_project(root: Path, count: int) -> None:
    """Write scenes, parameters, scripts and an untrained model."""
    from fake_models import write_bundle

    write_scenes(root / "data" / "raw", count)
    write_bundle(root / "data" / "train", classes=("plane",))
    shutil.copytree(ROOT / "pipeline", root / "pipeline")
    shutil.copy(ROOT / "dvc.yaml", root)
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for stage, values in PARAMETERS.items():
        params[stage].update(values)
    with (root / "params.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(params, stream)


def measure_all(root: Path, count: int) -> dict[str, Any]:
    """Return the figures of every stage, and the sizes of the pages."""
    write_project(root, count)
    figures: dict[str, Any] = {}
    for stage in STAGES:
        figures[stage] = measure_process([sys.executable, f"pipeline/{stage}.py"], root)
        print(count, stage, figures[stage], flush=True)
    search = ["detect", "data/raw", "--model", "data/model", "-o", "found.gpkg"]
    report = ["review", "found.gpkg", "-o", "review.gpkg"]
    for name, arguments in {"windhover detect": search, "windhover review": report}.items():
        command = [sys.executable, "-m", "windhover.cli.app", *arguments]
        figures[name] = measure_process(command, root)
        print(count, name, figures[name], flush=True)
    pages = (*root.glob("data/**/*.html"), *root.glob("reports/*.html"))
    figures["pages_mib"] = {
        str(page.relative_to(root)): round(page.stat().st_size / 2**20, 1) for page in pages
    }
    print(count, figures["pages_mib"], flush=True)
    return figures


def main() -> None:
    """Measure each number of scenes."""
    counts = [int(text) for text in sys.argv[1:]] or COUNTS
    figures: dict[str, Any] = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            figures[f"{count} scenes"] = measure_all(Path(folder) / "project", count)
        print(json.dumps(figures), flush=True)
    save("many_scenes", figures, f"every stage under {LIMIT_MIB} MiB at 5,000 scenes")


if __name__ == "__main__":
    main()
