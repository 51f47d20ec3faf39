"""evaluate: the trained model judged, calibrated, given its operating point -> the finished bundle
and the reports.
"""

from pathlib import Path

from windhover.evaluation.evaluate_model import Folders, evaluate, record
from windhover.params.evaluate import EvaluateParams
from windhover.report.write_report import headline_lines
from windhover.stages import run_stage


def main(params: EvaluateParams) -> None:
    """Write data/model and reports."""
    names = ("data/scenes", "data/patches", "data/train", "data/model", "reports")
    folders = Folders(*map(Path, names))
    findings = evaluate(params, folders)
    record(findings, folders)
    print("\n".join(headline_lines(findings)))


if __name__ == "__main__":
    run_stage("evaluate", EvaluateParams, main)
