"""Running the real scripts of the pipeline in a folder of a test's own."""

from __future__ import annotations

import importlib
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from project import ROOT
from windhover.params import check_params, read_yaml

# trained and evaluated in seconds
QUICK_SETTINGS = [
    "patches.positives_per_object=4",
    "augment.variants=0",
    "train.epochs=1",
    "train.max_minutes=null",
    "train.options={width: 4, stem: strided}",
    "train.batch_size=32",
    "train.large_patches.per_batch=0",
    "train.hard_negative_mining.after=[]",
    "train.threads=1",
    "evaluate.n_bootstrap=100",
    "evaluate.min_logit=-9.0",
]


def run_stages(root: Path, stages: Sequence[str], changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Run stages' scripts in a folder as DVC would, with the committed parameters but for some
    changes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("DVC_ROOT", str(root))
        for stage in stages:
            model = getattr(
                importlib.import_module(f"windhover.params.{stage}"), f"{stage.capitalize()}Params"
            )
            section = {**read_yaml(ROOT / "params.yaml")[stage], **changes.get(stage, {})}
            main = runpy.run_path(str(ROOT / "pipeline" / f"{stage}.py"), run_name="tested")["main"]
            main(check_params(stage, model, section))
