"""A raster searched by an exported detector as programs with tiles do it.

Measures what such programs find. Tiles begin at the upper left corner and are filled with 0 beyond
the far borders; boxes of low score are dropped, and duplicates of neighboring tiles are removed by
overlap. Written from the description of such programs, for a raster at the model's GSD.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windhover.geometry.boxes import merge_duplicates, to_xyxy
from windhover.geometry.objects import Objects
from windhover.inference.onnx_graph import open_session
from windhover.model_export.plugin_metadata import MERGE_IOU, TILE_OVERLAP_PERCENT, TILE_PX

BOX_ROWS = 4  # x, y, width, height, before the scores of the classes


class TiledClient:
    """An exported detector, run tile by tile."""

    def __init__(self, model: Path, *, min_score: float) -> None:
        """Load a detector graph.

        Args:
            model: file of the graph.
            min_score: boxes below are dropped.
        """
        self._session = open_session(model)
        self._min_score = min_score

    def detect(self, pixels: NDArray[Any]) -> Objects:
        """Return the objects of a picture, best first, with their scores.

        Args:
            pixels: (C, H, W) as read, at the model's GSD.
        """
        columns = [np.zeros((BOX_ROWS + 1, 0))]
        classes = [np.zeros(0, np.int64)]
        for top, left, tile in _tiles(pixels):
            boxes = self._session.run(None, {"pixels": tile})[0][0].astype(np.float64)
            scores = boxes[BOX_ROWS:]
            best = scores.max(axis=0)
            is_high = best >= self._min_score
            boxes[0] += left
            boxes[1] += top
            columns.append(np.vstack([boxes[:BOX_ROWS], best])[:, is_high])
            classes.append(scores.argmax(axis=0)[is_high])
        col, row, width, height, score = np.concatenate(columns, axis=1)
        class_index = np.concatenate(classes)
        kept = merge_duplicates(
            to_xyxy(col, row, width, height),
            score,
            class_index,
            center_distance=0.0,
            iou_threshold=MERGE_IOU,
        )
        objects = Objects(
            np.stack([col, row], axis=1),
            np.stack([width, height], axis=1),
            class_index,
            np.zeros(len(col), np.int8),
            score,
        )
        return objects.select(kept)


def _tiles(pixels: NDArray[Any]) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Yield top, left and (1, C, tile, tile) float32 pixels over the largest of their type."""
    scale = 1.0
    if np.issubdtype(pixels.dtype, np.integer):
        scale = float(np.iinfo(pixels.dtype).max)
    step = TILE_PX - TILE_PX * TILE_OVERLAP_PERCENT // 100
    bands, height, width = pixels.shape
    for top in range(0, max(height - TILE_PX, 0) + step, step):
        for left in range(0, max(width - TILE_PX, 0) + step, step):
            part = pixels[:, top : top + TILE_PX, left : left + TILE_PX]
            tile = np.zeros((1, bands, TILE_PX, TILE_PX), np.float32)
            tile[0, :, : part.shape[1], : part.shape[2]] = part / np.float32(scale)
            yield top, left, tile
