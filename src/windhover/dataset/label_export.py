"""Writing a catalog's labels for other programs: COCO JSON and GeoJSON.

What a format cannot hold is returned in words. Reading the files back gives the same boxes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from windhover.dataset.catalog import Catalog, scene_info
from windhover.errors import DataError, ParameterError
from windhover.files import atomic_file
from windhover.geometry import georef


def write_labels(catalog: Catalog, path: Path) -> list[str]:
    """Write labels by the file's suffix; return what the format cannot hold.

    Raises:
        ParameterError: the suffix is neither .json (COCO) nor .geojson.
        DataError: GeoJSON of scenes without georeference.
    """
    if path.suffix.lower() == ".json":
        return write_coco(catalog, path)
    if path.suffix.lower() == ".geojson":
        return write_geojson(catalog, path)
    raise ParameterError(
        f"Labels are written as .json (COCO) or .geojson, got {path.name}. Choose one of these suffixes."
    )


def write_coco(catalog: Catalog, path: Path) -> list[str]:
    """Write COCO JSON: native px, corners from 0; ignored labels are crowds; polygons stand beside
    their boxes.
    """
    names = sorted(set(catalog.labels["class"]))
    number = {row.scene: index for index, row in enumerate(catalog, 1)}
    images = [
        {
            "id": number[row.scene],
            "file_name": _file_name(row),
            "width": int(row.width_px),
            "height": int(row.height_px),
        }
        for row in catalog
        if row.labeled
    ]
    annotations, shapes = [], catalog.labels.geometry.to_list()
    for index, label in enumerate(catalog.labels.to_dict("records"), 1):
        left, top, right, bottom = (
            float(label[side]) for side in ("left", "top", "right", "bottom")
        )
        annotations.append(
            {
                "id": index,
                "image_id": number[label["scene"]],
                "category_id": names.index(label["class"]) + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": float(label["geometry"].area),
                "segmentation": _rings(label["geometry"]),
                "iscrowd": int(label["role"] == "ignore"),
            }
        )
    document = {
        "info": {
            "description": f"labels of {len(images)} scenes, native px",
            "gsd_m": catalog.gsd_m,
        },
        "images": images,
        "categories": [{"id": index, "name": name} for index, name in enumerate(names, 1)],
        "annotations": annotations,
    }
    _write(path, document)
    lost = ["the scenes' place on Earth (keep the rasters)", "places and splits"]
    if len(catalog.areas):
        lost.append(f"{len(catalog.areas)} areas")
    holed = sum(
        bool(shapely.get_num_interior_rings(shape)) or "Line" in shape.geom_type for shape in shapes
    )
    if holed:
        lost.append(f"{holed} outlines with holes or of lines, of which it holds the box")
    if annotations and all(annotation["iscrowd"] for annotation in annotations):
        lost.append("that all labels are to be ignored: a file of crowds alone is read as objects")
    return lost


def _file_name(row: Any) -> str:
    """Return the raster's name with as many of its folders as the scene's name has, so that it is
    found again.
    """
    path = Path(row.path)
    parts = path.with_suffix("").parts
    for count in range(1, len(parts) + 1):
        if "--".join(parts[-count:]) == row.scene:
            return "/".join(path.parts[-count:])
    return f"{row.scene}{path.suffix}"


def _rings(shape: Any) -> list[list[float]]:
    if shape.geom_type != "Polygon" or len(shape.interiors):
        return []
    return [np.asarray(shape.exterior.coords)[:-1].ravel().tolist()]


def write_geojson(catalog: Catalog, path: Path) -> list[str]:
    """Write GeoJSON (RFC 7946): longitude and latitude, shapes through the full affine.

    Raises:
        DataError: no scene has a georeference.
    """
    features = []
    skipped = 0
    for row in catalog:
        labels = catalog.labels_of(row.scene)
        info = scene_info(row)
        if info.crs is None:
            skipped += len(labels)
            continue
        to_lonlat = georef.transformer(info.crs, georef.WGS84)

        def place(
            points: np.ndarray, transform: Any = info.transform, to_lonlat: Any = to_lonlat
        ) -> np.ndarray:
            return np.stack(
                to_lonlat.transform(*georef.pixel_to_world(transform, points[:, 0], points[:, 1])),
                axis=1,
            )

        shapes = shapely.transform(labels.geometry.to_numpy(), place)
        for label, shape in zip(labels.to_dict("records"), shapes, strict=True):
            properties = {name: label[name] for name in ("class", "role", "scene", "source")}
            features.append(
                {
                    "type": "Feature",
                    "properties": properties,
                    "geometry": shapely.geometry.mapping(shape),
                }
            )
    if not features and len(catalog.labels):
        raise DataError(
            "GeoJSON holds longitudes and latitudes, but no scene has a georeference. Write COCO (.json) instead."
        )
    _write(path, {"type": "FeatureCollection", "features": features})
    lost = ["which scenes are known to hold nothing", "places and splits"]
    if skipped:
        lost.append(f"{skipped} labels of scenes without georeference")
    if len(catalog.areas):
        lost.append(f"{len(catalog.areas)} areas")
    return lost


def _write(path: Path, document: dict[str, Any]) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
