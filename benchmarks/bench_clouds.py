"""Clouds and shadows on two real Landsat scenes, each mapped by models that learned from the
built-in sky and the other scene, against `ukis-csmask` with its own weights.

    python benchmarks/bench_clouds.py SCENES [--networks dense unet] [--seed 0] [--third SCENE.npz]

SCENES is a folder with landsat5.npz and landsat7.npz (`img`: reflectance (512, 512, 6); `msk`: 0
shadow, 1 water, 3 land, 4 cloud). They become GeoTIFFs on a stated local grid of 30 m. Every model
is learned for a number of epochs, its threshold chosen and its map made by the stages and
`windhover detect`; the tested scene enters none of them. A quarter of the learned scene is held out
for the choice of weights and thresholds, together with a place of the sky. A third scene is tested
with a model that learned from both. The peer needs .venv-rivals (requirements-rivals.txt, or the
path of its Python in RIVALS_PYTHON). Its training set may hold these very scenes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from measuring import ROOT, save
from numpy.typing import NDArray

from windhover.detection.detect_request import DetectRequest
from windhover.detection.map_rasters import map_rasters
from windhover.geometry import georef
from windhover.params import check_params
from windhover.params.simulate import SimulateParams
from windhover.simulate.sky_world import BAND_NAMES, make_sky

STAGES = ("scenes", "patches", "augment", "train", "evaluate")
SCENES = ("landsat5", "landsat7")
OTHER = {"landsat5": "landsat7", "landsat7": "landsat5"}  # tested -> learned from
GSD_M = 30.0
PATCH_PX = 64
CLEAR = 0
CLOUD = 1
SHADOW = 2
TO_CLASS = {0: SHADOW, 1: CLEAR, 3: CLEAR, 4: CLOUD}
# metres of a plane that is nowhere on Earth
LOCAL_GRID = (
    'LOCAL_CS["stated local grid",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
)
RIVALS_PYTHON = Path(os.environ.get("RIVALS_PYTHON", ROOT / ".venv-rivals/bin/python"))
# each quarter of the real scene stands so many times: it weighs a quarter of the training ground
COPIES = 8
VAL_QUARTER = 3
SKY: dict[str, Any] = {
    "world": "clouds",
    "dtype": "uint16",
    "gsd_m": GSD_M,
    "train_places": 6,
    "val_places": 1,
    "test_places": 1,
    "scenes_per_place": 10,
    "scene_width_px": 256,
    "scene_height_px": 256,
    "search_tiles": 1,
    "search_tile_px": 256,
}
NETWORKS = {
    "dense": {
        "train.network": "valid64",
        "train.epochs": 20,
        "patches.coverage.label_px": 16,
        "patches.coverage.train_patches": 4000,
    },
    "unet": {
        "train.network": "unet",
        "train.options": "{encoder: resnet18, width: 16, levels: 4, space_to_depth: 2, "
        "scene_log: true}",
        "train.epochs": 6,
        "patches.coverage.train_patches": 1000,  # for its mean and spread alone
    },
}
TARGETS = {"landsat5": (0.955, 0.863), "landsat7": (0.938, 0.847)}


@dataclass(frozen=True)
class RealScene:
    """A real scene: uint16 reflectance (6, H, W) times 10,000, and its classes (H, W)."""

    name: str
    image: NDArray[np.uint16]
    classes: NDArray[np.uint8]


def read_scene(folder: Path, name: str) -> RealScene:
    """Return a scene from its .npz."""
    with np.load(folder / f"{name}.npz") as file:
        image = np.rint(np.moveaxis(file["img"], -1, 0) * 10_000)
        mask = file["msk"][..., 0]
    classes = np.full(mask.shape, 255, np.uint8)
    for value, number in TO_CLASS.items():
        classes[mask == value] = number
    return RealScene(name, np.clip(image, 1, 65535).astype(np.uint16), classes)


def write_raster(path: Path, image: NDArray[Any], origin_px: tuple[int, int] = (0, 0)) -> None:
    """Write (C, H, W) on the local grid; `origin_px` is the column and row of its corner."""
    west = origin_px[0] * GSD_M
    north = -origin_px[1] * GSD_M
    profile = {
        "driver": "GTiff",
        "count": len(image),
        "height": image.shape[1],
        "width": image.shape[2],
        "dtype": image.dtype,
        "crs": LOCAL_GRID,
        "transform": Affine(GSD_M, 0, west, 0, -GSD_M, north),
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(image)
        if len(image) == len(BAND_NAMES):
            for band, name in enumerate(BAND_NAMES, 1):
                dataset.set_band_description(band, name)


def write_raw(folder: Path, learned: list[RealScene], seed: int) -> None:
    """Write the built-in sky and the quarters of the real scenes to learn from, with masks."""
    sky = check_params("simulate", SimulateParams, SKY | {"seed": seed})
    make_sky(sky, folder, workers=1)
    lines = []
    for scene in learned:
        half = scene.classes.shape[0] // 2
        for copy in range(COPIES):
            for quarter in range(4):
                row, col = (half * part for part in divmod(quarter, 2))
                area = (slice(row, row + half), slice(col, col + half))
                name = f"{scene.name}_{quarter}{copy}"
                origin_px = (10_000 * copy + col, row)
                image = np.rot90(scene.image[:, *area], copy, (1, 2))
                write_raster(folder / f"{name}.tif", image, origin_px)
                classes = np.rot90(scene.classes[area], copy)[None]
                write_raster(folder / "masks" / f"{name}.tif", classes, origin_px)
                place = f"{scene.name},train"
                if quarter == VAL_QUARTER:
                    place = f"{scene.name}_val,val"
                lines.append(f"{name},{place}")
    with (folder / "places.csv").open("a", encoding="utf-8") as stream:
        stream.write("\n".join([*lines, ""]))


def learn(folder: Path, network: str, learned: list[RealScene], args: argparse.Namespace) -> None:
    """Make a project in a folder, and run its stages up to the stored threshold.

    Stages that an earlier run finished there are not run again.
    """
    prepare(folder, network, learned, args)
    for stage in STAGES:
        done = folder / f".{stage}_done"
        if not done.exists():
            run(folder, str(ROOT / "pipeline" / f"{stage}.py"))
            done.touch()


def prepare(folder: Path, network: str, learned: list[RealScene], args: argparse.Namespace) -> None:
    """Write the parameters and raw scenes of a project, unless they are there."""
    done = folder / ".raw_done"
    if done.exists():
        return
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder / name)
    raw = folder / "data" / "raw"
    write_raw(raw, learned, args.seed)
    settings = {
        **NETWORKS[network],
        "train.max_minutes": "null",
        "train.seed": args.seed,
        "scenes.raw": str(raw),
        "scenes.native_gsd_m": GSD_M,
        "augment.variants": 0,  # batches are augmented as they are shown
    }
    pairs = [*(f"{key}={value}" for key, value in settings.items()), *args.set]
    like = ["--like", str(ROOT / "params" / "clouds.yaml")]
    run(folder, "-m", "windhover.cli.app", "set", *like, *pairs)
    done.touch()


def run(folder: Path, *arguments: str) -> None:
    """Run this Python in a project."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True)


def map_scene(
    folder: Path, scene: RealScene, *, match_radiometry: bool
) -> tuple[NDArray[np.uint8], float]:
    """Return the classes (H, W) that a project's model finds in a scene, and the seconds of the
    second run, with all files written.
    """
    raster = folder / f"{scene.name}.tif"
    write_raster(raster, scene.image)
    output = folder / f"coverage_{scene.name}_{match_radiometry}"
    request = DetectRequest(
        [str(raster)],
        folder / "data" / "model",
        output,
        gsd_m=GSD_M,
        match_radiometry=match_radiometry,
    )
    map_rasters(request)
    began = time.perf_counter()
    map_rasters(request)
    seconds = time.perf_counter() - began
    with rasterio.open(output / f"{scene.name}_mask.tif") as mask:
        to_cell = ~mask.transform * georef.local_transform(GSD_M)
        cells = mask.read(1)
    row, col = np.indices(scene.classes.shape) + 0.5
    cell_col, cell_row = (np.floor(part).astype(int) for part in to_cell * (col, row))
    last_row, last_col = (length - 1 for length in cells.shape)
    found = cells[np.clip(cell_row, 0, last_row), np.clip(cell_col, 0, last_col)]
    found[found == 255] = CLEAR
    return found, seconds


def map_by_peer(path: Path, threads: int) -> dict[str, tuple[NDArray[Any], float]]:
    """Return model -> the classes (H, W) that the peer finds in a scene, and the seconds."""
    script = Path(__file__).with_name("rival_csmask.py")
    with tempfile.TemporaryDirectory() as folder:
        command = [RIVALS_PYTHON, script, path, folder, str(threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = json.loads(done.stdout.splitlines()[-1])
        return {
            model: (np.load(Path(folder) / f"{model}.npy"), value)
            for model, value in seconds.items()
        }


def measure(found: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[str, float]:
    """Return the figures of a mask, px by px and by patches of 64 px."""
    shares = [cloud_shares(classes) for classes in (found, truth)]
    figures = binary_figures(found == CLOUD, truth == CLOUD)
    recalls = [(found[truth == number] == number).mean() for number in (CLEAR, CLOUD, SHADOW)]
    figures["three_class_balanced_accuracy"] = float(np.mean(recalls))
    figures["mean_share_error"] = float(np.abs(shares[0] - shares[1]).mean())
    of_patches = binary_figures(shares[0] >= 0.5, shares[1] >= 0.5)
    figures |= {f"patch_{key}": value for key, value in of_patches.items()}
    return {key: round(value, 4) for key, value in figures.items()}


def binary_figures(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """Return balanced accuracy, rates and IoU of cloud against all else."""
    recall = float(found[truth].mean())
    false_rate = float(found[~truth].mean())
    return {
        "balanced_accuracy": (recall + 1 - false_rate) / 2,
        "true_positive_rate": recall,
        "false_positive_rate": false_rate,
        "iou": float((found & truth).sum() / (found | truth).sum()),
    }


def cloud_shares(classes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the covered share of each patch of 64 px."""
    rows, cols = (length // PATCH_PX for length in classes.shape)
    cut = classes[: rows * PATCH_PX, : cols * PATCH_PX] == CLOUD
    shares = cut.reshape(rows, PATCH_PX, cols, PATCH_PX).mean(axis=(1, 3))
    return np.asarray(shares, np.float64)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print one line a scene and model."""
    columns = [key for key in rows[0] if key not in ("scene", "model")]
    print("| scene | model | " + " | ".join(key.replace("_", " ") for key in columns) + " |")
    print("|" + "---|" * (len(columns) + 2))
    for row in rows:
        print(f"| {row['scene']} | {row['model']} | " + " | ".join(f"{row[k]:g}" for k in columns))


def main() -> None:
    """Learn, map, measure, print the table and save it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--networks", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="clouds", help="of the file of results")
    parser.add_argument("--threads", type=int, default=2, help="of the peer")
    parser.add_argument("--keep", type=Path, help="folder of the projects, to go on there later")
    parser.add_argument("--third", type=Path, help="a scene for a model that learned from both")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the projects")
    args = parser.parse_args()
    scenes = {name: read_scene(args.scenes, name) for name in SCENES}
    rounds = [(args.scenes / f"{name}.npz", [scenes[other]]) for name, other in OTHER.items()]
    if args.third is not None:
        rounds.append((args.third, list(scenes.values())))
    rows: list[dict[str, Any]] = []
    for path, learned in rounds:
        rows += test_scene(read_scene(path.parent, path.stem), path, learned, args)
    print_table(rows)
    target = "balanced accuracy and IoU of cloud above " + ", ".join(
        f"{accuracy} and {iou} ({name})" for name, (accuracy, iou) in TARGETS.items()
    )
    networks = {name: NETWORKS[name] for name in args.networks}
    figures = {"seed": args.seed, "networks": networks, "set": args.set, "rows": rows}
    save(args.name, figures, target)


def test_scene(
    scene: RealScene, path: Path, learned: list[RealScene], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return a row for each model that maps a scene."""
    rows: list[dict[str, Any]] = []

    def add(model: str, found: NDArray[Any], seconds: float) -> None:
        mpx = found.size / 1e6
        figures = {**measure(found, scene.classes), "mpx_per_s": round(mpx / seconds, 3)}
        rows.append({"scene": scene.name, "model": model, **figures})
        print(json.dumps(rows[-1]), flush=True)

    if RIVALS_PYTHON.is_file():
        for model, (found, seconds) in map_by_peer(path, args.threads).items():
            add(model, found, seconds)
    for network in args.networks:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if args.keep:
                folder = args.keep / f"{network}_{scene.name}"
                folder.mkdir(parents=True, exist_ok=True)
            learn(folder, network, learned, args)
            for suffix, match in (("", False), (", matched radiometry", True)):
                found, seconds = map_scene(folder, scene, match_radiometry=match)
                add(f"windhover, {network}{suffix}", found, seconds)
    return rows


if __name__ == "__main__":
    main()
