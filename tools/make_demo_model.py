"""Write the demonstration model of the package from a finished run on the built-in world.

    python tools/make_demo_model.py PROJECT [TARGET]

PROJECT holds `params.yaml` and the evaluated `data/model`, as `make demo-model` makes it. Weights
are rounded to half precision and stored so; card, calibration and operating point are copied. A
project of other scenes is refused: no licence of anyone's pictures may bind this model.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from windhover.files import atomic_file
from windhover.metrics.metrics_record import MetricsRecord
from windhover.models.bundle import load_bundle, save_bundle
from windhover.models.demo_model import DEMO_FOLDER
from windhover.models.model_description import Accuracy, Figure, ModelDescription
from windhover.models.model_readme import README
from windhover.models.weights_file import WEIGHTS
from windhover.params import read_yaml

MAX_BYTES = 1_000_000
LIMIT = (
    "A demonstration: it learned from the drawn aircraft of the built-in world alone, and has more "
    "false alarms on real pictures than a model that learned from them: docs/detect.md has figures."
)


def make_demo_model(project: Path, target: Path) -> int:
    """Write the model's folder; return its size in bytes.

    Args:
        project: of the built-in world, evaluated.
        target: folder of the model.
    """
    from safetensors.numpy import save

    raw = read_yaml(project / "params.yaml")["scenes"]["raw"]
    if raw != "data/raw" or not list((project / "data/raw").glob("*.tif")):
        raise SystemExit(f"{project}: was not made from the built-in world (scenes.raw: {raw}).")
    bundle = load_bundle(project / "data/model")
    half = {
        name: array.astype(np.float16) if array.dtype == np.float32 else array
        for name, array in bundle.weights.items()
    }
    rounded = {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in half.items()
    }
    described = bundle.card.description or ModelDescription()
    about = described.model_copy(
        update={
            "sensor": "none: the scenes are drawn",
            "license": "apache-2.0",
            "data_license": "none: `windhover simulate` draws them",
            "limits": (LIMIT,),
            "accuracy": _on_drawn_scenes(project),
        }
    )
    save_bundle(
        target,
        bundle.card.model_copy(update={"description": about}),
        rounded,
        calibration=bundle.calibration,
        operating_point=bundle.operating_point,
    )
    with atomic_file(target / WEIGHTS) as temporary:
        temporary.write_bytes(save(half))
    _write_readme(target)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if size > MAX_BYTES:
        raise SystemExit(f"{target}: {size} bytes, {MAX_BYTES} are allowed. Train a smaller one.")
    return size


def _on_drawn_scenes(project: Path) -> Accuracy:
    """Return the figures on the built-in world's own test scenes."""
    test = MetricsRecord.load(project / "reports/metrics.json").scenes["test"]
    figures = {}
    for name in ("ap", "precision", "recall", "f1", "false_alarms_per_km2"):
        estimate = getattr(test, name)
        figures[name] = Figure(value=estimate.value, low=estimate.low, high=estimate.high)
    return Accuracy(
        split="test, drawn scenes",
        scenes=test.scenes,
        places=test.places,
        objects=test.objects,
        km2=test.km2,
        match="centre within half of the object's longer side",
        figures=figures,
    )


def _write_readme(target: Path) -> None:
    """Write the model card for people from the finished bundle."""
    from windhover.models.model_readme import model_readme

    bundle = load_bundle(target)
    with atomic_file(target / README) as temporary:
        temporary.write_text(model_readme(bundle.card, bundle.operating_point), encoding="utf-8")


def main() -> None:
    """Make the model of a project."""
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else DEMO_FOLDER
    size = make_demo_model(Path(sys.argv[1]), target)
    print(f"{target}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
