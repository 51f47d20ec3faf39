"""The training step imports with torch, numpy and Lightning alone, as on a bare GPU machine."""

from __future__ import annotations

import subprocess
import sys

MISSING = (
    "rasterio pandas geopandas shapely pydantic ruamel mlflow sklearn torchvision cv2 timm "
    "albumentations"
)
MODULES = (
    "module losses targets optim batch_augment samplers image_set object_table epoch_batches "
    "datamodule training_state validation_ap"
)
CODE = f"""
import sys

import lightning  # its own imports may include what is taken away from ours

sys.modules.update(dict.fromkeys("{MISSING}".split()))
for name in "{MODULES}".split():
    __import__("windhover.training." + name)
"""


def test_a_training_step_needs_torch_and_numpy_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
