"""Windhover: from a few annotated scenes to a detector, and from the detector to a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__version__ = "0.1.0"
__all__ = ["__version__", "load_model"]


def load_model(path: str | Path, **options: Any) -> Any:
    """Load a model bundle as a ready `windhover.inference.detector.Detector`.

    The import waits until the call, so that `import windhover` costs nothing.

    Args:
        path: folder of the bundle, such as `data/model`.
        options: passed on to `Detector.from_bundle` (`device`, `batch_px`, ...).

    Raises:
        windhover.errors.MissingFileError: the folder or one of its files is not there.
        windhover.errors.FormatError: a file of the bundle is not what it should be.
    """
    from windhover.inference.detector import Detector

    return Detector.from_bundle(path, **options)
