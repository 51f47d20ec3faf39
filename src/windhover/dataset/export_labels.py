"""Export of a catalog's labels for other programs: COCO JSON and GeoJSON.

What a format cannot hold is returned in words. Reading the files back gives the same boxes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.dataset.catalog import Catalog, SceneRow, scene_info
from windhover.dataset.catalog_tables import BOX_COLUMNS
from windhover.errors import DataError, ParameterError
from windhover.files import atomic_file
from windhover.geometry import georef
from windhover.geometry.antimeridian import split_small_polygon
from windhover.geometry.move_shapes import apply_affine, reproject
from windhover.imagery.rasters import SceneInfo
from windhover.labels.raster_names import NAME_SEPARATOR

# keys of the COCO files that are written, in their order
COCO_KEYS = ["info", "images", "categories", "annotations"]
GEOJSON_PROPERTIES = ("class", "role", "scene", "source")


def export_labels(catalog: Catalog, path: Path, report: Callable[[str], None]) -> None:
    """Write a catalog's labels for another program, and report what the format cannot hold.

    Args:
        catalog: with the labels.
        path: of the file, .json (COCO) or .geojson.
        report: takes the lines for the terminal.

    Raises:
        ParameterError, DataError: of `write_labels`.
    """
    not_held = write_labels(catalog, path)
    report(f"{len(catalog.labels)} labels -> {path}")
    report(f"  {path.suffix} cannot hold: {'; '.join(not_held)}")


def write_labels(catalog: Catalog, path: Path) -> list[str]:
    """Write labels by the file's suffix; return what the format cannot hold.

    Raises:
        ParameterError: the suffix is neither .json (COCO) nor .geojson.
        DataError: GeoJSON of scenes without georeference.
    """
    check_label_suffix(path)
    if path.suffix.lower() == ".json":
        return write_coco(catalog, path)
    return write_geojson(catalog, path)


def check_label_suffix(path: Path) -> None:
    """Check that labels can be written in the format of a file's suffix.

    Raises:
        ParameterError: the suffix is neither .json (COCO) nor .geojson.
    """
    if path.suffix.lower() in (".json", ".geojson"):
        return
    raise ParameterError(
        f"Labels are written as .json (COCO) or .geojson, got {path.name}. Choose one of these "
        "suffixes."
    )


def is_own_label_file(path: Path) -> bool:
    """Return whether a file that is there is one that `write_labels` wrote."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, dict):
        return False
    if path.suffix.lower() == ".json":
        return list(document) == COCO_KEYS and "gsd_m" in document["info"]
    features = document.get("features", [{}])
    return all(set(GEOJSON_PROPERTIES) <= set(row.get("properties") or ()) for row in features)


def write_coco(catalog: Catalog, path: Path) -> list[str]:
    """Write COCO JSON; return what it cannot hold.

    Boxes and polygons are in native px, corners from 0; ignored labels are crowds.
    """
    class_names = sorted(set(catalog.labels["class"]))
    image_id = {row.scene: number for number, row in enumerate(catalog, 1)}
    images = [_coco_image(row, image_id[row.scene]) for row in catalog if row.labeled]
    annotations = []
    for number, label in enumerate(catalog.labels.to_dict("records"), 1):
        category_id = class_names.index(label["class"]) + 1
        annotation = {
            "id": number,
            "image_id": image_id[label["scene"]],
            "category_id": category_id,
            **_coco_shape(label),
            "iscrowd": int(label["role"] == "ignore"),
        }
        annotations.append(annotation)
    document = {
        "info": {
            "description": f"labels of {len(images)} scenes, native px",
            "gsd_m": catalog.gsd_m,
        },
        "images": images,
        "categories": [{"id": number, "name": name} for number, name in enumerate(class_names, 1)],
        "annotations": annotations,
    }
    _write_document(path, document)
    return _not_held_by_coco(catalog, annotations)


def _coco_image(row: SceneRow, image_id: int) -> dict[str, Any]:
    """Return the entry of one scene."""
    return {
        "id": image_id,
        "file_name": _file_name(row),
        "width": row.width_px,
        "height": row.height_px,
    }


def _file_name(row: SceneRow) -> str:
    """Return the raster's name with as many folders as the scene's name has."""
    path = Path(row.path)
    parts = path.with_suffix("").parts
    for count in range(1, len(parts) + 1):
        if NAME_SEPARATOR.join(parts[-count:]) == row.scene:
            return "/".join(path.parts[-count:])
    return f"{row.scene}{path.suffix}"


def _coco_shape(label: dict[str, Any]) -> dict[str, Any]:
    """Return box, area and outline of one label."""
    left, top, right, bottom = (float(label[side]) for side in BOX_COLUMNS)
    shape = label["geometry"]
    rings = []
    if shape.geom_type == "Polygon" and not shape.interiors:
        rings = [np.asarray(shape.exterior.coords)[:-1].ravel().tolist()]
    return {
        "bbox": [left, top, right - left, bottom - top],
        "area": float(shape.area),
        "segmentation": rings,
    }


def _not_held_by_coco(catalog: Catalog, annotations: list[dict[str, Any]]) -> list[str]:
    """Return what COCO JSON cannot hold of a catalog, in words."""
    not_held = ["the scenes' place on Earth (keep the rasters)", "places and splits"]
    not_held += _areas_in_words(catalog)
    n_boxes_only = 0
    for shape in catalog.labels.geometry:
        has_holes = shapely.get_num_interior_rings(shape) > 0
        n_boxes_only += bool(has_holes or "Line" in shape.geom_type)
    if n_boxes_only:
        not_held.append(
            f"{n_boxes_only} outlines with holes or of lines, of which it holds the box"
        )
    if annotations and all(annotation["iscrowd"] for annotation in annotations):
        not_held.append(
            "that all labels are to be ignored: a file of crowds alone is read as objects"
        )
    return not_held


def _areas_in_words(catalog: Catalog) -> list[str]:
    return [f"{len(catalog.areas)} areas"] if len(catalog.areas) else []


def write_geojson(catalog: Catalog, path: Path) -> list[str]:
    """Write GeoJSON (RFC 7946), shapes in longitude and latitude; return what it cannot hold.

    Raises:
        DataError: no scene has a georeference.
    """
    features: list[dict[str, Any]] = []
    n_skipped = 0
    for row in catalog:
        labels = catalog.labels_of(row.scene)
        info = scene_info(row)
        if info.crs is None:
            n_skipped += len(labels)
        else:
            features += _features_of(labels, info)
    if not features and len(catalog.labels):
        raise DataError(
            "GeoJSON holds longitudes and latitudes, but no scene has a georeference. Write COCO "
            "(.json) instead."
        )
    _write_document(path, {"type": "FeatureCollection", "features": features})
    not_held = ["which scenes are known to hold nothing", "places and splits"]
    if n_skipped:
        not_held.append(f"{n_skipped} labels of scenes without georeference")
    return not_held + _areas_in_words(catalog)


def _features_of(labels: geopandas.GeoDataFrame, info: SceneInfo) -> list[dict[str, Any]]:
    """Return the labels of a scene as GeoJSON features, shapes through the full affine."""
    shapes = apply_affine(labels.geometry.to_numpy(), info.transform)
    moved = reproject(shapes, str(info.crs), georef.WGS84)
    shapes = [_on_globe(shape) for shape in moved]
    features = []
    for label, shape in zip(labels.to_dict("records"), shapes, strict=True):
        features.append(
            {
                "type": "Feature",
                "properties": {name: label[name] for name in GEOJSON_PROPERTIES},
                "geometry": shapely.geometry.mapping(shape),
            }
        )
    return features


def _on_globe(shape: BaseGeometry) -> BaseGeometry:
    """Return a shape as RFC 7946 has it: cut at the antimeridian, outer rings counter-clockwise."""
    if shape.area == 0:
        return shape
    oriented: BaseGeometry = shapely.orient_polygons(split_small_polygon(shape))
    return oriented


def _write_document(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON document on one line, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
