"""A small world with a trained network, as the evaluation finds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import torch
from affine import Affine
from shapely import box

from conftest import MakeScene
from project import ROOT
from windhover.dataset.catalog import Catalog, empty_areas, save_catalog
from windhover.dataset.catalog_report import CatalogReport
from windhover.dataset.catalog_tables import LABEL_COLUMNS
from windhover.evaluation.evaluate_model import EvaluationFolders
from windhover.models.networks import build_network
from windhover.params import check_params, read_yaml
from windhover.params.evaluate import EvaluateParams
from windhover.patches.patch_store import PatchWriter, index_table
from windhover.patches.patch_summary import SUMMARY_FILE, PatchSummary

GSD = 1.25


SIDE = 24  # px of an object


LEARNING_RATE = 0.02


SECTION = read_yaml(ROOT / "params.yaml")["evaluate"]


def params(**changes: Any) -> EvaluateParams:
    return check_params(
        "evaluate", EvaluateParams, {**SECTION, "n_bootstrap": 100, "min_logit": -12.0, **changes}
    )


def trained_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return fit(build_network("valid64", 1, 1, width=16))


def fit(network: torch.nn.Module, steps: int = 18) -> torch.nn.Module:
    """Train the network to find bright squares on a dark background."""
    rng = np.random.default_rng(1)
    # momentum by hand: an optimiser would take seconds to import
    momentum = [torch.zeros_like(weight) for weight in network.parameters()]
    network.train()
    for _ in range(steps):
        images, labels = zip(*(window(rng, bool(k % 2)) for k in range(20)), strict=True)
        inputs = (torch.from_numpy(np.stack(images)).float()[:, None] - 60) / 40  # (B, 1, 64, 64)
        outputs = network(inputs)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            outputs.logits.flatten(), torch.tensor(labels).float()
        )
        loss = (
            loss
            + (outputs.offsets_px**2).mean() * 0.01
            + ((outputs.log_sizes - np.log(SIDE)) ** 2).mean()
        )
        slopes = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for weight, velocity, slope in zip(network.parameters(), momentum, slopes, strict=True):
                weight -= velocity.mul_(0.9).add_(slope, alpha=LEARNING_RATE)
    return network.eval()


def window(rng: np.random.Generator, positive: bool) -> tuple[np.ndarray, bool]:
    image = rng.normal(60, 12, (64, 64))
    if positive or rng.random() < 0.4:
        dx, dy = rng.integers(-6, 7, 2) if positive else rng.choice([-26, 26], 2)
        top, left = 32 + dy - SIDE // 2, 32 + dx - SIDE // 2
        image[max(top, 0) : top + SIDE, max(left, 0) : left + SIDE] += 90
    return np.clip(image, 0, 255).astype(np.uint8), positive


class World:
    """A catalog of small scenes and a folder of patches."""

    def __init__(
        self, root: Path, make_scene: MakeScene, objects: dict[str, int], train: Path
    ) -> None:
        self.root, self.rng = root, np.random.default_rng(3)
        scenes, labels = [], []
        for index, (name, number) in enumerate(objects.items()):
            split = name.split("-")[0]
            shape = (180, 230 + 8 * index)
            data, centers = self.paint(shape, number)
            path = make_scene(f"{name}.tif", shape_hw=shape, bands=1, gsd_m=GSD, data=data[None])
            transform = list(Affine(GSD, 0, 400_000, 0, -GSD, 5_000_000))[:6]
            scenes.append(
                {
                    "scene": name,
                    "path": str(path),
                    "width_px": shape[1],
                    "height_px": shape[0],
                    "bands": ["grey"],
                    "dtype": "uint8",
                    "nodata": None,
                    "crs": "EPSG:32631",
                    "transform": transform,
                    "gsd_x_m": GSD,
                    "gsd_y_m": GSD,
                    "place": f"place-{index}",
                    "split": split,
                    "labeled": True,
                    "footprint_wkt_4326": None,
                }
            )
            for col, row in centers:
                edges = (col - SIDE / 2, row - SIDE / 2, col + SIDE / 2, row + SIDE / 2)
                labels.append(
                    {
                        "scene": name,
                        "class": "square",
                        "role": "object",
                        "col": col,
                        "row": row,
                        "left": edges[0],
                        "top": edges[1],
                        "right": edges[2],
                        "bottom": edges[3],
                        "length_m": SIDE * GSD,
                        "width_m": SIDE * GSD,
                        "source": "",
                        "geometry": box(*edges),
                    }
                )
        table = geopandas.GeoDataFrame(
            pd.DataFrame(labels, columns=list(LABEL_COLUMNS)), geometry="geometry"
        )
        report = CatalogReport(training_gsd_m=1.0)
        save_catalog(Catalog(pd.DataFrame(scenes), table, empty_areas(), report), root / "scenes")
        self.patches(any(objects.values()))
        self.folders = EvaluationFolders(
            scenes=root / "scenes",
            patches=root / "patches",
            train=train,
            model=root / "model",
            reports=root / "reports",
        )

    def paint(
        self, shape: tuple[int, int], number: int
    ) -> tuple[np.ndarray, list[tuple[float, float]]]:
        data, centers = self.rng.normal(60, 12, shape), []
        for slot in self.rng.permutation(6)[:number]:
            top, left = (
                20 + (slot // 3) * 80 + self.rng.integers(0, 9),
                20 + (slot % 3) * 70 + self.rng.integers(0, 9),
            )
            data[top : top + SIDE, left : left + SIDE] += 90
            centers.append((left + SIDE / 2, top + SIDE / 2))
        return np.clip(data, 0, 255).astype(np.uint8), centers

    def patches(self, with_objects: bool) -> None:
        folder = self.root / "patches"
        folder.mkdir()
        rows = []
        for split in ("train", "val", "test"):
            with PatchWriter(folder / f"{split}.npy", (64, 64, 1), np.dtype("uint8")) as writer:
                for k in range(60):
                    image, positive = window(self.rng, with_objects and k % 3 == 0)
                    writer.append(image[None, :, :, None])
                    kind, name = ("positive", "square") if positive else ("random", "")
                    rows.append(
                        {
                            "patch": k,
                            "split": split,
                            "scene": f"{split}-0",
                            "place": "p",
                            "kind": kind,
                            "class": name,
                            "dx_px": 0.0,
                            "dy_px": 0.0,
                            "w_px": 24.0,
                            "h_px": 24.0,
                            "left_px": 0,
                            "top_px": 0,
                            "gsd_m": GSD,
                            "origin": "cut",
                        }
                    )
        index_table(rows).to_parquet(folder / "index.parquet", index=False)
        summary = PatchSummary(
            window_px=64,
            stride_px=8,
            gsd_m=GSD,
            bands=["gray"],
            positive_radius_px=8.0,
            ignore_radius_px=15.0,
            radius_shape="square",
            dtype="uint8",
            classes=["square"],
            mean=[60.0],
            std=[40.0],
        )
        summary.save(folder / SUMMARY_FILE)


FULL = {"val-0": 5, "val-1": 4, "test-0": 6, "test-1": 0, "test-2": 4}
