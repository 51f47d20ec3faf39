"""What `windhover detect` loads before it reads a pixel, and before it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fake_models import write_bundle

# none of these is needed to read and score a raster that is at the model's GSD
HEAVY = (
    *("geopandas", "pandas", "sklearn", "scipy", "matplotlib", "pyarrow", "pyogrio", "rich"),
    *("torchvision", "timm", "mlflow", "lightning", "albumentations"),
    *("torch._dynamo", "torch._inductor"),
)
RUN = """
import json, sys
from windhover.cli.app import main
from windhover.imagery import native_resolution_reader

class FirstPixel(BaseException):
    pass

def stop(*args, **options):
    raise FirstPixel

native_resolution_reader.NativeReader.read = stop
wanted = json.loads(sys.argv[1])
ended = {}
for name, arguments in wanted["runs"].items():
    sys.argv = ["windhover", "detect", *arguments]
    code = 0
    try:
        main()
    except FirstPixel:
        code = "first pixel"
    except SystemExit as end:
        code = end.code
    ended[name] = [code, [name for name in wanted["names"] if name in sys.modules]]
print(json.dumps(ended))
"""


def run_detect(runs: dict[str, list[str]], names: Sequence[str]) -> dict[str, Any]:
    """Return how each run of `detect` ended, and which of some modules were loaded until then.

    All in one process, so that what one run loads is seen in all that follow.
    """
    wanted = json.dumps({"runs": runs, "names": list(names)})
    done = subprocess.run(
        [sys.executable, "-c", RUN, wanted], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    ended: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return ended


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_bundle(folder, 0.05)
    return folder


def test_the_first_pixel_is_read_before_what_writes_results_is_loaded(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    arguments = [str(make_scene()), "--model", str(model), "-o", str(tmp_path / "f.gpkg")]
    ended = run_detect({"right": arguments}, [*HEAVY, "torch"])
    assert ended == {"right": ["first pixel", ["torch"]]}


def shifted_area(folder: Path) -> Path:
    """Write an area that has no part of the scenes of these tests."""
    ring = [[40, 10], [41, 10], [41, 11], [40, 10]]
    feature = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    path = folder / "area.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


def faulty_arguments(folder: Path, scene: Path, model: Path) -> dict[str, list[str]]:
    """Return fault -> arguments that `detect` refuses."""
    foreign = folder / "foreign.gpkg"
    foreign.write_bytes(b"SQLite format 3\x00 of another program")
    broken = folder / "broken"
    broken.mkdir()
    (broken / "model.json").write_text("{}")
    scenes = [str(scene), "--model", str(model)]
    right = [*scenes, "-o", str(folder / "f.gpkg")]
    return {
        "no raster": [str(folder / "no.tif"), "--model", str(model)],
        "no model": [str(scene), "--model", str(folder / "none")],
        "broken model": [str(scene), "--model", str(broken)],
        "output of others": [*scenes, "-o", str(foreign)],
        "output below a file": [*scenes, "-o", str(scene / "f.gpkg")],
        "output is read": [*scenes, "-o", str(scene)],
        "suffix": [*scenes, "-o", str(folder / "f.shp")],
        "no area": [*right, "--aoi", str(folder / "no.geojson")],
        "area elsewhere": [*right, "--aoi", str(shifted_area(folder))],
        "gsd": [*right, "--gsd", "-3"],
        "gsd of no size": [*right, "--gsd", "1e-9"],
        "threshold": [*right, "--threshold", "7"],
        "stride": [*right, "--stride", "5"],
        "scales": [*right, "--scales", "0"],
        "precision": [*right, "--inference-precision", "int3"],
        "device": [*right, "--device", "tpu"],
        "bands": [*right, "--bands", "1,2"],
        "a band that is not there": [*right, "--bands", "1,2,9"],
        "block": [*right, "--block-px", "3"],
        "batch": [*right, "--batch-px", "3"],
        "score map": [*right, "--scores", str(folder / "s.png")],
    }


def test_refusals_come_before_torch_is_loaded(make_scene: Any, model: Path, tmp_path: Path) -> None:
    faults = faulty_arguments(tmp_path, make_scene(), model)
    assert run_detect(faults, ["torch"]) == {fault: [1, []] for fault in faults}
    assert not list(tmp_path.glob(".*"))
