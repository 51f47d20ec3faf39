"""Detections as tasks of Label Studio, each with its boxes as a prediction in percent.

Import the file into a project whose label configuration is
`<RectangleLabels name="label" toName="image">` over `<Image name="image" value="$image">`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np

from windhover.export.coco import boxes_px
from windhover.export.delivered_raster import DeliveredRaster, delivered_raster
from windhover.export.detection_summary import DetectionSummary

LOCAL_FILES = "/data/local-files/?d="  # where Label Studio serves files of its own machine
PERCENT_DECIMALS = 6


def write_label_studio(
    table: geopandas.GeoDataFrame, summary: DetectionSummary, path: Path
) -> None:
    """Write detections as a list of tasks, one a scene.

    Args:
        table: of detections, each box in its own scene's coordinate system.
        summary: of the search.
        path: of the file.
    """
    boxes = boxes_px(table, summary)
    rows_of = table.groupby("scene").indices
    ids, classes, scores = (table[name].to_numpy() for name in ("id", "class", "score"))
    tasks = []
    for number, scene in enumerate(summary.scenes, 1):
        raster = delivered_raster(scene)
        results = [
            _result(boxes[row], raster, name=classes[row], score=scores[row], result_id=ids[row])
            for row in rows_of.get(scene.scene, [])
        ]
        prediction: dict[str, Any] = {"model_version": summary.model, "result": results}
        if results:
            prediction["score"] = float(np.mean([result["score"] for result in results]))
        tasks.append(
            {
                "id": number,
                "data": {"image": f"{LOCAL_FILES}{raster.name}", "scene": scene.scene},
                "predictions": [prediction],
            }
        )
    text = json.dumps(tasks, indent=1, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _result(
    box: Any, raster: DeliveredRaster, *, name: str, score: float, result_id: str
) -> dict[str, Any]:
    """Return one box in percent of the raster as delivered."""
    width_px, height_px = raster.width_px, raster.height_px
    left, top, right, bottom = 100 * box / [width_px, height_px, width_px, height_px]
    return {
        "id": str(result_id),
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width_px,
        "original_height": height_px,
        "image_rotation": 0,
        "score": float(score),
        "value": {
            "x": round(left, PERCENT_DECIMALS),
            "y": round(top, PERCENT_DECIMALS),
            "width": round(right - left, PERCENT_DECIMALS),
            "height": round(bottom - top, PERCENT_DECIMALS),
            "rotation": 0,
            "rectanglelabels": [str(name)],
        },
    }
