"""detect: every window of every scene of the catalog, at the operating point -> data/detections/."""

from windhover.inference.detection_run import detect_catalog
from windhover.params.detect import DetectParams
from windhover.progress import counted
from windhover.stages import run_stage


def main(params: DetectParams) -> None:
    """Search the catalog's scenes with the evaluated model; print objects per scene and in all."""
    summary = detect_catalog(
        "data/scenes",
        "data/model",
        "data/detections",
        params.device,
        params.inference_precision,
        params.block_px,
    )
    for scene in summary["scenes"]:
        print(f"{scene['scene']}: {counted(scene['objects'], 'object')}, {scene['km2']:.2f} km2")
    total = summary["total"]
    print(
        f"{counted(total['objects'], 'object')} in {counted(total['scenes'], 'scene')}, {total['km2']:.1f} km2; "
        f"{total['windows_searched']} windows searched, {total['windows_skipped']} without a valid pixel skipped"
    )


if __name__ == "__main__":
    run_stage("detect", DetectParams, main)
