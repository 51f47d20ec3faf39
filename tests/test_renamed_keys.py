"""Old names of parameters are still read, and one line reports the new ones."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from project import ROOT
from windhover.errors import ParameterError
from windhover.params import change_params, check_params, load_params, read_yaml, renamed_keys
from windhover.params.detect import DetectParams
from windhover.params.evaluate import EvaluateParams
from windhover.params.parameter_sets import set_parameters
from windhover.params.patches import PatchesParams
from windhover.params.renamed_keys import RENAMED_KEYS, RENAMED_VALUES, current_name
from windhover.params.scenes import ScenesParams
from windhover.params.train import TrainParams
from write_params import params_model

OLD = """\
scenes:
  raw: .
  repeat_iou: 0.6
  block_m: 2200.0
patches:
  negatives_per_positive: {random: 3.0, offcentre: 2.0, lookalike: 0.5}
train:
  network: course
  distil_weight: 0.25
  freeze: 0.125
  trunk_rate: 0.5
  stage_rate: 0.75
  warmup: 0.1
  clip_norm: 4.0
  precision: fp32 # of the arithmetic
  balance_beta: 0.9
  adjust_tau: 2.0
  mined_share: 0.25
  jitter: # of each picture
    symmetries: false # turn and mirror
    band_gain: 0.5
    band_contrast: 0.25
    highlights: 1.5
  mining:
    cap_per_scene: 7
    missed_copies: 9
  crops:
    crowded: 0.125
    around_objects: 0.375
evaluate:
  floor_logit: -3.0
  peak_looks: 8
  peak_looks_from: -2.0
  match_by: metres
  point_reach_m: 11.0
  rule: recall_at_least
  rule_value: 0.9
  draws: 200
detect:
  precision: bf16
"""


@pytest.fixture(autouse=True)
def _nothing_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renamed_keys, "_reported", set())


@pytest.fixture
def old_project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(OLD)
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    return tmp_path


def test_a_params_file_with_old_names_is_read(old_project: Path) -> None:
    scenes = load_params("scenes", ScenesParams, old_project)
    assert (scenes.duplicate_iou, scenes.spatial_block_m) == (0.6, 2200.0)
    assert load_params("patches", PatchesParams, old_project).negatives_per_positive.offcenter == 2
    train = load_params("train", TrainParams, old_project)
    assert (train.training_precision, train.mined_fraction) == ("fp32", 0.25)
    assert train.network == "baseline_cnn"
    assert (train.batch_augment.d4, train.batch_augment.highlight_darkening) == (False, 1.5)
    assert train.hard_negative_mining.patches_per_miss == 9
    assert train.large_patches.copy_paste_prob == 0.125
    evaluate = load_params("evaluate", EvaluateParams, old_project)
    assert (evaluate.match_by, evaluate.threshold_rule) == ("distance", "recall_at_least")
    assert (evaluate.peak_tta, evaluate.n_bootstrap) == ("d4", 200)
    assert load_params("detect", DetectParams, old_project).inference_precision == "bf16"


def test_one_line_reports_the_new_names(
    old_project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load_params("detect", DetectParams, old_project)
        load_params("detect", DetectParams, old_project)
    [line] = caplog.messages
    assert line.startswith("params.yaml: old names are still read")
    assert line.endswith("have new ones: detect.precision -> detect.inference_precision")


def test_new_names_are_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load_params("train", TrainParams, ROOT)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("train.jitter.highlights", "train.batch_augment.highlight_darkening"),
        ("train.batch_augment.highlights", "train.batch_augment.highlight_darkening"),
        ("train.crops.per_batch", "train.large_patches.per_batch"),
        ("patches.negatives_per_positive.offcentre", "patches.negatives_per_positive.offcenter"),
        ("evaluate.seed", "evaluate.seed"),
    ],
)
def test_a_dotted_name_has_a_current_one(old: str, new: str) -> None:
    assert current_name(old) == new


def test_settings_with_old_names_change_the_parameters(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        changed = change_params(
            "train", TrainParams(), {"jitter.noise": 0.5, "mining": {"cap_per_scene": 3}}
        )
    assert changed.batch_augment.noise == 0.5
    assert changed.hard_negative_mining.max_per_scene == 3
    assert len(caplog.messages) == 1
    assert "train.jitter.noise -> train.batch_augment.noise" in caplog.messages[0]


def test_the_old_and_the_new_name_together_are_an_error() -> None:
    section = {"rule": "max_fbeta", "threshold_rule": "least_cost"}
    with pytest.raises(ParameterError, match=r"also given by its old name `evaluate\.rule`"):
        check_params("evaluate", EvaluateParams, section)


def test_setting_a_value_gives_the_whole_file_its_new_names(old_project: Path) -> None:
    path = old_project / "params.yaml"
    (old_project / "set.yaml").write_text("train:\n  crops.crowded: 0.5\n")
    changed = set_parameters(path, ["evaluate.draws=300"], old_project / "set.yaml")
    assert changed == ["train.large_patches.copy_paste_prob", "evaluate.n_bootstrap"]
    text = re.sub(" +#", " #", path.read_text())  # comments stay in their column
    assert "    d4: false # turn and mirror\n" in text
    assert "  batch_augment: # of each picture\n" in text
    assert "  training_precision: fp32 # of the arithmetic\n" in text
    assert "  match_by: distance\n" in text
    order = [line.split(":")[0].strip() for line in OLD.splitlines()]
    new_order = [line.split(":")[0].strip() for line in text.splitlines()]
    assert [order[0], order[6], order[-2]] == [new_order[0], new_order[6], new_order[-2]]
    assert len(new_order) == len(order)
    assert read_yaml(path)["train"]["large_patches"] == {
        "copy_paste_prob": 0.5,
        "object_fraction": 0.375,
    }


def test_every_new_name_is_a_parameter_and_no_old_one_is() -> None:
    for path, keys in RENAMED_KEYS.items():
        stage, _, inner = path.partition(".")
        model = params_model(stage)
        if inner:
            model = type(getattr(model(), inner))
        assert set(keys.values()) <= set(model.model_fields)
        assert not set(keys) & set(model.model_fields)
    for name, values in RENAMED_VALUES.items():
        stage, _, key = name.partition(".")
        for value in values.values():
            change_params(stage, params_model(stage)(), {key: value})
