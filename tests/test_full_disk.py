"""A limit of file size in the middle of a write, for every writer: one sentence, nothing cut.

The limit (`ulimit -f`) stands for a full disk, which needs no disk of its own so: a write beyond it
fails as one to a full disk does. GDAL reports no error of what it writes when it closes a file, so
that a file which looks finished may lack its end, its index or all of its tiles.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from matplotlib.figure import Figure

import toy_collection
from conftest import MakeScene
from toy_results import searched
from windhover.batch.part import save_bytes
from windhover.detection.journal import SearchJournal
from windhover.errors import FullDiskError
from windhover.export.coverage_mask import class_map_file, write_class_map
from windhover.export.detections import save_table
from windhover.export.write_detections import write_detections
from windhover.files import atomic_folder, write_json
from windhover.models.weights_file import WEIGHTS, write_weights
from windhover.rendering.plot_style import save_figure
from windhover.review.make_review import ReviewRequest, make_review
from windhover.temporary_files import with_final_names
from windhover.training.callbacks.last_checkpoint import AtomicCheckpointIO

FORMATS = (".gpkg", ".parquet", ".geojson", ".csv", ".fgb", ".pmtiles", ".html", ".json")
SHARES = (0.05, 0.3, 0.6, 0.85, 0.93, 0.999)  # of the whole file
Write = Callable[[Path], object]


@contextmanager
def file_limit(n_bytes: int) -> Iterator[None]:
    """Let files of this process have no more bytes until the block ends."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a raster of noise and a map of scores."""
    folder = tmp_path_factory.mktemp("sources")
    profile = {"driver": "GTiff", "height": 210, "width": 330, "count": 1, "dtype": "uint8"}
    with rasterio.open(folder / "map.tif", "w", **profile) as dataset:
        dataset.write(np.random.default_rng(0).integers(0, 250, (1, 210, 330)).astype(np.uint8))
    return folder


def writers(make_scene: MakeScene, folder: Path) -> dict[str, Write]:
    """Return what writes a file, by the file's name."""
    boxes = [(20.0 + 2 * n, 15 + n, 10, 20) for n in range(60)]
    table, summary = searched([make_scene("noise.tif")], *boxes)
    write_detections(table, summary, folder / "result.parquet")
    figure = Figure()
    figure.subplots().plot(np.arange(9))
    noise = np.random.default_rng(1).normal(size=9000).astype(np.float32)

    def write_map_of(path: Path) -> None:
        write_detections(table, summary, path)

    def review(path: Path) -> None:
        make_review(folder / "result.parquet", ReviewRequest(output=path, budget=20))

    def class_map(path: Path) -> None:
        with class_map_file(folder / "map.tif", path, thresholds=(0.5,), min_speck_px=0) as plain:
            write_class_map(plain, path, ("cloud",))

    def write_collection(path: Path) -> None:
        toy_collection.collect(path, toy_collection.scene("a", [(400_100.0, 4_999_900.0, 0.9)]))

    made: dict[str, Write] = {f"found{suffix}": write_map_of for suffix in FORMATS}
    return made | {
        "table.parquet": lambda path: save_table(table, path),
        "review.gpkg": review,
        "classes_cog.tif": class_map,
        "figure.png": lambda path: save_figure(figure, path),
        "record.json": lambda path: write_json(path, list(range(999))),
        WEIGHTS: lambda path: write_weights(path.parent, {"layer": noise}),
        "last.ckpt": lambda path: AtomicCheckpointIO().save_checkpoint(
            {"layer": torch.from_numpy(noise)}, path
        ),
        "00001.parquet": lambda path: save_bytes(noise.tobytes(), path),
        "collection": write_collection,
    }


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def sizes_to_try(path: Path) -> list[int]:
    """Return limits below the size of a file, or of the largest in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    largest = max(file.stat().st_size for file in files)
    return sorted({int(share * largest) for share in SHARES})


@pytest.mark.parametrize(
    "name",
    [
        *(f"found{suffix}" for suffix in FORMATS),
        *("table.parquet", "review.gpkg", "classes_cog.tif", "figure.png", "record.json", WEIGHTS),
        *("last.ckpt", "00001.parquet", "collection"),
    ],
)
def test_no_writer_leaves_a_part_for_the_whole(
    make_scene: MakeScene, sources: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "out").mkdir()
    write: Write = writers(make_scene, sources)[name]
    path = tmp_path / "out" / name
    write(path)
    limits = sizes_to_try(path)
    is_once = name == "review.gpkg"  # a file with answers is never replaced
    if is_once:
        path.unlink()
    before = contents(tmp_path / "out")
    names = {entry.name for entry in (tmp_path / "out").iterdir()}
    for limit in limits:
        with (
            pytest.raises(OSError, match=r"are free now, files may have .*: ulimit -f\)") as caught,
            file_limit(limit),
        ):
            write(path)
        assert name in with_final_names(str(caught.value))
        assert contents(tmp_path / "out") == before
        assert {entry.name for entry in (tmp_path / "out").iterdir()} == names
    write(path)


def test_a_raster_that_is_cut_at_its_end_is_noticed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1, 300, 500)).astype(np.uint8)
    profile: dict[str, Any] = {"height": 300, "width": 500, "count": 1, "dtype": "uint8"}

    def write(folder: Path) -> None:
        with (
            atomic_folder(folder) as temporary,
            rasterio.open(temporary / "a.tif", "w", driver="GTiff", **profile) as dataset,
        ):
            dataset.write(noise)

    write(tmp_path / "scenes")
    size = (tmp_path / "scenes" / "a.tif").stat().st_size
    with file_limit(size - 40), pytest.raises(FullDiskError, match="/scenes: no space left"):
        write(tmp_path / "scenes")
    assert (tmp_path / "scenes" / "a.tif").stat().st_size == size


def test_a_journal_on_a_full_disk_is_named_and_left_for_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / ".found.gpkg.journal"
    with (
        file_limit(9000),
        pytest.raises(OSError, match=r"\.found\.gpkg\.journal: disk I/O error \(.* are free"),
        SearchJournal(path, {"scene": "x" * 20_000}, resume=False),
    ):
        pass
    with SearchJournal(path, {"scene": "x" * 20_000}, resume=True) as journal:
        assert (journal.state, len(journal)) != ("resumed", 0)
        journal.remove()
    assert not list(tmp_path.iterdir())
