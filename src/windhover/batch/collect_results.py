"""The flow behind `windhover collect` of results: files of `windhover detect` become a collection.

Each object of overlapping rasters is in it once; searches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from windhover.batch.collect_plan import CollectOutcome
from windhover.collection.read_results import collected_scenes
from windhover.collection.write_collection import check_folder, write_collection
from windhover.detection.usable_ground import validation_recalls
from windhover.errors import DataError, ParameterError
from windhover.export.detection_summary import DetectionSummary
from windhover.export.expected_counts import read_areas
from windhover.files import lock_output
from windhover.imagery.rasters import gdal_options
from windhover.models.bundle import load_bundle


def collect_results(
    paths: Sequence[Path], output: Path, *, model: Path | None = None, areas: Path | None = None
) -> CollectOutcome:
    """Write the detections of results as a collection.

    Args:
        paths: of GeoParquet files or GeoPackages of `windhover detect`.
        output: a folder.
        model: that searched; with it, changes between dates have a probability.
        areas: vector file of polygons to count objects in.

    Raises:
        ParameterError: a result is given twice, or the output is no folder that may be written.
        DataError: the results cannot be put together, or are of another model.
        WindhoverError: another child that names the fault of a file.
    """
    _check_request(paths, output)
    with gdal_options(), lock_output(output):
        check_folder(output, [*paths, *filter(None, (areas, model))])
        if areas is not None:
            read_areas(areas)
        scenes, search = collected_scenes(paths)
        outcome = CollectOutcome(output)
        manifest = write_collection(
            outcome.counting(scenes),
            search,
            output,
            recalls=None if model is None else _recalls(model, search),
            areas=areas,
        )
        outcome.lines = manifest.lines()
    return outcome


def _check_request(paths: Sequence[Path], output: Path) -> None:
    """Raise if a result is given twice, or a file is to be written.

    Raises:
        ParameterError: so.
    """
    resolved = [path.resolve() for path in paths]
    for number, path in enumerate(resolved):
        if path in resolved[:number]:
            raise ParameterError(f"{paths[number]}: is given twice. Name each result once.")
    if output.suffix:
        raise ParameterError(
            f"--output {output}: results are collected into a folder, since objects of several "
            "rasters are merged. Name one, such as --output detections."
        )


def _recalls(folder: Path, search: DetectionSummary) -> Mapping[str, float | None]:
    """Return the recalls of the classes of a search, by the model it was searched with.

    Raises:
        DataError: it was searched with another.
    """
    bundle = load_bundle(folder)
    if bundle.card.name != search.model:
        raise DataError(
            f"--model {folder}: is {bundle.card.name}, and the results are of {search.model}. Name "
            "the folder of that model, or leave --model out."
        )
    return validation_recalls(bundle.operating_point, search.thresholds)
