"""From the table of detections to files for people and programs: the flow behind `export`.

Reads what a search wrote, and the pictures and labels of its scenes; computes no detection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyogrio

from windhover.dataset.catalog import Catalog, load_catalog
from windhover.disk_space import errors_of_writing
from windhover.errors import MissingFileError, ParameterError
from windhover.export.detection_summary import MASK, SUMMARY, DetectionSummary
from windhover.export.detections import load_table
from windhover.export.expected_counts import count_by_area, count_columns, named_counters
from windhover.export.export_coverage import export_coverage, is_coverage
from windhover.export.geopackage import GEOPACKAGE_VERSION, fixed_gdal_time
from windhover.export.label_studio import write_label_studio
from windhover.export.map_files import LONLAT_SUFFIXES
from windhover.export.map_page import write_map_page
from windhover.export.map_truth import match_with_labels
from windhover.export.read_result import read_result
from windhover.export.stac import COLLECTION_FILE, write_stac
from windhover.export.write_detections import write_detections
from windhover.files import atomic_folder, check_replaceable, is_json_with_keys
from windhover.inference.result_table import is_local
from windhover.progress import counted

TABLE = "detections.parquet"
STEM = "detections"
LOCAL = "-local"
LABEL_STUDIO = "label-studio"
STAC = "stac"
STAC_KEYS = ("stac_version", "extent", "windhover:run")
COUNTS = "counts"
AREAS = "counts_by_area"
# format -> suffix of its file
SUFFIX_OF = {
    "gpkg": ".gpkg",
    "parquet": ".parquet",
    "geojson": ".geojson",
    "fgb": ".fgb",
    "csv": ".csv",
    "coco": ".json",
    "pmtiles": ".pmtiles",
}
ALL_FORMATS = (*SUFFIX_OF, LABEL_STUDIO, "html", STAC, COUNTS)


@dataclass(frozen=True)
class ExportRequest:
    """What is to be written.

    Attributes:
        out_folder: such as data/map; replaced whole.
        formats: of `ALL_FORMATS`.
        catalog: whose labels the map page shows; None for none.
        areas: vector file of polygons in which detections are counted; None for none.
        model_item: the model's STAC item or card, to which items link; None for none.
    """

    out_folder: Path
    formats: Sequence[str]
    catalog: Catalog | None = None
    areas: Path | None = None
    model_item: Path | None = None


def export_map(
    detections_folder: str | Path,
    out_folder: str | Path,
    formats: Sequence[str],
    *,
    catalog_folder: str | Path | None = None,
    areas: str | Path | None = None,
    model_folder: str | Path | None = None,
) -> list[str]:
    """Write the detections of the detect stage in each format; `out_folder` is replaced whole.

    Georeferenced scenes go to `detections.*`. Scenes without georeference stay in their local grid
    in metres and get no GeoJSON; they go to `detections.*` where all scenes are so, else to
    `detections-local.*`.

    Args:
        detections_folder: written by the detect stage.
        out_folder: such as data/map.
        formats: of `ALL_FORMATS`.
        catalog_folder: written by the scenes stage, for labels on the map page; None for none.
        areas: vector file of polygons in which detections are counted; None for none.
        model_folder: the model bundle, to which STAC items link; None for none.

    Returns:
        Sentences to print: what was written, and what could not be.
    """
    if is_coverage(detections_folder):
        return export_coverage(detections_folder, out_folder, areas=areas)
    detections_folder = Path(detections_folder)
    table = load_table(detections_folder / TABLE)
    summary = DetectionSummary.load(detections_folder / SUMMARY)
    catalog = None
    if catalog_folder is not None and "html" in formats:
        catalog = load_catalog(catalog_folder)
    request = ExportRequest(
        out_folder=Path(out_folder),
        formats=formats,
        catalog=catalog,
        areas=None if areas is None else Path(areas),
        model_item=model_item(model_folder),
    )
    return export_result(table, summary, request)


def export_file(path: Path, request: ExportRequest) -> list[str]:
    """Write a GeoParquet of `windhover detect` in other formats, map page and STAC included.

    Raises:
        MissingFileError: no such file.
        FormatError: it is no such file.
        ParameterError: an unknown format, areas without counts, or a folder that holds other
            files.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Give a .parquet of `windhover detect`.")
    unknown = [name for name in request.formats if name not in ALL_FORMATS]
    if unknown or not request.formats:
        raise ParameterError(
            f"--formats must be of {', '.join(ALL_FORMATS)}, got {', '.join(unknown) or 'none'}. "
            "Name some of them."
        )
    if request.areas is not None and COUNTS not in request.formats:
        raise ParameterError(
            f"--areas {request.areas}: objects are counted in areas by the format counts, which "
            f"--formats lacks. Add it: --formats {','.join([*request.formats, COUNTS])}."
        )
    inputs = [path, *([] if request.areas is None else [request.areas])]
    if not _holds_own_alone(request.out_folder, inputs):
        check_replaceable(request.out_folder, _own_names(), inputs)
    table, summary = read_result(path)
    return export_result(table, summary, request)


def _holds_own_alone(folder: Path, inputs: Sequence[Path]) -> bool:
    """Return whether a folder holds what an earlier export wrote, STAC included, and no more."""
    is_read = any(path.resolve().is_relative_to(folder.resolve()) for path in inputs)
    if is_read or not folder.is_dir():
        return False
    for entry in folder.iterdir():
        collection = entry / COLLECTION_FILE
        is_stac = entry.name in (STAC, STAC + LOCAL) and is_json_with_keys(collection, STAC_KEYS)
        if not is_stac and (entry.name not in _own_names() or entry.is_dir()):
            return False
    return (folder / STAC).is_dir() or (folder / (STAC + LOCAL)).is_dir()


def _own_names() -> set[str]:
    """Return the names of files that an export writes."""
    names = set()
    for local in ("", LOCAL):
        names |= {f"{STEM}{local}{suffix}" for suffix in SUFFIX_OF.values()}
        names |= {f"map{local}.html", f"counts{local}.gpkg", f"{LABEL_STUDIO}{local}.json"}
        names |= {f"{name}{local}.csv" for name in (*named_counters(), AREAS)}
    return names


def require_model_item(folder: Path | None) -> Path | None:
    """Return the STAC item of a model bundle that a user names, or its card; None for no bundle.

    Raises:
        MissingFileError: the folder holds neither.
    """
    item = model_item(folder)
    if folder is not None and item is None:
        raise MissingFileError(
            f"{folder}: holds no model.json, to which STAC items could link. Give the folder of a "
            "model, or leave out --model."
        )
    return item


def model_item(folder: str | Path | None) -> Path | None:
    """Return the STAC item of a model bundle, or its card; None where there is none."""
    if folder is None:
        return None
    for name in ("stac.json", "item.json", "model.json"):
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    return None


def export_result(
    table: geopandas.GeoDataFrame, summary: DetectionSummary, request: ExportRequest
) -> list[str]:
    """Write a result in each format asked for; return a sentence for each.

    Args:
        table: of detections, each box in its own scene's coordinate system.
        summary: of the search.
        request: what to write.
    """
    local = is_local(table)
    parts = []
    on_earth = [scene for scene in summary.scenes if scene.crs is not None]
    in_grids = [scene for scene in summary.scenes if scene.crs is None]
    if on_earth or not in_grids:
        parts.append(("", table[~local], summary.of(on_earth)))
    if in_grids:
        parts.append((LOCAL if on_earth else "", table[local], summary.of(in_grids)))
    messages = []
    with atomic_folder(request.out_folder) as folder:
        for mark, rows, part in parts:
            rows = geopandas.GeoDataFrame(rows.reset_index(drop=True))
            for name in _formats_to_write(request.formats):
                messages += _write_format(
                    name, rows, part, folder=folder, mark=mark, request=request
                )
    return [*messages, *(f"note: {note}" for note in summary.notes)]


def _formats_to_write(formats: Sequence[str]) -> list[str]:
    """Return each format once, with the table to which the items of STAC link before them."""
    names = list(dict.fromkeys(formats))
    if STAC in names and "parquet" not in names:
        names.insert(names.index(STAC), "parquet")
    return names


def _write_format(
    name: str,
    table: geopandas.GeoDataFrame,
    summary: DetectionSummary,
    *,
    folder: Path,
    mark: str,
    request: ExportRequest,
) -> list[str]:
    """Write a result in one format; return sentences on it."""
    shown = request.out_folder
    if name == "html":
        truth = None
        if request.catalog is not None:
            truth = match_with_labels(table, summary, request.catalog)
        page = f"map{mark}.html"
        write_map_page(table, summary, folder / page, truth=truth)
        return [f"{shown / page}: opens in a browser, also offline"]
    if name == STAC:
        missing = _write_stac(summary, folder, mark, request=request)
        return [f"{shown / (STAC + mark) / COLLECTION_FILE}: {len(summary.scenes)} items", *missing]
    if name == LABEL_STUDIO:
        file = f"{LABEL_STUDIO}{mark}.json"
        write_label_studio(table, summary, folder / file)
        return [f"{shown / file}: {len(summary.scenes)} tasks"]
    if name == COUNTS:
        return _write_counts(table, summary, folder=folder, mark=mark, request=request)
    file = f"{STEM}{mark}{SUFFIX_OF[name]}"
    is_earth = any(scene.crs is not None for scene in summary.scenes)
    if SUFFIX_OF[name] in LONLAT_SUFFIXES and summary.scenes and not is_earth:
        reason = "the scenes have no georeference, so their boxes have no longitude and latitude"
        return [f"no {file}: {reason}"]
    write_detections(table, summary, folder / file)
    return [f"{shown / file}: {len(table)} objects"]


def _write_stac(
    summary: DetectionSummary, folder: Path, mark: str, *, request: ExportRequest
) -> list[str]:
    """Write a STAC collection; its asset is the GeoParquet in the same export.

    Returns:
        A sentence where rasters that the search wrote are no longer there.
    """
    href = f"../{STEM}{mark}.parquet"
    model_href = None
    if request.model_item is not None:
        model_href = request.model_item.absolute().as_uri()
    products: dict[str, dict[str, Path]] = {}
    missing = []
    for scene in summary.scenes:
        kinds = dict(scene.products)
        if scene.clear is not None and "://" not in scene.clear.mask:
            kinds[MASK] = scene.clear.mask
        for kind, path in kinds.items():
            if Path(path).is_file():
                products.setdefault(scene.scene, {})[kind] = Path(path)
            else:
                missing.append(path)
    write_stac(
        summary,
        folder / (STAC + mark),
        detections_href=href,
        products=products,
        final=request.out_folder / (STAC + mark),
        model_href=model_href,
    )
    if not missing:
        return []
    return [f"{counted(len(missing), 'raster')} not in STAC: {missing[0]} is no longer there"]


def _write_counts(
    table: geopandas.GeoDataFrame,
    summary: DetectionSummary,
    *,
    folder: Path,
    mark: str,
    request: ExportRequest,
) -> list[str]:
    """Write counts by scene, date and area as tables, and those by area as a layer."""
    messages = []
    for name, count in named_counters().items():
        counts = count(table, summary)
        _write_csv(counts, folder / f"{name}{mark}.csv")
        messages.append(f"{request.out_folder / f'{name}{mark}.csv'}: {len(counts)} rows")
    if request.areas is None:
        return messages
    if mark or all(scene.crs is None for scene in summary.scenes):
        return [*messages, "no counts by area of scenes without georeference"]
    areas = count_by_area(table, summary, request.areas)
    _write_csv(pd.DataFrame(areas[count_columns(areas.columns)]), folder / f"{AREAS}.csv")
    with fixed_gdal_time(), errors_of_writing(folder / "counts.gpkg"):
        pyogrio.write_dataframe(
            areas,
            folder / "counts.gpkg",
            layer=AREAS,
            driver="GPKG",
            dataset_options={"VERSION": GEOPACKAGE_VERSION},
        )
    return [*messages, f"{request.out_folder / 'counts.gpkg'}: {len(areas)} areas"]


def _write_csv(counts: pd.DataFrame, path: Path) -> None:
    """Write a table of counts; empty cells where a number is not known."""
    counts = counts.replace({np.inf: np.nan})
    counts.to_csv(path, index=False, lineterminator="\n")
