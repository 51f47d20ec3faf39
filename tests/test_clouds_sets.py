"""The parameter sets of clouds are read by every stage, and have the sizes they promise."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from toy_world import ROOT
from windhover.params import StageParams, load_params
from windhover.params.augment import AugmentParams
from windhover.params.evaluate import EvaluateParams
from windhover.params.parameter_sets import set_parameters
from windhover.params.patches import PatchesParams
from windhover.params.scenes import ScenesParams
from windhover.params.simulate import SimulateParams
from windhover.params.train import TrainParams
from windhover.simulate.sky_world import plan_sky

STAGES: dict[str, type[StageParams]] = {
    "augment": AugmentParams,
    "evaluate": EvaluateParams,
    "train": TrainParams,
}


@pytest.mark.parametrize("name", ["clouds", "clouds_course"])
def test_every_stage_reads_a_set_of_clouds(tmp_path: Path, name: str) -> None:
    for file in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / file, tmp_path / file)
    set_parameters(tmp_path / "params.yaml", [], ROOT / "params" / f"{name}.yaml")
    for stage, model in STAGES.items():
        load_params(stage, model, tmp_path)
    scenes = load_params("scenes", ScenesParams, tmp_path)
    assert scenes.task == "coverage"
    assert scenes.mask_values[1] == "cloud"
    specs = plan_sky(load_params("simulate", SimulateParams, tmp_path))
    tiles = [spec for spec in specs if spec.place.split == "test"]
    assert [spec.shape_hw for spec in tiles] == [(256, 256)] * 64
    if name == "clouds_course":
        patches = load_params("patches", PatchesParams, tmp_path).coverage
        assert (patches.train_patches, patches.test_patches) == (12_800, 640)
        assert patches.balance
        assert patches.label_px == 64
