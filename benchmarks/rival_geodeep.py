"""GeoDeep, the detector inside WebODM, over rasters; run by the interpreter of .venv-rivals.

    .venv-rivals/bin/python benchmarks/rival_geodeep.py detector.onnx a.tif b.tif ... > boxes.json

Prints, for each raster, boxes [left, top, right, bottom, score] in px of the raster.
"""

from __future__ import annotations

import json
import sys

from geodeep import detect


def main() -> None:
    """Print the boxes of every raster as one JSON object."""
    model, *rasters = sys.argv[1:]
    found = {}
    for raster in rasters:
        boxes, scores, _ = detect(raster, model, output_type="bsc")
        found[raster] = [
            [*map(float, box), float(score)] for box, score in zip(boxes, scores, strict=True)
        ]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
