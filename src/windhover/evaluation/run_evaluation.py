"""The evaluate stage: a model of objects or of coverage measured, its run in MLflow completed."""

from __future__ import annotations

from windhover.evaluation.evaluate_coverage import evaluate_coverage
from windhover.evaluation.evaluate_model import EvaluationFolders, evaluate
from windhover.evaluation.record_coverage import coverage_lines, record_coverage_run
from windhover.evaluation.record_evaluation import record_run
from windhover.models.bundle import load_bundle
from windhover.params.evaluate import EvaluateParams
from windhover.report.text_summary import summary_lines


def run_evaluation(params: EvaluateParams, folders: EvaluationFolders) -> list[str]:
    """Measure the trained model, write model, report and run; return lines for the terminal.

    Args:
        params: of the stage.
        folders: what is read and written.

    Raises:
        MissingFileError: an input is not there.
        DataError: nothing is labeled that could be measured.
    """
    bundle = load_bundle(folders.train)
    if bundle.card.task == "coverage":
        of_coverage = evaluate_coverage(params, bundle, folders)
        record_coverage_run(of_coverage, params, model=folders.model, reports=folders.reports)
        return coverage_lines(of_coverage.record)
    result = evaluate(params, folders)
    record_run(result, model=folders.model, reports=folders.reports)
    return summary_lines(result)
