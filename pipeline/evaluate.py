"""evaluate: metrics, calibration and operating point of the trained model -> model and report."""

from pathlib import Path

from windhover.evaluation.evaluate_model import EvaluationFolders
from windhover.evaluation.run_evaluation import run_evaluation
from windhover.model_export.export_model import export_evaluated
from windhover.params.evaluate import EvaluateParams
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
    print("\n".join(run_evaluation(params, folders, export=export_evaluated)))


if __name__ == "__main__":
    run_stage("evaluate", EvaluateParams, main)
