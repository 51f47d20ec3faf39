"""evaluate: metrics, calibration and operating point of the trained model -> model and report."""

from pathlib import Path

from windhover.evaluation.evaluate_model import EvaluationFolders, evaluate
from windhover.evaluation.record_evaluation import record_run
from windhover.params.evaluate import EvaluateParams
from windhover.report.text_summary import summary_lines
from windhover.run_stage import run_stage


def main(params: EvaluateParams) -> None:
    """Write data/model and reports."""
    folders = EvaluationFolders(
        scenes=Path("data/scenes"),
        patches=Path("data/patches"),
        train=Path("data/train"),
        model=Path("data/model"),
        reports=Path("reports"),
    )
    result = evaluate(params, folders)
    record_run(result, model=folders.model, reports=folders.reports)
    print("\n".join(summary_lines(result)))


if __name__ == "__main__":
    run_stage("evaluate", EvaluateParams, main)
