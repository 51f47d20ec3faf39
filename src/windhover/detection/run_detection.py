"""The detect stage: every scene of the catalog searched for objects, or mapped for coverage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from windhover.detection.detect_catalog import detect_catalog
from windhover.detection.map_catalog import map_catalog
from windhover.detection.model_task import task_of_model
from windhover.export.detection_summary import DetectionSummary
from windhover.params.detect import DetectParams
from windhover.progress import counted

# plan folder, model folder and output folder -> summary of the plan's scenes
DetectPlanned: TypeAlias = Callable[[str, str, str], DetectionSummary]


def run_detection(
    params: DetectParams,
    catalog_folder: str,
    model_folder: str,
    *,
    out_folder: str,
    detect_planned: DetectPlanned,
) -> list[str]:
    """Search or map the scenes of a catalog; return lines for the terminal.

    Args:
        params: of the stage.
        catalog_folder: written by the scenes stage.
        model_folder: written by the evaluate stage.
        out_folder: replaced whole when all is done.
        detect_planned: searches and collects the plan that `params.plan` names.

    Raises:
        DataError: a part of a scene cannot be read.
        ParameterError: the plan is of another model.
    """
    if params.plan is not None:
        return _lines(detect_planned(params.plan, model_folder, out_folder))
    how: dict[str, Any] = {
        "runtime": params.runtime,
        "device": params.device,
        "inference_precision": params.inference_precision,
        "block_px": params.block_px,
    }
    if task_of_model(model_folder) == "coverage":
        maps = map_catalog(catalog_folder, model_folder, out_folder, **how)
        km2 = sum(scene.km2 or 0.0 for scene in maps.scenes)
        return [f"{counted(len(maps.scenes), 'scene')} mapped, {km2:.1f} km2"]
    return _lines(detect_catalog(catalog_folder, model_folder, out_folder, **how))


def _lines(summary: DetectionSummary) -> list[str]:
    """Return what was found, for the terminal."""
    lines = [
        f"{scene.scene}: {counted(scene.objects, 'object')}, {scene.km2 or 0.0:.2f} km2"
        for scene in summary.scenes
    ]
    total = summary.total
    lines.append(
        f"{counted(total.objects, 'object')} in {counted(total.scenes, 'scene')}, "
        f"{total.km2:.1f} km2; {total.windows_searched} windows searched, "
        f"{total.windows_skipped} without a valid pixel skipped"
    )
    return lines
