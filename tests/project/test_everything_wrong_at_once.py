"""Ten scenes and 300 labels with everything that goes wrong at once: a map, each thing told once.

Mixed systems, a tile without labels, a label file of two layers, adjoining tiles, an alpha band, 16
bits, a damaged raster, a quicklook.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import Transformer

from conftest import MakeScene
from windhover.params import load_params
from windhover.params.scenes import ScenesParams
from windhover.project import init_project as flow
from windhover.project.init_project import init_project
from windhover.project.request import ProjectRequest

SHAPE = (400, 520)
GSD_M = 1.0
N_OBJECTS = 300
# name -> what make_scene takes
SCENES: dict[str, dict[str, Any]] = {
    "north-1.tif": {"origin": (400_000.0, 5_000_000.0)},
    "north-2.tif": {"origin": (400_000.0 + SHAPE[1], 5_000_000.0)},  # adjoins the first
    "south.tif": {"origin": (400_000.0, 4_990_000.0)},
    "west.tif": {"origin": (380_000.0, 5_000_000.0)},
    "far.tif": {"origin": (420_000.0, 5_010_000.0)},
    "next_zone.tif": {"origin": (400_000.0, 5_000_000.0), "crs": "EPSG:32632"},
    "with_alpha.tif": {"origin": (440_000.0, 5_000_000.0), "bands": 4, "photometric": "RGB"},
    "no_labels.tif": {"origin": (460_000.0, 5_000_000.0)},
    "sixteen.tif": {"origin": (480_000.0, 5_000_000.0), "dtype": "uint16"},
}
UNLABELED = "no_labels.tif"


def messy_folder(make_scene: MakeScene, tmp_path: Path) -> None:
    """Write scenes with bright boxes on noise, and their labels in two layers in degrees."""
    rng = np.random.default_rng(3)
    layers: list[geopandas.GeoDataFrame] = []
    for number, (name, wanted) in enumerate(SCENES.items()):
        options = {"crs": "EPSG:32631", "bands": 3, "dtype": "uint8"} | wanted
        high = 4000 if options["dtype"] == "uint16" else 255
        noise = rng.integers(high // 10, high // 3, (int(options["bands"]), *SHAPE))
        pixels = noise.astype(options["dtype"])
        count = N_OBJECTS // (len(SCENES) - 1) + 1
        rows = rng.permutation(np.arange(20, SHAPE[0] - 20, 40))
        corners = [(int(row), int(col)) for row in rows for col in range(20, SHAPE[1] - 20, 45)]
        corners = corners[: count if name != UNLABELED else 0]
        boxes = []
        for row, col in corners:
            pixels[:3, row : row + 12, col : col + 22] = high
            left = options["origin"][0] + col * GSD_M
            top = options["origin"][1] - row * GSD_M
            boxes.append(shapely.box(left, top - 12 * GSD_M, left + 22 * GSD_M, top))
        pixels[3:] = 255  # alpha
        del options["bands"], options["dtype"]
        make_scene(f"s/{name}", gsd_m=GSD_M, data=pixels, **options)
        if boxes:
            frame = geopandas.GeoDataFrame(geometry=boxes, crs=options["crs"]).to_crs("EPSG:4326")
            layers.append(frame.assign(layer=number % 2))
    make_scene("s/quicklook.png", (90, 120), crs=None, driver="PNG")
    whole = make_scene("s/damaged.tif", SHAPE, origin=(500_000.0, 5_000_000.0), gsd_m=GSD_M)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    every: Any = pd.concat(layers, ignore_index=True)
    for layer, kind in enumerate(("sail", "motor")):
        chosen = every[every["layer"] == layer].drop(columns="layer")
        chosen.to_file(tmp_path / "boats.gpkg", layer=kind)


def test_a_project_is_made_and_each_thing_is_told_once(
    make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "init_repository", lambda project: None)
    messy_folder(make_scene, tmp_path)
    lines: list[str] = []
    request = ProjectRequest(
        tmp_path / "p", scenes=tmp_path / "s", labels=tmp_path / "boats.gpkg", minutes=1.0
    )
    proposal = init_project(request, lines.append)
    told = [line for line in lines if not line.startswith("  ")]
    for word in ("damaged.tif", "quicklook.png", "sixteen.tif", "no_labels", "layers sail"):
        assert sum(word in line for line in told) == 1, word
    assert (request.project / "check.html").is_file()
    assert not any("could not be made" in line for line in lines)
    params = load_params("scenes", ScenesParams, request.project)
    assert {Path(name).name for name in params.exclude} == {
        "damaged.tif",
        "quicklook.png",
        "sixteen.tif",
    }
    assert proposal.split_kind == "places"
    # two tiles that adjoin are one place
    n_labeled = len(SCENES) - 2
    assert any(f"{len(SCENES) - 1} scenes of {n_labeled} places" in line for line in lines)


@pytest.mark.slow
def test_it_ends_with_a_map(make_scene: MakeScene, tmp_path: Path) -> None:
    messy_folder(make_scene, tmp_path)
    command = [sys.executable, "-m", "windhover.cli.app", "init", "p", "--scenes", "s"]
    command += ["--labels", "boats.gpkg", "--minutes", "0.3"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=tmp_path / "p",
        check=False,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = geopandas.read_file(tmp_path / "p" / "data" / "map" / "detections.gpkg")
    assert len(found) > 0
    to_degrees = Transformer.from_crs(found.crs, "EPSG:4326", always_xy=True)
    x, _ = to_degrees.transform(*found.total_bounds[:2])
    assert -1 < x < 10
    assert (tmp_path / "p" / "reports" / "index.html").is_file()
