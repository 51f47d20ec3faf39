"""The demonstration model that the package carries, trained on the built-in world alone.

It shows what a search gives before anyone has labelled anything. `tools/make_demo_model.py` writes
its folder; nothing here trains or searches.
"""

from __future__ import annotations

from pathlib import Path

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent / DEMO
DEMO_NOTE = (
    "demonstration model: it learned from drawn aircraft alone (the built-in world) and is for "
    "trying, not for work; its accuracy on real scenes is in docs/detect.md. Train your own: "
    "windhover init"
)


def model_path(path: Path) -> Path:
    """Return the folder of a model as it is named, `demo` being the one of the package.

    A folder of that name in the current one comes first.
    """
    if str(path) == DEMO and not path.is_dir():
        return DEMO_FOLDER
    return path


def is_demo(folder: Path) -> bool:
    """Return whether a folder is that of the demonstration model."""
    return folder.resolve() == DEMO_FOLDER.resolve()
