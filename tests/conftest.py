"""What every test stands on: quiet libraries, small rasters that are never square, and the real
scenes.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
if "PYTEST_XDIST_WORKER" in os.environ:
    # two workers on two cores: threads of torch and ONNX Runtime would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def torch_threads() -> Iterator[None]:
    """Undo what a training sets: the next test computes with as many threads as the first did."""
    yield
    torch = sys.modules.get("torch")
    n_threads = os.environ.get("OMP_NUM_THREADS", "")
    if torch is not None and n_threads.isdigit():
        torch.set_num_threads(int(n_threads))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real scenes named by WINDHOVER_REAL_DATA; the test skips where it is not set."""
    folder = os.environ.get("WINDHOVER_REAL_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real scenes: set WINDHOVER_REAL_DATA to their folder")
    return Path(folder)


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let MLflow make its tables once: later databases are copies of the first empty one, which
    saves a second each.
    """
    from mlflow.store.db import utils

    template = tmp_path_factory.mktemp("tables") / "empty.db"
    make_tables = utils._initialize_tables

    def copy_tables(engine: Any) -> None:
        is_first = not template.exists()
        if is_first:
            make_tables(engine)
        with closing(sqlite3.connect(template)) as empty, closing(engine.raw_connection()) as new:
            if is_first:
                new.driver_connection.backup(empty)
            else:
                empty.backup(new.driver_connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_initialize_tables", copy_tables)
        yield


MakeScene = Callable[..., Path]


@pytest.fixture
def make_scene(tmp_path: Path) -> MakeScene:
    """Return `make(name="scene.tif", shape_hw=(150, 210), bands=3, dtype="uint8", ..., data=None)
    -> path`.
    """
    return scene_maker(tmp_path)


def scene_maker(folder: Path) -> MakeScene:
    """Return what `make_scene` returns, for a folder that several tests share."""

    def make(
        name: str = "scene.tif",
        shape_hw: tuple[int, int] = (150, 210),
        bands: int = 3,
        dtype: str = "uint8",
        crs: str | None = "EPSG:32631",
        gsd_m: float = 1.25,
        origin: tuple[float, float] = (400_000.0, 5_000_000.0),
        transform: Any = None,
        data: np.ndarray | None = None,
        seed: int = 0,
        **profile: Any,
    ) -> Path:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning
        from rasterio.transform import Affine

        if data is None:
            rng = np.random.default_rng(seed)
            high = 255 if dtype == "uint8" else 4000
            data = rng.integers(1, high, (bands, *shape_hw)).astype(dtype)
        if transform is None and crs is not None:
            transform = Affine(gsd_m, 0, origin[0], 0, -gsd_m, origin[1])
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path,
                "w",
                driver=profile.pop("driver", "GTiff"),
                height=data.shape[1],
                width=data.shape[2],
                count=data.shape[0],
                dtype=data.dtype,
                crs=crs,
                **({"transform": transform} if transform is not None else {}),
                **profile,
            ) as dataset:
                dataset.write(data)
        return path

    return make
