"""Windhover: from a few annotated scenes to a detector, and from the detector to a map.

    from windhover import load_model

    detector = load_model("data/model")

Names are imported on first use, so that `import windhover` loads no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from windhover.inference.detector import Detector

__version__ = "0.1.0"
__all__ = ["Detector", "__version__", "load_model"]


def load_model(path: str | Path, **options: Any) -> Detector:
    """Load a model bundle as a `Detector`, ready to search rasters.

    Args:
        path: folder of the bundle, such as `data/model`.
        options: passed on to `Detector.from_bundle` (`device`, `batch_px`, ...).

    Raises:
        windhover.errors.MissingFileError: the folder or one of its files is not there.
        windhover.errors.FormatError: a file of the bundle is not what it should be.
        windhover.errors.MissingExtraError: the runtime is not installed.
    """
    detector: type[Detector] = __getattr__("Detector")
    return detector.from_bundle(path, **options)


def __getattr__(name: str) -> Any:
    """Return a public class, imported when it is first named."""
    if name != "Detector":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from windhover.optional_dependencies import explain_missing_extras

    with explain_missing_extras():
        from windhover.inference.detector import Detector
    return Detector
