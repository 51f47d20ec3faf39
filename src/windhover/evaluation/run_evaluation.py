"""The evaluate stage: a model of objects or of coverage measured, its run in MLflow completed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from windhover.dataset.catalog import Catalog, load_catalog
from windhover.errors import UnsupportedError
from windhover.evaluation.evaluate_coverage import evaluate_coverage
from windhover.evaluation.evaluate_model import EvaluationFolders, evaluate
from windhover.evaluation.record_coverage import coverage_lines, record_coverage_run
from windhover.evaluation.record_evaluation import record_run
from windhover.models.bundle import load_bundle
from windhover.models.card import Card
from windhover.models.network_names import DENSE_NETWORKS
from windhover.params.evaluate import EvaluateParams
from windhover.report.text_summary import summary_lines

# model folder, catalog and parameters -> lines for the terminal
ExportModel: TypeAlias = Callable[[Path, Catalog, EvaluateParams], Sequence[str]]


def run_evaluation(
    params: EvaluateParams, folders: EvaluationFolders, *, export: ExportModel | None = None
) -> list[str]:
    """Measure the trained model, write model, report and run; return lines for the terminal.

    Args:
        params: of the stage.
        folders: what is read and written.
        export: writes the model for other programs, called where `params.export_onnx` asks for it.

    Raises:
        MissingFileError: an input is not there.
        DataError: nothing is labeled that could be measured.
        UnsupportedError: a model that is to be exported, and cannot.
    """
    bundle = load_bundle(folders.train)
    if params.export_onnx:
        _check_exportable(bundle.card)
    if bundle.card.task == "coverage":
        of_coverage = evaluate_coverage(params, bundle, folders)
        record_coverage_run(of_coverage, params, model=folders.model, reports=folders.reports)
        return coverage_lines(of_coverage.record)
    result = evaluate(params, folders)
    lines = summary_lines(result)
    if params.export_onnx and export is not None:
        lines += export(folders.model, load_catalog(folders.scenes), params)
    record_run(result, model=folders.model, reports=folders.reports)
    return lines


def _check_exportable(card: Card) -> None:
    """Check, before the evaluation, that a model can be written as one graph.

    Raises:
        UnsupportedError: it has no boxes, or its network is padded.
    """
    reason = None
    if card.task == "coverage":
        reason = "the model maps coverage and has no boxes"
    elif card.network.name not in DENSE_NETWORKS:
        reason = f"network `{card.network.name}` is padded and scores single windows"
    if reason is not None:
        raise UnsupportedError(
            f"`evaluate.export_onnx`: {reason}, so it cannot be written as one graph of a tile. "
            "Set it to false, or train `valid64` or `baseline_cnn` on objects."
        )
