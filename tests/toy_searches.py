"""Searches of rasters as the command runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from messages import recorded_messages
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest


def run(scenes: Any, model: Path, output: Path, **options: Any) -> list[str]:
    """Search scenes; return the messages."""
    paths = [str(scene) for scene in scenes]
    with recorded_messages() as messages:
        detect_rasters(DetectRequest(paths, model, output, **options))
    return messages
