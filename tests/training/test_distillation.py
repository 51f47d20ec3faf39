"""Distillation: a teacher's probabilities are its scores, pull a student towards it, and weigh
nothing at weight 0.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from fake_models import make_card, one_threshold, random_weights
from toy_patches import learning_folders, train_params
from windhover.errors import MissingFileError, ParameterError
from windhover.models.apply_calibration import Calibration, window_scores
from windhover.models.bundle import load_bundle, save_bundle
from windhover.models.card import NetworkCard
from windhover.models.networks import Outputs, build_network
from windhover.params.allowed_values import Loss
from windhover.patches.patch_store import load_patches, read_summary
from windhover.training import train
from windhover.training.data_fingerprint import training_fingerprint
from windhover.training.distillation import load_teacher
from windhover.training.losses import DetectionLoss
from windhover.training.targets import ObjectTensor, patch_targets
from windhover.training.training_data import TrainingFolders

WANTED = make_card().model_dump(mode="json")
POINT = one_threshold(("aircraft",), 0.5)


def write_teacher(folder: Path, **card: Any) -> Path:
    save_bundle(
        folder,
        make_card(**card),
        random_weights(),
        calibration=Calibration(1.7, -3.0),
        operating_point=POINT,
    )
    return folder


def images(*size: int) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(0).integers(0, 255, (2, 3, *size), dtype=np.uint8)
    )


def test_a_teachers_probabilities_are_its_scores_at_the_prior_of_a_training(tmp_path: Path) -> None:
    bundle = load_bundle(write_teacher(tmp_path, sampled_prior=0.5, true_prior=0.01))
    logits = bundle.network()(bundle.normalizer()(images(64, 64))).logits.detach().numpy()
    rare = window_scores(logits, bundle.calibration)
    found = load_teacher(str(tmp_path), WANTED).teacher_probs(images(64, 64), 8).numpy()
    assert found.shape == (2, 1, 1, 1)
    assert found / (1 - found) == pytest.approx(99 * rare / (1 - rare), rel=1e-3)
    write_teacher(tmp_path, true_prior=None)
    unknown = load_teacher(str(tmp_path), WANTED).teacher_probs(images(64, 64), 8)
    assert unknown.numpy() == pytest.approx(rare, rel=1e-3)


def test_large_patches_get_probabilities_window_by_window(tmp_path: Path) -> None:
    teacher, large = load_teacher(str(write_teacher(tmp_path)), WANTED), images(88, 72)
    dense = teacher.teacher_probs(large, 8)
    assert dense.shape == (2, 1, 4, 2)
    by_hand = [
        teacher.teacher_probs(large[:, :, 8 * i : 8 * i + 64, 8 * j : 8 * j + 64], 8)
        for i, j in np.ndindex(4, 2)
    ]
    assert dense.flatten(2).numpy() == pytest.approx(
        torch.cat(by_hand, 2).flatten(2).numpy(), abs=1e-5
    )
    half = teacher.teacher_probs(large, 4)  # not its own stride: each window by itself
    assert half.shape == (2, 1, 7, 3)
    assert half[..., ::2, ::2].numpy() == pytest.approx(dense.numpy(), abs=1e-5)


def test_a_padded_network_teaches_large_patches_too(tmp_path: Path) -> None:
    network = build_network("shufflenet_v2_x0_5", 3, 1)
    card = NetworkCard(name="shufflenet_v2_x0_5", n_bands=3, n_classes=1)
    save_bundle(
        tmp_path,
        make_card(network=card),
        network.state_dict(),
        calibration=Calibration(),
        operating_point=POINT,
    )
    found = load_teacher(str(tmp_path), WANTED).teacher_probs(images(72, 80), 8)
    assert found.shape == (2, 1, 2, 3)
    assert found.isfinite().all()


@pytest.mark.parametrize("loss", get_args(Loss))
def test_the_weight_moves_the_loss_from_the_labels_to_the_teacher(loss: str) -> None:
    """At weight 0 a teacher is not probs; at 1 the labels are not: the best answer is then the
    teacher's own.
    """
    targets = patch_targets(ObjectTensor(torch.tensor([[0.0, 0, 0, 9, 9], [-1.0, 0, 0, 0, 0]])), 1)
    teacher_probs = torch.tensor([0.3, 0.6]).view(2, 1, 1, 1)

    def slope(weight: float, logits: torch.Tensor, probs: torch.Tensor | None) -> torch.Tensor:
        logits = logits.detach().requires_grad_()
        nothing = torch.zeros(2, 2, 1, 1)
        criterion = DetectionLoss(loss, (50, 50), distillation_weight=weight)
        criterion(Outputs(logits, nothing, nothing), targets, teacher_probs=probs).total.backward()
        assert logits.grad is not None
        return logits.grad.flatten()

    at = torch.tensor([0.4, -1.0]).view(2, 1, 1, 1)
    assert torch.equal(slope(0.0, at, teacher_probs), slope(0.0, at, None))
    assert slope(1.0, torch.logit(teacher_probs), teacher_probs).abs().max() < 1e-6
    assert slope(0.5, at, teacher_probs).numpy() == pytest.approx(
        ((slope(0.0, at, teacher_probs) + slope(1.0, at, teacher_probs)) / 2).numpy(), abs=1e-6
    )


def doubtful(model: str, where: Path) -> str:
    """Write a finished model that ranks windows as another does, and is far less sure: no label
    says that.
    """
    bundle = load_bundle(model)
    point = one_threshold(("cross",), 0.5)
    save_bundle(
        where,
        bundle.card,
        bundle.weights,
        calibration=Calibration(8.0, float(np.log(0.01 / 0.99))),
        operating_point=point,
    )
    return str(where)


def gap(model: str, teacher: str, folders: TrainingFolders) -> float:
    """Return the mean distance of a model's logits from a teacher's over the patches of val."""
    pixels = torch.from_numpy(np.array(load_patches(folders.patches, "val").images)).permute(
        0, 3, 1, 2
    )
    bundle = load_bundle(model)
    logits = bundle.network()(bundle.normalizer()(pixels)).logits.detach()
    found = torch.logit(
        load_teacher(teacher, read_summary(folders.patches).to_json()).teacher_probs(pixels, 8)
    )
    return float((logits - found).abs().mean())


def test_a_student_comes_nearer_to_its_teacher_and_weight_0_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = learning_folders(tmp_path)
    alone = replace(folders, out=str(tmp_path / "alone"))
    weightless = replace(folders, out=str(tmp_path / "weightless"))
    student = replace(folders, out=str(tmp_path / "student"))
    plan = {"epochs": 3, "learning_rate": 0.015}
    train.train_detector(train_params(**plan), alone, track=False)
    teacher = doubtful(alone.out, tmp_path / "teacher")
    train.train_detector(
        train_params(**plan, teacher=teacher, distillation_weight=0.0), weightless, track=False
    )
    train.train_detector(
        train_params(**plan, teacher=teacher, distillation_weight=1.0), student, track=False
    )
    assert load_bundle(weightless.out).card.name == load_bundle(alone.out).card.name
    gaps = [gap(folders.out, teacher, folders) for folders in (alone, student)]
    assert gaps[1] < 0.65 * gaps[0]


def test_a_checkpoint_knows_its_teacher(tmp_path: Path) -> None:
    folders = learning_folders(tmp_path)
    params = train_params(teacher=str(write_teacher(tmp_path / "teacher")))
    key = training_fingerprint(params, folders)
    save_bundle(tmp_path / "teacher", make_card(), random_weights(seed=1), operating_point=POINT)
    assert key != training_fingerprint(params, folders)


def test_a_model_that_cannot_teach_is_an_error(tmp_path: Path) -> None:
    folders = learning_folders(tmp_path)
    summary = read_summary(folders.patches)
    with pytest.raises(ParameterError, match=r"`train\.teacher`: .* has `bands`"):
        load_teacher(str(write_teacher(tmp_path / "other")), summary.to_json())
    save_bundle(tmp_path / "raw", make_card(), random_weights())
    with pytest.raises(
        ParameterError, match="was never evaluated, so its scores are no probabilities"
    ):
        load_teacher(str(tmp_path / "raw"), WANTED)
    with pytest.raises(MissingFileError, match="no such model folder"):
        load_teacher(str(tmp_path / "none"), WANTED)
