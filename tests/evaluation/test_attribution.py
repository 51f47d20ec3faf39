"""Explanations of networks whose reasons are known, and of every real one; and the pictures of
`windhover explain`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import MakeScene
from windhover.errors import (
    DataError,
    FormatError,
    MissingFileError,
    ParameterError,
    UnsupportedError,
)
from windhover.evaluation.attribution import attribute_logit, last_spatial_layer
from windhover.evaluation.explain import explain_target, read_target
from windhover.inference.detector import Detector
from windhover.models.bundle import load_bundle, save_bundle
from windhover.models.card import Card, NetworkCard
from windhover.models.networks import build_network


class Answer(NamedTuple):
    logits: torch.Tensor


class Corner(torch.nn.Module):
    """Its logit is the brightness of the window's upper right 16 px, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.nn.Conv2d(1, 1, 4, stride=4, bias=False)
        torch.nn.init.constant_(self.mean.weight, 1 / 16)

    def forward(self, inputs: torch.Tensor) -> Answer:
        cells = self.mean(inputs)  # (B, 1, 16, 16)
        return Answer(cells[:, :, :4, 12:].mean(dim=(2, 3), keepdim=True))


def corner_of(values: np.ndarray) -> np.ndarray:
    return values[:16, 48:]


def test_the_reason_is_where_it_is_known_to_be() -> None:
    window = np.full((1, 64, 64), 10.0, np.float32)
    window[0, :16, 48:] = 50
    maps = attribute_logit(Corner(), torch.nn.Identity(), window)
    assert maps.logit == pytest.approx(50)
    outside = np.ones((64, 64), bool)
    outside[:16, 48:] = False
    assert (corner_of(maps.saliency) > 0).all()
    assert maps.saliency[outside].max() == 0
    row, col = np.unravel_index(maps.occlusion.argmax(), (64, 64))
    assert row < 16
    assert col >= 48
    assert maps.occlusion[40:, :40] == pytest.approx(0, abs=1e-5)
    assert np.unravel_index(maps.activation.argmax(), (64, 64))[0] < 18


def test_hiding_what_speaks_against_shows_below_zero() -> None:
    window = np.full((1, 64, 64), 50.0, np.float32)
    window[0, :16, 48:] = 0  # darker than the rest: hiding it raises the logit
    assert attribute_logit(Corner(), torch.nn.Identity(), window).occlusion.min() < -5


@pytest.mark.parametrize("name", ["valid64", "resnet18"])
def test_every_network_can_be_explained(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, 3, 2).eval()
    window = np.random.default_rng(0).normal(0, 1, (3, 64, 64)).astype(np.float32)
    maps = attribute_logit(network, torch.nn.Identity(), window, class_index=1)
    for values in (maps.saliency, maps.occlusion, maps.activation):
        assert values.shape == (64, 64)
        assert np.isfinite(values).all()
    assert maps.saliency.max() > 0
    assert np.ptp(maps.occlusion) > 0
    logit = network(torch.from_numpy(window)[None]).logits[0, 1, 0, 0].item()
    assert maps.logit == pytest.approx(logit, abs=1e-4)
    assert not list(last_spatial_layer(network, torch.zeros(1, 3, 64, 64)).children())
    assert all(not module._forward_hooks for module in network.modules())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    card = Card(
        network=NetworkCard(name="valid64", n_bands=3, n_classes=1, options={"width": 16}),
        classes=("jet",),
        window_px=64,
        stride_px=8,
        gsd_m=1.25,
        bands=("red", "green", "blue"),
        dtype="uint8",
        mean=(90.0,) * 3,
        std=(40.0,) * 3,
        sampled_prior=0.25,
        true_prior=0.001,
    )
    save_bundle(tmp_path / "model", card, build_network("valid64", 3, 1, width=16).state_dict())
    return tmp_path / "model"


@pytest.fixture
def scene(make_scene: MakeScene) -> Path:
    return make_scene(photometric="RGB")


def test_a_place_in_a_scene_is_drawn(model: Path, scene: Path, tmp_path: Path) -> None:
    lines = explain_target(f"{scene}:100,80", model, tmp_path / "why.png")
    assert "jet, window score" in lines[0]
    width, height = Image.open(tmp_path / "why.png").size
    assert width > 2 * height


def test_a_patch_of_the_store_is_drawn(model: Path, tmp_path: Path) -> None:
    np.save(
        tmp_path / "val.npy",
        np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3)).astype(np.uint8),
    )
    explain_target(f"{tmp_path / 'val.npy'}:2", model, tmp_path / "why.png")
    assert (tmp_path / "why.png").is_file()
    with pytest.raises(ParameterError, match="holds patches 0 to 2, got 3"):
        explain_target(f"{tmp_path / 'val.npy'}:3", model, tmp_path / "why.png")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "val.npy").read_bytes()[:90])
    np.save(tmp_path / "four.npy", np.zeros((2, 64, 64, 4), np.uint8))
    for name in ("cut", "four"):
        with pytest.raises(FormatError, match=rf"{name}\.npy: is damaged, or holds no"):
            explain_target(f"{tmp_path / name}.npy:0", model, tmp_path / "why.png")


def test_the_window_is_the_one_around_the_place(model: Path, make_scene: MakeScene) -> None:
    data = np.zeros((3, 150, 210), np.uint8)
    data[:, 90:94, 110:114] = 200
    path = make_scene("spot.tif", data=data, gsd_m=1.25, photometric="RGB")
    window, valid = read_target(f"{path}:112,92", load_bundle(model))
    assert window.shape == (3, 64, 64)
    assert valid.all()
    assert (window[0, 30:34, 30:34] == 200).all()
    assert window.sum() == 3 * 16 * 200


def test_what_detect_would_see_is_explained(model: Path, make_scene: MakeScene) -> None:
    bundle = load_bundle(model)
    pan = make_scene("pan.tif", bands=1, dtype="uint16")
    with pytest.raises(UnsupportedError, match="holds uint16 and the model was trained on uint8"):
        read_target(f"{pan}:100,80", bundle)
    with pytest.raises(UnsupportedError, match=r"this raster has 1=band1.*such as --bands 1,1,1"):
        read_target(f"{pan}:100,80", bundle, match_radiometry=True)
    window, _ = read_target(f"{pan}:100,80", bundle, match_radiometry=True, bands=("1", "1", "1"))
    with Detector(bundle, match_radiometry=True, bands=("1", "1", "1")).open(pan) as scene:
        assert np.array_equal(window, scene.read(48, 68, 64, 64)[0])


def test_a_window_without_data_is_refused(model: Path, make_scene: MakeScene) -> None:
    data = np.full((3, 150, 210), 90, np.uint8)
    data[:, :, 100:] = 0
    path = make_scene(data=data, nodata=0, photometric="RGB")
    bundle = load_bundle(model)
    padded = replace(bundle, card=bundle.card.model_copy(update={"padding_value": (7.0,) * 3}))
    for one in (bundle, padded):
        assert read_target(f"{path}:131,80", one)[1].any()  # its first column has data
        for place in ("132,80", "205,80"):  # the second sees beyond the border
            with pytest.raises(DataError, match=f"window around {place} has no valid pixel"):
                read_target(f"{path}:{place}", one)


@pytest.mark.parametrize(
    "target", ["scene.tif", "scene.tif:1", "scene.tif:a,b", "val.npy:1,2", "val.npy:nan"]
)
def test_a_target_of_no_form_is_refused(model: Path, tmp_path: Path, target: str) -> None:
    with pytest.raises(ParameterError, match="the target must read SCENE:col,row"):
        explain_target(target, model, tmp_path / "why.png")


def test_places_outside_other_classes_and_missing_files_are_refused(
    model: Path, scene: Path, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match="1000,80 is outside its 210 x 150 px"):
        explain_target(f"{scene}:1000,80", model, tmp_path / "why.png")
    with pytest.raises(ParameterError, match=r"why\.jpg: must end in \.png"):
        explain_target(f"{scene}:10,80", model, tmp_path / "why.jpg")
    with pytest.raises(ParameterError, match="--class must be one of jet, got 'ship'"):
        explain_target(f"{scene}:10,80", model, tmp_path / "why.png", class_name="ship")
    with pytest.raises(MissingFileError, match=r"nothing\.npy: no such file"):
        explain_target(f"{tmp_path / 'nothing.npy'}:0", model, tmp_path / "why.png")
