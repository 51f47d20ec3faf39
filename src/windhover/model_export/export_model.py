"""A trained model written for other programs: a detector of tiles and a map of scores, as ONNX."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from windhover.dataset.catalog import Catalog
from windhover.errors import FormatError, ParameterError
from windhover.evaluation.describe_model import write_description
from windhover.files import atomic_folder, lock_output, write_json
from windhover.imagery.scenes import Scene
from windhover.inference.detector import Detector
from windhover.model_export.detector_graph import DetectorGraph
from windhover.model_export.exported_accuracy import lowest_scores, measure_on_test
from windhover.model_export.parity import Parity, measure_parity
from windhover.model_export.plugin_metadata import TILE_PX, plugin_metadata, with_metadata
from windhover.model_export.score_map_graph import ScoreMapGraph
from windhover.models.bundle import Bundle
from windhover.models.card import Card
from windhover.models.model_description import ExportedAccuracy, ModelDescription
from windhover.models.model_readme import README, model_readme
from windhover.models.score_graph import FREE_AXES, to_onnx
from windhover.params.evaluate import EvaluateParams

DETECTOR = "detector.onnx"
SCORE_MAP = "score_map.onnx"
PARITY = "parity.json"
OWN_FILES = {DETECTOR, f"{DETECTOR}.json", SCORE_MAP, PARITY, README}
PARITY_KEY = "windhover_parity"
ACCURACY_KEY = "windhover_test"
EXPORTED = "exported"  # folder inside a model's


@dataclass(frozen=True)
class ExportedModel:
    """What was written.

    Attributes:
        folder: with the files.
        files: their names and sizes in bytes.
        parity: with `detect`; None where no raster was given.
        accuracy: on the scenes of test; None where no catalog was given.
        notes: of what programs with tiles cannot do as `detect` does.
    """

    folder: Path
    files: dict[str, int]
    parity: Parity | None
    accuracy: ExportedAccuracy | None
    notes: list[str]

    def lines(self) -> list[str]:
        """Return a summary for the terminal."""
        lines = [f"{name}  {size / 1e6:.2f} MB" for name, size in self.files.items()]
        if self.parity is not None:
            lines.append(self.parity.line())
        if self.accuracy is not None:
            lines.append(self.accuracy.line())
        if self.parity is None and self.accuracy is None:
            lines.append(
                "Not compared with `detect`: name rasters by --check, or labelled scenes by "
                "--catalog."
            )
        return [*lines, *self.notes, f"files -> {self.folder}"]

    def to_json(self) -> dict[str, Any]:
        """Return the same in JSON types."""
        return {
            "folder": str(self.folder),
            "files": self.files,
            "parity": None if self.parity is None else self.parity.model_dump(),
            "accuracy": None if self.accuracy is None else self.accuracy.model_dump(),
            "notes": self.notes,
        }


def check_output_folder(folder: Path) -> None:
    """Check that nothing but an older export would be replaced.

    Raises:
        ParameterError: the folder holds something else.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if folder.exists() and not folder.is_dir():
        raise ParameterError(f"{folder}: is a file. Name a folder.")
    if foreign := sorted(names - OWN_FILES):
        raise ParameterError(
            f"{folder}: holds {foreign[0]}, which is no exported model's. Name a new folder."
        )


def export_model(
    detector: Detector,
    folder: Path,
    *,
    rasters: Sequence[str] = (),
    gsd_m: float | None = None,
    catalog: Catalog | None = None,
    params: EvaluateParams | None = None,
) -> ExportedModel:
    """Write the ONNX files of a model into a folder, whole or not at all.

    Args:
        detector: the model, evaluated.
        folder: replaced.
        rasters: on which the exported detector is compared with `detect`.
        gsd_m: metres per px of rasters without georeference.
        catalog: on whose labelled scenes of test its AP is measured; None for none.
        params: match rule and lowest logit of that; the defaults when None.

    Raises:
        ParameterError: another run writes the folder.
        DataError: the catalog has no labelled scene in test.
        UnsupportedError: the network is padded.
        MissingFileError: the model was never evaluated, or a raster is not there.
    """
    bundle = detector.bundle
    bundle.card.require_objects()
    metadata = plugin_metadata(bundle)
    with lock_output(folder), atomic_folder(folder) as temporary:
        graph = detector_to_onnx(bundle)
        (temporary / DETECTOR).write_bytes(with_metadata(graph, metadata))
        parity = _compare(detector, temporary / DETECTOR, rasters, gsd_m)
        if parity is not None:
            metadata[PARITY_KEY] = parity.model_dump()
            write_json(temporary / PARITY, parity.model_dump())
        accuracy = _measure(detector, temporary, catalog, params or EvaluateParams())
        if accuracy is not None:
            metadata[ACCURACY_KEY] = accuracy.model_dump()
        (temporary / DETECTOR).write_bytes(with_metadata(graph, metadata))
        page = model_readme(_described(bundle.card, accuracy), bundle.operating_point)
        (temporary / README).write_text(page, encoding="utf-8")
        score_map = {"windhover_model": bundle.card.name, "classes": list(bundle.card.classes)}
        content = with_metadata(score_map_to_onnx(bundle), score_map)
        (temporary / SCORE_MAP).write_bytes(content)
        # the same metadata beside the file, where geoai and others look for it
        write_json(temporary / f"{DETECTOR}.json", metadata)
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return ExportedModel(folder, files, parity, accuracy, limits_of_tiles(bundle))


def _measure(
    detector: Detector, folder: Path, catalog: Catalog | None, params: EvaluateParams
) -> ExportedAccuracy | None:
    """Return the accuracy on test of a detector that is exported to a folder, None without any."""
    if catalog is None:
        return None
    path = folder / f".measured-{DETECTOR}"
    thresholds = lowest_scores(detector.bundle, params.min_logit)
    path.write_bytes(detector_to_onnx(detector.bundle, thresholds=thresholds))
    try:
        return measure_on_test(detector, path, catalog, params)
    finally:
        path.unlink()


def _described(card: Card, accuracy: ExportedAccuracy | None) -> Card:
    """Return a card with what was measured of the exported detector."""
    about = card.description or ModelDescription()
    return card.model_copy(update={"description": about.model_copy(update={"exported": accuracy})})


def export_evaluated(model_folder: Path, catalog: Catalog, params: EvaluateParams) -> list[str]:
    """Export an evaluated model into its own folder, and write what was measured into its card.

    Returns:
        Lines for the terminal.

    Args:
        model_folder: gets the folder `exported`.
        catalog: of the evaluation.
        params: of the evaluation.

    Raises:
        UnsupportedError: the network is padded.
        DataError: the catalog has no labelled scene in test.
    """
    detector = Detector.from_bundle(
        model_folder, runtime="torch", device="cpu", inference_precision="fp32"
    )
    folder = model_folder / EXPORTED
    exported = export_model(detector, folder, catalog=catalog, params=params)
    description = _described(detector.bundle.card, exported.accuracy).description
    assert description is not None
    write_description(model_folder, description)
    return exported.lines()


def detector_to_onnx(
    bundle: Bundle, tile_px: int = TILE_PX, thresholds: dict[str, float] | None = None
) -> bytes:
    """Return the detector of tiles as ONNX: (1, bands, tile, tile) to boxes (1, 4 + K, N)."""
    example = torch.rand(
        (1, len(bundle.card.bands), tile_px, tile_px), generator=torch.Generator().manual_seed(0)
    )
    return to_onnx(DetectorGraph(bundle, thresholds), example, ["boxes"], {})


def score_map_to_onnx(bundle: Bundle) -> bytes:
    """Return the score map as ONNX, batch, height and width free."""
    side = 2 * bundle.card.window_px
    example = torch.zeros((1, len(bundle.card.bands), side, side))
    return to_onnx(ScoreMapGraph(bundle), example, ["scores"], FREE_AXES)


def limits_of_tiles(bundle: Bundle) -> list[str]:
    """Return, a sentence each, what programs with tiles cannot do for a model as `detect` does."""
    card = bundle.card
    notes = [
        f"Give rasters at {card.gsd_m:g} m per px: programs resample by other rules than `detect`.",
        (
            "Objects within half a window of the raster's border can differ: programs show black "
            "beyond it, and `detect` fills it as training did."
        ),
    ]
    if len(card.bands) != 3:
        notes.append(
            f"The model has {len(card.bands)} bands ({', '.join(card.bands)}); GeoDeep gives three."
        )
    if card.dtype != "uint8":
        notes.append(
            f"The model takes {card.dtype}; programs divide pixels by the largest of their type, "
            "and some stretch each tile."
        )
    search = {} if bundle.operating_point is None else bundle.operating_point.search
    if list(search.get("scales", [1.0])) != [1.0]:
        notes.append(f"`detect` searches scales {search['scales']}; the exported model scale 1.")
    return notes


def _compare(
    detector: Detector, model: Path, rasters: Sequence[str], gsd_m: float | None
) -> Parity | None:
    """Return the parity on rasters, None without any."""
    if not rasters:
        return None
    with ExitStack() as stack:
        scenes: list[Scene] = [
            stack.enter_context(detector.open(raster, gsd_m)) for raster in rasters
        ]
        return measure_parity(detector, model, scenes)


def read_metadata(path: Path) -> dict[str, object]:
    """Return the metadata of an exported file.

    Raises:
        FormatError: it is no ONNX file.
    """
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception:  # noqa: BLE001  # damaged bytes can raise any error in the reader
        raise FormatError(f"{path}: not an ONNX file. Export the model again.") from None
    return {item.key: json.loads(item.value) for item in model.metadata_props}
