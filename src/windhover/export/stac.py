"""A result as a static STAC catalogue: a collection for the search, an item for each scene.

No extension for predictions exists; what the field does is followed: an item a scene, never one a
box, the table of detections as its asset, links to the picture and the model that it comes from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import shapely
from pyproj import CRS

from windhover.export.detection_summary import MASK, SCORES, DetectionSummary, SceneSummary
from windhover.files import file_stem
from windhover.geometry.georef import box_polygons, footprint_4326, parse_crs
from windhover.imagery.rasters import open_raster

COLLECTION_FILE = "collection.json"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
PARQUET = "application/vnd.apache.parquet"
GEOTIFF = "image/tiff; application=geotiff"
GEOJSON = "application/geo+json"
JSON = "application/json"
CARD_FILE = "model.json"  # of a model whose folder has no STAC item
PRODUCT_ROLES = {SCORES: ("probability",), MASK: ("mask",)}  # what an asset is, next to data
COG = f"{GEOTIFF}; profile=cloud-optimized"
# of a picture that does not tell its time: STAC asks for a range then
FIRST_TIME = datetime(1900, 1, 1, tzinfo=UTC)
LAST_TIME = datetime(2100, 1, 1, tzinfo=UTC)
WHOLE_EARTH = [-180.0, -90.0, 180.0, 90.0]
LICENCE = "other"


def write_stac(
    summary: DetectionSummary,
    folder: Path,
    *,
    detections_href: str,
    products: Mapping[str, Mapping[str, Path]] | None = None,
    final: Path | None = None,
    model_href: str | None = None,
    tables: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write a collection and its items; every link is relative.

    Args:
        summary: of the search.
        folder: to be written; items come into folders of their own below it.
        detections_href: of the GeoParquet, from the collection.
        products: rasters of scenes by name, and of each by kind (`scores`, `mask`).
        final: where the folder will be moved to, for relative addresses; `folder` when None.
        model_href: absolute address of the model's STAC item or card; None where unknown.
        tables: addresses from the collection of the tables of each scene by its name, where the
            detections are in several; `detections_href` is of the folder of them then.

    Raises:
        ModuleNotFoundError: pystac is not installed.
    """
    import pystac  # of an extra

    collection = _collection(summary, pystac)
    collection.normalize_hrefs(str(folder))
    for key, href in _table_assets(detections_href, tables):
        collection.add_asset(key, _asset(pystac, href, PARQUET, ["data"]))
    _link_model(pystac, collection, model_href)
    extent = _Extent()
    hrefs = []
    for scene in summary.scenes:
        item = _item(scene, summary, pystac)
        extent.add(item)
        stem = file_stem(scene.scene, in_addresses=True)
        item.set_self_href(str(folder / stem / f"{stem}.json"))
        item.set_root(collection)
        item.set_collection(collection)
        up = "../"  # items stand in folders of their own
        for key, href in _table_assets(detections_href, tables, item.id):
            item.add_asset(key, _asset(pystac, up + href, PARQUET, ["data"]))
        for kind, path in (products or {}).get(item.id, {}).items():
            place = (final or folder) / stem
            item.add_asset(kind, _product_asset(pystac, kind, path, place))
            if RASTER not in item.stac_extensions:
                item.stac_extensions.append(RASTER)
        _link_model(pystac, item, model_href)
        item.set_parent(collection)  # last of the links, as in files of earlier versions
        item.save_object(include_self_link=False)
        hrefs.append(item.self_href)
        item.set_root(None)  # the collection forgets the item, so that one is in memory
    for href in hrefs:  # only now, since pystac looks through all of them for each item
        collection.add_link(pystac.Link(pystac.RelType.ITEM, href, pystac.MediaType.GEOJSON))
    collection.extent = extent.of(pystac)
    collection.save_object(include_self_link=False)


def _collection(summary: DetectionSummary, pystac: Any) -> Any:
    """Return the collection of a search, without extent and items."""
    return pystac.Collection(
        id=f"windhover-{summary.run or 'search'}",
        title=f"Detections of {summary.model}",
        description=_description(summary),
        license=LICENCE,
        extra_fields={"windhover:run": summary.run, "windhover:model": summary.model},
        extent=_Extent().of(pystac),
        catalog_type=pystac.CatalogType.SELF_CONTAINED,
    )


class _Extent:
    """Where and when items are, as they come one after another."""

    def __init__(self) -> None:
        """Begin without items."""
        self._boxes: list[list[float]] = []
        self._times: list[datetime | None] = []

    def add(self, item: Any) -> None:
        """Take the box and the time of an item."""
        if item.bbox is not None:
            self._boxes.append(item.bbox)
        self._times.append(item.datetime)

    def of(self, pystac: Any) -> Any:
        """Return the extent of all items."""
        return pystac.Extent(
            pystac.SpatialExtent(_extent(self._boxes or [WHOLE_EARTH])),
            pystac.TemporalExtent([_interval(self._times)]),
        )


def _table_assets(
    detections_href: str, tables: Mapping[str, Sequence[str]] | None, scene: str | None = None
) -> list[tuple[str, str]]:
    """Return key and address of the tables of a scene, or of all; one alone is `detections`."""
    if tables is None:
        return [("detections", detections_href)]
    if scene is None:
        hrefs = sorted(set(chain.from_iterable(tables.values())))
    else:
        hrefs = sorted(tables.get(scene, ()))
    if len(hrefs) == 1:
        return [("detections", hrefs[0])]
    return [(f"detections-{number}", href) for number, href in enumerate(hrefs, 1)]


def _description(summary: DetectionSummary) -> str:
    classes = ", ".join(f"{name} from {score:g}" for name, score in summary.thresholds.items())
    text = (
        f"{summary.total.objects} objects found in {summary.total.scenes} scenes by the model "
        f"{summary.model} of windhover {summary.program} (lowest score: {classes})."
    )
    return " ".join([text, *summary.notes])


def _item(scene: SceneSummary, summary: DetectionSummary, pystac: Any) -> Any:
    """Return the item of a scene, without the detections."""
    geometry = None
    bbox = None
    outline = footprint_4326(scene.affine, scene.crs, (scene.height_px, scene.width_px))
    if outline is not None:
        geometry = shapely.geometry.mapping(shapely.orient_polygons(outline))
        bbox = _bbox(outline)
    properties: dict[str, Any] = {
        "windhover:objects": scene.objects,
        "windhover:objects_by_class": dict(scene.by_class),
        "windhover:expected_objects": scene.expected_objects,
        "windhover:thresholds": dict(summary.thresholds),
        "windhover:model": summary.model,
        "windhover:run": summary.run,
        "processing:lineage": f"every window of {scene.scene} scored by the model {summary.model}",
        "processing:software": {"windhover": summary.program},
        "processing:version": summary.program,
    }
    if scene.split is not None:
        properties["windhover:split"] = scene.split
    if scene.km2 is not None:
        properties["windhover:searched_km2"] = scene.km2
    if scene.gsd_m is not None:
        properties["gsd"] = max(scene.gsd_m)
    properties |= _projection(scene)
    item = pystac.Item(
        id=scene.scene,
        geometry=geometry,
        bbox=bbox,
        properties=properties,
        stac_extensions=[PROJECTION, PROCESSING],
        **_times(scene),
    )
    for target, media_type in ((scene.path, GEOTIFF), (scene.stac_item, GEOJSON)):
        if not target or target.startswith("/vsimem/"):  # a stack of an item's bands
            continue
        if "://" not in target:
            target = Path(target).absolute().as_uri()
        item.add_link(pystac.Link("derived_from", target, media_type, title=scene.scene))
    return item


def _times(scene: SceneSummary) -> dict[str, Any]:
    """Return the time of a scene as an item takes it."""
    if scene.acquired is None:
        return {"datetime": None, "start_datetime": FIRST_TIME, "end_datetime": LAST_TIME}
    return {"datetime": datetime.fromisoformat(scene.acquired)}


def _projection(scene: SceneSummary) -> dict[str, Any]:
    """Return the fields of the projection extension."""
    box = box_polygons([0, 0, scene.width_px, scene.height_px], scene.affine)[0]
    values: dict[str, Any] = {
        "proj:shape": [scene.height_px, scene.width_px],
        "proj:transform": [*scene.transform, 0.0, 0.0, 1.0],
        "proj:bbox": list(box.bounds),
    }
    values["proj:code"] = None
    if scene.crs is not None:
        authority = parse_crs(scene.crs).to_authority()
        if authority is not None:
            values["proj:code"] = ":".join(authority)
        else:
            values["proj:wkt2"] = CRS.from_user_input(scene.crs).to_wkt()
    return values


def _bbox(outline: Any) -> list[float]:
    """Return west, south, east, north; west is greater than east across the antimeridian."""
    west, south, east, north = outline.bounds
    parts = list(getattr(outline, "geoms", [outline]))
    if len(parts) > 1 and east - west > 180:
        west = min(part.bounds[0] for part in parts if part.bounds[0] > 0)
        east = max(part.bounds[2] for part in parts if part.bounds[2] < 0)
    return [west, south, east, north]


def _extent(boxes: list[list[float]]) -> list[list[float]]:
    """Return the box around all boxes, as a collection has it."""
    if any(box[0] > box[2] for box in boxes):
        return [[-180.0, min(b[1] for b in boxes), 180.0, max(b[3] for b in boxes)]]
    lows = [min(box[axis] for box in boxes) for axis in (0, 1)]
    return [[*lows, *(max(box[axis] for box in boxes) for axis in (2, 3))]]


def _interval(times: Sequence[datetime | None]) -> list[datetime | None]:
    """Return the first and the last of the items' times, open where one is not known."""
    known = [time for time in times if time is not None]
    if not known or len(known) < len(times):
        return [FIRST_TIME, LAST_TIME]
    return [min(known), max(known)]


def _product_asset(pystac: Any, kind: str, path: Path, folder: Path) -> Any:
    """Return a raster of a scene as an asset, with its own grid.

    Args:
        pystac: the module.
        kind: `scores` or `mask`.
        path: of the raster.
        folder: of the item.
    """
    try:
        href = Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
    except ValueError:  # on another drive of Windows
        href = path.absolute().as_uri()
    asset = _asset(pystac, href, COG, ["data", *PRODUCT_ROLES.get(kind, ())])
    with open_raster(path) as dataset:
        bands = []
        for number, name in enumerate(dataset.descriptions):
            band = {
                "name": name or f"band{number + 1}",
                "data_type": dataset.dtypes[number],
                "raster:scale": dataset.scales[number],
            }
            if dataset.nodatavals[number] is not None:
                band["nodata"] = dataset.nodatavals[number]
            bands.append(band)
        asset.extra_fields = {
            "bands": bands,
            "proj:shape": [dataset.height, dataset.width],
            "proj:transform": [*tuple(dataset.transform)[:6], 0.0, 0.0, 1.0],
            "proj:bbox": list(dataset.bounds),
        }
    return asset


def _asset(pystac: Any, href: str, media_type: str, roles: list[str]) -> Any:
    return pystac.Asset(href=href, media_type=media_type, roles=roles)


def _link_model(pystac: Any, owner: Any, href: str | None) -> None:
    if href is not None:
        media_type = JSON if href.endswith(CARD_FILE) else GEOJSON
        owner.add_link(pystac.Link("derived_from", href, media_type, title="model"))
