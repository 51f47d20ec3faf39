"""Detections kept on disk while scenes come one at a time, and read again in any order.

What merging needs stays in memory as `Views`, about 110 bytes a detection, until it is taken; all
other columns go to an Arrow file, from which the rows of one output file are taken at once. So
memory does not grow with the number of columns, and no scene is asked for twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from windhover.collection.growing_columns import GrowingColumn
from windhover.collection.views import EARTH, Numbering, Views, views_of_table
from windhover.geometry.arrays import Bools, Ints
from windhover.inference.detection_columns import (
    CLEAR_SHARE,
    COLUMNS,
    NUMBERS,
    SCENE_CRS,
    SPLIT,
    DetectionColumns,
)
from windhover.inference.result_table import empty_result_table, table_of_columns, to_lonlat

BATCH_ROWS = 20_000  # detections that are written at once
GEOMETRY = "geometry"
OPTIONAL = (SPLIT, CLEAR_SHARE)
ID_CHARS = 32  # of an id that decide between equal views


def _arrow_type(name: str) -> pa.DataType:
    """Return how a column is kept."""
    if name in (*NUMBERS, CLEAR_SHARE):
        return pa.float64()
    if name == "edge":
        return pa.bool_()
    return pa.binary() if name == GEOMETRY else pa.string()


SCHEMA = pa.schema([pa.field(name, _arrow_type(name)) for name in (*COLUMNS, *OPTIONAL, SCENE_CRS)])


class DetectionSpill:
    """Detections of many scenes: appended scene by scene, then read by row number."""

    def __init__(self, path: Path) -> None:
        """Begin a file; `writing` opens it."""
        self._path = path
        self._waiting: list[tuple[int, DetectionColumns, Bools]] = []
        self._n_waiting = 0
        self._views = {field.name: GrowingColumn() for field in fields(Views)}
        self._ids = GrowingColumn()
        self._new_numbers: Ints | None = None
        self._starts = [0]
        self._present: set[str] = set()
        self._classes = Numbering()
        self._frames = Numbering("")  # the number of Earth
        self._writer: Any = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Open the file for `append`, and close it when the block ends.

        Raises:
            OSError: it cannot be written.
        """
        with pa.OSFile(str(self._path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            self._writer = writer
            yield
            self._flush()

    def append(self, scene: int, detections: DetectionColumns, cut: Bools) -> None:
        """Take the detections of a scene.

        Args:
            scene: its number.
            detections: of it, in its own coordinate system.
            cut: (N,) which of them may be cut by the edge of the raster.
        """
        if not len(detections["score"]):
            return
        self._present |= set(detections)
        self._waiting.append((scene, detections, cut))
        self._n_waiting += len(detections["score"])
        if self._n_waiting >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        parts = []
        numbers = []
        cut = np.concatenate([of_scene for _, _, of_scene in self._waiting])
        for scene, detections, _ in self._waiting:
            count = len(detections["score"])
            numbers.append(np.full(count, scene))
            part = dict(detections)
            part.setdefault(SPLIT, np.full(count, None, object))
            part.setdefault(CLEAR_SHARE, np.full(count, np.nan))
            parts.append({name: part[name] for name in SCHEMA.names})
        self._waiting = []
        self._n_waiting = 0
        table = table_of_columns(parts)
        scenes = np.concatenate(numbers)
        views = views_of_table(table, scenes, classes=self._classes, frames=self._frames)
        for name, column in self._views.items():
            column.append(cut if name == "edge" else getattr(views, name))
        ids = [text.encode()[:ID_CHARS] for text in table["id"].tolist()]
        self._ids.append(np.array(ids, bytes))
        on_earth = np.flatnonzero(views.frame == EARTH)
        shapes = table.geometry.to_numpy().copy()
        shapes[on_earth] = to_lonlat(table.iloc[on_earth])
        flat = pd.DataFrame(table.drop(columns=GEOMETRY))
        flat[GEOMETRY] = shapely.to_wkb(shapes)
        batch = pa.RecordBatch.from_pandas(flat[SCHEMA.names], SCHEMA, preserve_index=False)
        self._writer.write_batch(batch.replace_schema_metadata(None))
        self._starts.append(self._starts[-1] + len(table))

    @property
    def classes(self) -> list[str]:
        """Names of the classes, by number."""
        return self._classes.texts

    def renumber(self, new_numbers: Sequence[int]) -> None:
        """Give scenes other numbers: of scene k the k-th of these."""
        self._new_numbers = np.asarray(new_numbers, np.int64)

    def take_views(self) -> tuple[Views, NDArray[np.bytes_]]:
        """Return all views and their ids (N,), cut to `ID_CHARS`, by row number.

        They are kept here no longer, so that they are in memory once.
        """
        if self._starts[-1] == 0:
            no_rows = np.zeros(0, np.int64)
            views = views_of_table(
                empty_result_table(), no_rows, classes=self._classes, frames=self._frames
            )
            return views, np.zeros(0, "S1")
        columns = {name: column.take() for name, column in self._views.items()}
        if self._new_numbers is not None:
            columns["scene"] = self._new_numbers[columns["scene"]]
        return Views(**columns), self._ids.take()

    def rows(self, numbers: Ints, columns: tuple[str, ...] | None = None) -> pa.Table:
        """Return detections by their numbers, in that order.

        Args:
            numbers: (N,) of the rows.
            columns: to be read; None for all that any scene has.
        """
        names = [name for name in SCHEMA.names if name not in OPTIONAL or name in self._present]
        if columns is not None:
            names = list(columns)
        part_of_row = np.searchsorted(self._starts, numbers, side="right") - 1
        order = np.argsort(part_of_row, kind="stable")
        batches = []
        # read, not mapped: the pages of a mapped file count as memory of the process
        with pa.OSFile(str(self._path)) as source:
            reader = pa.ipc.open_file(source)
            for part in np.unique(part_of_row):
                local = numbers[order][part_of_row[order] == part] - self._starts[part]
                batch = reader.get_batch(int(part)).select(names)
                batches.append(batch.take(pa.array(local)))
            schema = pa.schema([SCHEMA.field(name) for name in names])
            table = pa.Table.from_batches(batches, schema).combine_chunks()
            back = np.empty(len(order), np.int64)
            back[order] = np.arange(len(order))
            return table.take(pa.array(back))


def with_shapes(table: pa.Table, crs: str | None) -> geopandas.GeoDataFrame:
    """Return detections as rows with shapes in one coordinate system.

    Args:
        table: of `DetectionSpill.rows`.
        crs: of the shapes, None for a local grid.
    """
    frame = table.drop_columns([GEOMETRY]).to_pandas()
    shapes = shapely.from_wkb(table[GEOMETRY].to_numpy(zero_copy_only=False))
    return geopandas.GeoDataFrame(frame, geometry=np.asarray(shapes, object), crs=crs)
