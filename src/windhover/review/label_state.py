"""All labels and areas of a project at one time, in px of the rasters, and their kept versions.

A version is a folder `labels/v001`: `labels.json` (COCO, with the provenance of each label),
`areas.gpkg`, `changes.json` (the difference to the version before) and `applied.json` (which edits
were made, by whom). A version is never changed: corrections make the next one.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.dataset.raw_sources import read_label_sources
from windhover.disk_space import errors_of_writing
from windhover.errors import FormatError, MissingFileError
from windhover.export.geopackage import GEOPACKAGE_VERSION, fixed_gdal_time, write_layer
from windhover.files import atomic_folder, read_json, write_json
from windhover.imagery.rasters import SceneInfo
from windhover.labels.coco import VERSION_KEY
from windhover.params.scenes import ScenesParams
from windhover.review.placing import file_crs, to_map
from windhover.review.review_record import ReviewScene

VERSIONS = Path("labels")
LABELS_FILE = "labels.json"
AREAS_FILE = "areas.gpkg"
CHANGES_FILE = "changes.json"
APPLIED_FILE = "applied.json"
ID_BYTES = 8
PX_DECIMALS = 6  # of a shape's coordinates; a ten thousandth of the error of any drawing


@dataclass(frozen=True)
class Label:
    """One label.

    Attributes:
        id: the same in every version.
        scene: name of its raster.
        class_name: as the label file has it, before `scenes.classes`.
        shape: px of the raster as delivered.
        is_ignored: counts neither way.
        provenance: where it is from: `origin` (a file's name, or `review`), and of a review
            `review`, `detection`, `model`, `verdict`, `reviewer`, `date`, `comment`.
    """

    id: str
    scene: str
    class_name: str
    shape: BaseGeometry
    is_ignored: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Area:
    """One area, in px of its raster.

    Attributes:
        scene: name of its raster.
        role: `complete`, `positive_only`, `ignore` or `presumed_empty`.
        shape: polygon.
        split: that it fixes, "" for none.
        review: that declared it, "" for none.
    """

    scene: str
    role: str
    shape: BaseGeometry
    split: str = ""
    review: str = ""


@dataclass
class LabelState:
    """All labels and areas of a project.

    Attributes:
        scenes: name -> raster that they are on.
        labels: id -> label.
        areas: in no order.
        covered: scenes that are known to be labeled, also where they have no label.
        applied: edits of reviews that were made: of each its `target`, `content`, `reviewer` and
            `review`.
        version: number of the version that it is, 0 for the label files of the user.
        n_left_out: labels of the user's files that are on no raster, so not in a version.
    """

    scenes: dict[str, ReviewScene] = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    areas: list[Area] = field(default_factory=list)
    covered: set[str] = field(default_factory=set)
    applied: list[dict[str, str]] = field(default_factory=list)
    version: int = 0
    n_left_out: int = 0

    def labels_of(self, scene: str) -> list[Label]:
        """Return the labels on a raster."""
        return [label for label in self.labels.values() if label.scene == scene]

    def areas_of(self, scene: str) -> list[Area]:
        """Return the areas on a raster."""
        return [area for area in self.areas if area.scene == scene]


def label_id(scene: str, class_name: str, shape: BaseGeometry) -> str:
    """Return the id of a label that is new: a hash of raster, class and shape."""
    rounded = shapely.to_wkt(shapely.normalize(shape), rounding_precision=2)
    text = "\n".join([scene, class_name, rounded])
    return hashlib.blake2b(text.encode(), digest_size=ID_BYTES).hexdigest()


def load_project_state(params: ScenesParams) -> LabelState:
    """Return the labels that the parameters name: the user's files, or a version.

    Raises:
        MissingFileError, FormatError, UnsupportedError, DataError: of what is read.
    """
    with tempfile.TemporaryDirectory() as folder:
        sources = read_label_sources(Path(params.raw), params, Path(folder))
    scenes = {info.name: scene_of_info(info) for info in sources.infos}
    areas = [
        Area(row["scene"], row["role"], row["geometry"], row["split"] or "")
        for row in sources.areas.to_dict("records")
    ]
    state = LabelState(scenes=scenes, areas=areas, covered=set(sources.aligned.covered_scenes))
    if is_version_file(Path(params.labels)):
        version = Path(params.labels).parent
        keeps_areas = params.areas is not None and Path(params.areas) == version / AREAS_FILE
        if keeps_areas:
            state.areas = []
        return _with_version(state, version, with_areas=keeps_areas)
    table = sources.aligned.labels
    for row in table.to_dict("records"):
        shape = _without_noise(row["geometry"])
        name = label_id(row["scene"], row["class"], shape)
        n_same = 1
        while name in state.labels:
            n_same += 1
            name = f"{label_id(row['scene'], row['class'], shape)}-{n_same}"
        provenance = {"origin": str(row["source"])}
        state.labels[name] = Label(
            name, row["scene"], row["class"], shape, bool(row["ignored"]), provenance
        )
    state.n_left_out = sources.aligned.n_labels_in_files - len(table)
    return state


def scene_of_info(info: SceneInfo) -> ReviewScene:
    """Return a scene of a folder of rasters as a scene of a review."""
    return ReviewScene(
        scene=info.name,
        path=info.path,
        width_px=info.width_px,
        height_px=info.height_px,
        crs=info.crs,
        transform=tuple(info.transform)[:6],
        gsd_m=info.gsd_m,
        acquired=info.acquired,
    )


def _without_noise(shape: BaseGeometry) -> BaseGeometry:
    """Return a shape with coordinates that a text holds exactly."""
    rounded: BaseGeometry = shapely.transform(shape, lambda xy: np.round(xy, PX_DECIMALS))
    return rounded


def is_version_file(path: Path) -> bool:
    """Return whether a file is `labels.json` of a version."""
    if path.name != LABELS_FILE or not path.is_file():
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    info = content.get("info") if isinstance(content, dict) else None
    return isinstance(info, dict) and VERSION_KEY in info


def _with_version(state: LabelState, folder: Path, *, with_areas: bool) -> LabelState:
    """Return a state with the labels of a version, and its areas where asked.

    Raises:
        FormatError: a file of the version is damaged.
    """
    path = folder / LABELS_FILE
    again = f"Restore it: git checkout {folder}, or point `scenes.labels` at another version."
    content = read_json(path, missing=again, broken=again)
    applied = read_json(folder / APPLIED_FILE, missing=again, broken=again)
    try:
        class_of = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        scene_of = {entry["id"]: str(entry["scene"]) for entry in content["images"]}
        state.version = int(content["info"][VERSION_KEY])
        for entry in content["annotations"]:
            label = Label(
                id=str(entry["label_id"]),
                scene=scene_of[entry["image_id"]],
                class_name=class_of[entry["category_id"]],
                shape=shapely.from_wkt(entry["wkt"]),
                is_ignored=bool(entry["iscrowd"]),
                provenance=dict(entry["provenance"]),
            )
            state.labels[label.id] = label
        state.covered |= {entry["scene"] for entry in content["images"] if entry["covered"]}
        for entry in content["areas"] if with_areas else ():
            shape = shapely.from_wkt(entry["wkt"])
            area = Area(entry["scene"], entry["role"], shape, entry["split"], entry["review"])
            state.areas.append(area)
        state.applied = [dict(entry) for entry in applied]
    except (KeyError, TypeError, ValueError, shapely.GEOSException) as error:
        raise FormatError(f"{path}: is damaged ({error!r}). {again}") from None
    return state


def next_version(root: Path) -> int:
    """Return the number of the next version in a folder of versions."""
    numbers = [int(path.name[1:]) for path in root.glob("v*") if path.name[1:].isdigit()]
    return max(numbers, default=0) + 1


def version_folder(root: Path, number: int) -> Path:
    """Return the folder of a version."""
    return root / f"v{number:03d}"


def latest_version(root: Path) -> Path | None:
    """Return the folder of the newest version, None where there is none."""
    number = next_version(root) - 1
    return version_folder(root, number) if number else None


def load_version(folder: Path, scenes: Mapping[str, ReviewScene]) -> LabelState:
    """Return a version without a project: its areas too, on the scenes given.

    Raises:
        MissingFileError: a file of it is gone.
        FormatError: a file of it is damaged.
    """
    return _with_version(LabelState(scenes=dict(scenes)), folder, with_areas=True)


def holds_same(folder: Path, state: LabelState, *, raw: Path) -> bool:
    """Return whether a version holds the labels and areas of a state, made on any day.

    Args:
        folder: of the version.
        state: to be written.
        raw: folder of the rasters, from which images are named.
    """
    if not is_version_file(folder / LABELS_FILE):
        return False
    kept = json.loads((folder / LABELS_FILE).read_text(encoding="utf-8"))
    return _undated(kept) == _undated(json.loads(json.dumps(_coco_document(state, raw))))


def _undated(document: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a version without its number and the days of its changes."""
    labels = [
        {**label, "provenance": {**label["provenance"], "date": ""}}
        for label in document["annotations"]
    ]
    return {**document, "info": {}, "annotations": labels}


def write_version(state: LabelState, folder: Path, *, raw: Path, changes: Any) -> None:
    """Write a version, the whole folder at once.

    Args:
        state: what it holds.
        folder: of the version, which is not there yet.
        raw: folder of the rasters, from which images are named.
        changes: content of `changes.json`.

    Raises:
        MissingFileError: the folder is there already.
    """
    if folder.exists():
        raise MissingFileError(f"{folder}: is there already. Apply again: the next one is made.")
    with atomic_folder(folder) as temporary:
        write_json(temporary / LABELS_FILE, _coco_document(state, raw))
        if state.areas:
            _write_areas(state, temporary / AREAS_FILE)
        write_json(temporary / CHANGES_FILE, changes)
        write_json(temporary / APPLIED_FILE, state.applied)


def _coco_document(state: LabelState, raw: Path) -> dict[str, Any]:
    """Return COCO JSON of the labels: boxes and outlines in px, with their provenance."""
    with_labels = {label.scene for label in state.labels.values()}
    names = sorted(with_labels | state.covered)
    numbers = {name: number for number, name in enumerate(names, 1)}
    images = []
    for name in names:
        scene = state.scenes[name]
        images.append(
            {
                "id": numbers[name],
                "file_name": _name_in(scene.path, raw),
                "width": scene.width_px,
                "height": scene.height_px,
                "scene": name,
                "covered": name in state.covered,
            }
        )
    classes = sorted({label.class_name for label in state.labels.values()})
    category_of = {name: number for number, name in enumerate(classes, 1)}
    ordered = sorted(state.labels.values(), key=lambda label: (label.scene, label.id))
    return {
        "info": {"description": "labels with their reviews", VERSION_KEY: state.version},
        "images": images,
        "categories": [{"id": number, "name": name} for name, number in category_of.items()],
        "annotations": [
            _annotation(label, number, numbers[label.scene], category_of[label.class_name])
            for number, label in enumerate(ordered, 1)
        ],
        "areas": [
            {
                "scene": area.scene,
                "role": area.role,
                "split": area.split,
                "review": area.review,
                "wkt": area.shape.wkt,
            }
            for area in state.areas
        ],
    }


def _annotation(label: Label, number: int, image_id: int, category_id: int) -> dict[str, Any]:
    """Return the COCO entry of a label."""
    left, top, right, bottom = label.shape.bounds
    rings = []
    if isinstance(label.shape, shapely.Polygon) and not label.shape.interiors:
        rings = [np.asarray(label.shape.exterior.coords)[:-1].ravel().tolist()]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [left, top, right - left, bottom - top],
        "area": float(label.shape.area),
        "segmentation": rings,
        "iscrowd": int(label.is_ignored),
        "label_id": label.id,
        "wkt": label.shape.wkt,
        "provenance": dict(label.provenance),
    }


def _name_in(path: str, raw: Path) -> str:
    """Return a raster's path inside the folder of the rasters, its name where it is elsewhere."""
    absolute = Path(path).absolute()
    if absolute.is_relative_to(raw.absolute()):
        return absolute.relative_to(raw.absolute()).as_posix()
    return absolute.name


def _write_areas(state: LabelState, path: Path) -> None:
    """Write the areas as a layer, each with the name of its scene."""
    scenes = [state.scenes[name] for name in sorted({area.scene for area in state.areas})]
    crs = file_crs(scenes)
    shapes = [
        to_map(np.array([area.shape], object), state.scenes[area.scene], crs)[0]
        for area in state.areas
    ]
    table = geopandas.GeoDataFrame(
        {
            "scene": [area.scene for area in state.areas],
            "role": [area.role for area in state.areas],
            "split": [area.split for area in state.areas],
            "review": [area.review for area in state.areas],
        },
        geometry=shapes,
        crs=crs,
    )
    with fixed_gdal_time(), errors_of_writing(path):
        write_layer(
            table, path, "areas", driver="GPKG", dataset_options={"VERSION": GEOPACKAGE_VERSION}
        )
