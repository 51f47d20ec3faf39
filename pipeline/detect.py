"""detect: every window of every scene, at the operating point -> data/detections."""

from windhover.detection.detect_catalog import detect_catalog
from windhover.params.detect import DetectParams
from windhover.progress import counted
from windhover.run_stage import run_stage


def main(params: DetectParams) -> None:
    """Search the catalog's scenes with the evaluated model; print objects per scene and in all."""
    summary = detect_catalog(
        "data/scenes",
        "data/model",
        "data/detections",
        runtime=params.runtime,
        device=params.device,
        inference_precision=params.inference_precision,
        block_px=params.block_px,
    )
    for scene in summary.scenes:
        print(f"{scene.scene}: {counted(scene.objects, 'object')}, {scene.km2:.2f} km2")
    total = summary.total
    print(
        f"{counted(total.objects, 'object')} in {counted(total.scenes, 'scene')}, "
        f"{total.km2:.1f} km2; {total.windows_searched} windows searched, "
        f"{total.windows_skipped} without a valid pixel skipped"
    )


if __name__ == "__main__":
    run_stage("detect", DetectParams, main)
