"""Detections as COCO: boxes in px of the rasters as delivered, with their scores.

Images are scenes. Next to COCO's own keys each annotation has those of the table of detections.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from affine import Affine
from numpy.typing import NDArray

from windhover.export.delivered_raster import delivered_raster
from windhover.export.detection_summary import DetectionSummary
from windhover.export.json_values import to_json_types
from windhover.export.map_files import COCO_HEAD
from windhover.geometry.move_shapes import apply_affine
from windhover.inference.detection_columns import SCENE_CRS

BOX_DECIMALS = 2


def write_coco(table: geopandas.GeoDataFrame, summary: DetectionSummary, path: Path) -> None:
    """Write detections as a COCO file.

    Args:
        table: of detections, each box in its own scene's coordinate system.
        summary: of the search.
        path: of the file.
    """
    images = []
    numbers: dict[str, int] = {}
    for number, scene in enumerate(summary.scenes, 1):
        numbers[scene.scene] = number
        raster = delivered_raster(scene)
        image = {
            "id": number,
            "file_name": raster.name,
            "width": raster.width_px,
            "height": raster.height_px,
            "scene": scene.scene,
        }
        if scene.acquired is not None:
            image["date_captured"] = scene.acquired
        images.append(image)
    classes = sorted(summary.thresholds)
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    category_of = {name: number for number, name in enumerate(classes, 1)}
    annotations = []
    boxes = boxes_px(table, summary)
    records = pd.DataFrame(table.drop(columns=["geometry", SCENE_CRS])).to_dict("records")
    for number, (box, record) in enumerate(zip(boxes, records, strict=True), 1):
        left, top, right, bottom = box.round(BOX_DECIMALS).tolist()
        width, height = round(right - left, BOX_DECIMALS), round(bottom - top, BOX_DECIMALS)
        annotation = {
            "id": number,
            "image_id": numbers[record["scene"]],
            "category_id": category_of[record["class"]],
            "bbox": [left, top, width, height],
            "area": round(width * height, BOX_DECIMALS),
            "iscrowd": 0,
        }
        values = to_json_types(record)
        values["detection_id"] = values.pop("id")
        annotations.append(annotation | values)
    _write_parts(path, images=images, categories=categories, annotations=annotations)


def boxes_px(table: geopandas.GeoDataFrame, summary: DetectionSummary) -> NDArray[np.float64]:
    """Return the boxes (N, 4) xyxy of detections, px of the rasters as delivered.

    Args:
        table: of detections, each box in its own scene's coordinate system.
        summary: of the search.
    """
    boxes = np.zeros((len(table), 4))
    geometries = table.geometry.to_numpy()
    places = {scene.scene: scene for scene in summary.scenes}
    for name, rows in table.groupby("scene", sort=False).indices.items():
        scene = places[str(name)]
        to_px = Affine.translation(*scene.origin_px) @ ~scene.affine
        boxes[rows] = shapely.bounds(apply_affine(geometries[rows], to_px))
    return boxes


def _write_parts(path: Path, **parts: list[Any]) -> None:
    """Write lists of a JSON object, an entry a line, so that two files can be compared by line."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(COCO_HEAD + "}")
        for name, entries in parts.items():
            lines = [json.dumps(entry, allow_nan=False, ensure_ascii=False) for entry in entries]
            stream.write(f',\n"{name}": [\n' + ",\n".join(lines) + "\n]")
        stream.write("}\n")
