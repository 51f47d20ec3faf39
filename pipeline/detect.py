"""detect: every window of every scene, or of a plan, at the operating point -> data/detections."""

from windhover.batch.planned_detections import detect_planned
from windhover.detection.run_detection import run_detection
from windhover.params.detect import DetectParams
from windhover.run_stage import run_stage


def main(params: DetectParams) -> None:
    """Write data/detections; print what was found in each scene and in all."""
    lines = run_detection(
        params,
        "data/scenes",
        "data/model",
        out_folder="data/detections",
        detect_planned=detect_planned,
    )
    print("\n".join(lines))


if __name__ == "__main__":
    run_stage("detect", DetectParams, main)
