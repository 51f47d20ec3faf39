"""Trials before a training: what can be learnt is, what cannot is said, and a rate is suggested
that trains.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from project import ROOT
from toy_patches import patch_folder, train_params
from windhover.errors import DataError, ParameterError
from windhover.experiments.sanity_checks import OVERFIT_LOSS, overfit, rate_range, try_training


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return patch_folder(tmp_path_factory.mktemp("trials") / "patches")


def test_sixteen_patches_are_learnt_by_heart(patches: Path) -> None:
    result = overfit(train_params(options={"width": 8, "stem": "strided"}), patches)
    assert result.passed, result.sentence()
    assert result.loss < OVERFIT_LOSS
    assert result.sentence().startswith("16 patches learnt by heart in ")
    assert result.sentence().endswith("ok")


def test_patches_that_cannot_be_told_apart_fail_and_say_so(patches: Path, tmp_path: Path) -> None:
    shutil.copytree(patches, tmp_path / "same")
    images = np.load(tmp_path / "same" / "train.npy")
    np.save(tmp_path / "same" / "train.npy", np.broadcast_to(images[:1], images.shape))
    result = overfit(
        train_params(options={"width": 4, "stem": "strided"}), tmp_path / "same", steps=40
    )
    assert not result.passed
    assert result.loss > 0.5
    assert "not under 0.01" in result.sentence()


def test_too_few_patches_are_said(patches: Path) -> None:
    with pytest.raises(DataError, match="needs 20 positives and 20 negatives, got 10 and 30"):
        overfit(train_params(), patches, count=40)
    with pytest.raises(ParameterError, match="--overfit needs 2 patches or more, got 1"):
        overfit(train_params(), patches, count=1)


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd", "loss": "focal"}])
def test_a_range_of_rates_rises_until_learning_breaks(patches: Path, changes: dict) -> None:
    ranged = rate_range(train_params(**changes), patches, steps=40)
    assert ranged.rates == sorted(ranged.rates)
    assert ranged.losses[ranged.rates.index(ranged.lowest)] == min(ranged.losses) < ranged.losses[0]
    assert 1e-5 < ranged.suggested < ranged.lowest
    assert f"{ranged.suggested:.2g}" in ranged.sentence()


def test_the_trials_of_the_command_line(
    patches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = "options: {width: 4, stem: strided}"
    text, changed = re.subn(r"options: \{width[^}]*\}", small, (ROOT / "params.yaml").read_text())
    assert changed == 1
    (tmp_path / "params.yaml").write_text(text.replace("threads: 0", "threads: 1"))
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    lines, passed = try_training(4, True, patches, Path("curve.png"))
    assert passed
    assert lines[0].startswith("4 patches learnt by heart")
    assert "Suggested: train.learning_rate" in lines[1]
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr("windhover.experiments.sanity_checks.OVERFIT_LOSS", 0.0)
    assert not try_training(4, False, patches, Path("curve.png"))[1]
    with pytest.raises(ParameterError, match="Name a trial: --overfit 16 or --rate-range"):
        try_training(None, False, patches, Path("curve.png"))
