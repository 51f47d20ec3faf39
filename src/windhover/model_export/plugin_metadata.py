"""What programs read of an ONNX file apart from its graph: the keys of QGIS Deepness and GeoDeep.

Every value is a JSON string. Read in the sources of Deepness 0.6.5 and GeoDeep 0.9.13
(docs/decisions/0031).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from windhover.models.bundle import Bundle

# Tiles of 560 px that overlap by 10 % step by 504 px = 63 windows of stride 8 and share 56 px, a
# window less a stride: neighbors then miss no window and share none.
TILE_PX = 560
TILE_OVERLAP_PERCENT = 10
LAYOUT = "YOLO_v9"  # (1, 4 + classes, N); the only name that both programs read so
MERGE_IOU = 0.5  # duplicates within a tile are gone already; this joins those of two tiles
CM_PER_M = 100.0


def plugin_metadata(bundle: Bundle) -> dict[str, Any]:
    """Return the metadata of a model's detector graph by key."""
    card = bundle.card
    return {
        "model_type": "Detector",
        "det_type": LAYOUT,
        "class_names": {str(index): name for index, name in enumerate(card.classes)},
        "resolution": round(card.gsd_m * CM_PER_M, 6),
        "tile_size": TILE_PX,
        "tiles_size": TILE_PX,
        "tiles_overlap": TILE_OVERLAP_PERCENT,
        "det_conf": round(min(bundle.thresholds().values()), 6),
        "det_iou_thresh": MERGE_IOU,
        "windhover_model": card.name,
        "windhover_bands": list(card.bands),
        "windhover_dtype": card.dtype,
    }


def with_metadata(graph: bytes, metadata: Mapping[str, Any]) -> bytes:
    """Return an ONNX file with metadata, its values as JSON."""
    import onnx

    model = onnx.load_model_from_string(graph)
    values = {key: json.dumps(value) for key, value in metadata.items()}
    onnx.helper.set_model_props(model, values)
    model.producer_name = "windhover"
    content: bytes = model.SerializeToString(deterministic=True)
    return content
