"""Checks before a training: a few patches are fitted, or not, and a learning rate is suggested."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from project import ROOT
from toy_patches import patch_folder, train_params
from windhover.errors import DataError, ParameterError
from windhover.experiments.sanity_checks import (
    OVERFIT_LOSS,
    lr_range_test,
    overfit,
    run_sanity_checks,
)


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return patch_folder(tmp_path_factory.mktemp("trials") / "patches")


def test_sixteen_patches_are_fitted(patches: Path) -> None:
    result = overfit(train_params(options={"width": 8, "stem": "strided"}), patches)
    assert result.passed, result.summary()
    assert result.loss < OVERFIT_LOSS
    assert result.summary().startswith("16 patches fitted in ")
    assert result.summary().endswith("ok")


def test_patches_that_all_look_the_same_fail(patches: Path, tmp_path: Path) -> None:
    shutil.copytree(patches, tmp_path / "same")
    images = np.load(tmp_path / "same" / "train.npy")
    np.save(tmp_path / "same" / "train.npy", np.broadcast_to(images[:1], images.shape))
    result = overfit(
        train_params(options={"width": 4, "stem": "strided"}), tmp_path / "same", steps=40
    )
    assert not result.passed
    assert result.loss > 0.5
    assert "not under 0.01" in result.summary()


def test_too_few_patches_are_an_error(patches: Path) -> None:
    with pytest.raises(DataError, match="needs 20 positives and 20 negatives, got 10 and 30"):
        overfit(train_params(), patches, count=40)
    with pytest.raises(ParameterError, match="--overfit needs 2 patches or more, got 1"):
        overfit(train_params(), patches, count=1)


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd", "loss": "focal"}])
def test_learning_rates_rise_until_training_diverges(patches: Path, changes: dict) -> None:
    lr_range = lr_range_test(train_params(**changes), patches, steps=40)
    rates = lr_range.learning_rates
    assert rates == sorted(rates)
    lowest_loss = lr_range.losses[rates.index(lr_range.lowest)]
    assert lowest_loss == min(lr_range.losses) < lr_range.losses[0]
    assert 1e-5 < lr_range.suggested < lr_range.lowest
    assert f"{lr_range.suggested:.2g}" in lr_range.summary()


def test_the_checks_of_the_command_line(
    patches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = "options: {width: 4, stem: strided}"
    text, changed = re.subn(r"options: \{width[^}]*\}", small, (ROOT / "params.yaml").read_text())
    assert changed == 1
    (tmp_path / "params.yaml").write_text(text.replace("threads: 0", "threads: 1"))
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    lines, passed = run_sanity_checks(4, True, patches, figure_path=Path("curve.png"))
    assert passed
    assert lines[0].startswith("4 patches fitted")
    assert "Suggested: train.learning_rate" in lines[1]
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr("windhover.experiments.sanity_checks.OVERFIT_LOSS", 0.0)
    assert not run_sanity_checks(4, False, patches, figure_path=Path("curve.png"))[1]
    with pytest.raises(ParameterError, match="Name a check: --overfit 16 or --rate-range"):
        run_sanity_checks(None, False, patches, figure_path=Path("curve.png"))
