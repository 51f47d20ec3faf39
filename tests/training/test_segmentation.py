"""Training a U-Net on crops with class maps: it learns, repeats itself, and every part fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from toy_coverage import cloud_mask, coverage_catalog, picture_of, write_scenes
from toy_patches import train_params
from windhover.dataset.catalog import Catalog, load_catalog
from windhover.errors import DataError, ParameterError
from windhover.inference.blended_tiles import BlendedTiles
from windhover.models.bundle import load_bundle
from windhover.params.augment import AugmentParams
from windhover.params.patches import PatchesParams
from windhover.patches.albumentations_pipeline import augment_crop, build_transforms
from windhover.patches.augment_patches import augment_training_patches
from windhover.patches.cut_patches import cut_patches
from windhover.patches.patch_store import read_summary
from windhover.patches.pixel_value_range import value_range
from windhover.training import train
from windhover.training.segmentation_crops import CropSource
from windhover.training.segmentation_losses import PARTS, SegmentationLoss
from windhover.training.segmentation_module import SegmentationModule, random_d4_of_crops
from windhover.training.training_data import TrainingFolders

OPTIONS = {"encoder": "resnet10t", "width": 4, "levels": 3, "space_to_depth": 1, "tile_px": 64}
CROPS = {"side_px": 64, "per_epoch": 32, "per_batch": 4}


def unet_params(**changes: Any) -> Any:
    values = {"network": "unet", "options": OPTIONS, "segmentation": CROPS, "learning_rate": 0.01}
    params = train_params(epochs=2)
    return type(params).model_validate(params.model_dump() | values | changes)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> TrainingFolders:
    folder = tmp_path_factory.mktemp("masks")
    catalog = coverage_catalog(write_scenes(folder / "raw", n_scenes=4, shape_hw=(150, 210)))
    patches = folder / "patches"
    patches.mkdir()
    coverage = {"train_patches": 20, "test_patches": 10, "label_px": 32}
    cut_patches(catalog, PatchesParams.model_validate({"coverage": coverage}), patches)
    augment_training_patches(patches, folder / "augmented", AugmentParams(variants=0))
    return TrainingFolders(
        str(folder / "catalog"), str(patches), str(folder / "augmented"), str(folder / "train")
    )


@pytest.fixture
def out(
    folders: TrainingFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TrainingFolders:
    monkeypatch.chdir(tmp_path)
    return replace(folders, out=str(tmp_path / "train"))


def catalog_of(folders: TrainingFolders, split: str = "train") -> Catalog:
    return load_catalog(folders.scenes).split(split)


@pytest.mark.parametrize("scene_log", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_unet_learns_bright_ground(out: TrainingFolders, scene_log: bool) -> None:
    options = OPTIONS | {"scene_log": scene_log}
    params = unet_params(epochs=6, options=options)
    result = train.train_detector(params, out, track=False)
    assert result.kept_ap > 0.95
    assert result.history[-1]["score"] < result.history[0]["score"]
    bundle = load_bundle(out.out)
    card = bundle.card
    assert (card.task, card.window_px, card.stride_px) == ("coverage", 64, 1)
    assert card.training["loss"] == "dice_bce"
    scorer = BlendedTiles(bundle.network(), bundle.normalizer(), overlap_px=16)
    mask = cloud_mask((130, 170), seed=99)
    picture = picture_of(mask, seed=99)

    def read(row: int, col: int, height: int, width: int) -> tuple[Any, Any]:
        part = picture[:, row : row + height, col : col + width]
        return part, np.ones(part.shape[1:], bool)

    levels = scorer.levels(read, (130, 170))
    assert (levels is not None) == scene_log
    found = scorer.score(read, (130, 170), (0, 130, 0, 170), levels)[0] > 0
    assert (found == mask).mean() > 0.95


@pytest.mark.slow
def test_a_training_repeats_itself_and_goes_on_after_a_kill(
    out: TrainingFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = unet_params(epochs=2, segmentation=CROPS | {"per_epoch": 8})
    train.train_detector(params, out, track=False)
    first = load_bundle(out.out).state_dict()

    n_steps = 0
    step = SegmentationModule.training_step

    def killed(self: SegmentationModule, batch: Any, index: int) -> torch.Tensor:
        nonlocal n_steps
        n_steps += 1
        if n_steps == 3:  # in the second epoch
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationModule, "training_step", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit), match=r"^\d*$"):
            train.train_detector(params, out, track=False)
    train.train_detector(params, out, track=False)
    second = load_bundle(out.out).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_crops_are_pixels_and_classes_of_one_place(out: TrainingFolders) -> None:
    summary = read_summary(out.patches)
    source = CropSource(catalog_of(out), summary, side_px=64)
    rng = np.random.default_rng(0)
    n_with_cloud = 0
    for _ in range(40):
        crop = source.draw(rng, class_fraction=1.0)
        assert crop.image.shape == (64, 64, 3)
        n_with_cloud += bool((crop.classes == 1).any())
        known = crop.classes != 255
        assert known.all()
        assert (crop.image[crop.classes == 1] >= 200).all()
        assert (crop.image[crop.classes == 0] < 200).all()
    assert n_with_cloud == 40
    total = 150 * 210 * len(source)
    assert sum(source.px_by_class) == total
    assert sum((c.classes < 255).sum() for c in source.grid(1000)) >= total
    source.close()


def test_a_scene_that_is_smaller_than_a_crop_is_filled_with_the_mean(out: TrainingFolders) -> None:
    summary = read_summary(out.patches)
    source = CropSource(catalog_of(out), summary, side_px=256)
    crop = source.draw(np.random.default_rng(0), class_fraction=0.5)
    outside = crop.classes == 255
    assert outside.sum() == 256**2 - 150 * 210
    np.testing.assert_allclose(
        crop.image[outside], np.tile(summary.mean, (outside.sum(), 1)), atol=1
    )
    source.close()


def test_transforms_turn_a_picture_and_its_classes_together() -> None:
    rng = np.random.default_rng(0)
    classes = (rng.random((48, 48)) < 0.4).astype(np.uint8)
    classes[:6] = 255
    image = np.repeat(np.where(classes == 1, 230, 20)[:, :, None], 4, axis=2).astype(np.uint8)
    scale = value_range("uint8", [100.0] * 4, [50.0] * 4)
    declared = [{"name": "D4", "p": 1.0}, {"name": "RandomGamma", "gamma_limit": [90, 110]}]
    transforms = build_transforms(declared, 4)
    turned = 0
    for seed in range(8):
        transforms.set_random_seed(seed)
        pixels, moved = augment_crop(image, classes, transforms, scale=scale)
        turned += bool((moved != classes).any())
        assert sorted(np.unique(moved)) == [0, 1, 255]
        assert ((pixels[..., 0] > 120) == (moved == 1)).all()
    assert turned >= 4
    pair = torch.from_numpy(image).permute(2, 0, 1)[None].repeat(8, 1, 1, 1)
    maps = torch.from_numpy(classes)[None].repeat(8, 1, 1)
    pixels, moved = random_d4_of_crops(pair, maps, torch.Generator().manual_seed(0))
    assert ((pixels[:, 0] > 120) == (moved == 1)).all()
    assert not torch.equal(moved, maps)


@pytest.mark.parametrize("name", [*PARTS, "dice_bce", "dice_focal", "lovasz_bce"])
def test_losses_fall_towards_the_truth_and_unknown_pixels_count_nowhere(name: Any) -> None:
    torch.manual_seed(0)
    classes = torch.randint(0, 3, (2, 12, 20), dtype=torch.uint8)
    sure = torch.stack([torch.where(classes == k, 8.0, -8.0) for k in (1, 2)], dim=1)
    loss = SegmentationLoss(name)
    assert float(loss(sure, classes)) < 0.05
    assert float(loss(-sure, classes)) > float(loss(0 * sure, classes)) > float(loss(sure, classes))
    partly = classes.clone()
    partly[:, :5] = 255
    wrong = sure.clone()
    wrong[:, :, :5] = -wrong[:, :, :5]
    assert float(loss(wrong, partly)) == pytest.approx(float(loss(sure, partly)))
    logits = (0 * sure).requires_grad_()
    loss(logits, partly).backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, :5] == 0).all()
    assert (logits.grad[:, :, 5:] != 0).any()
    nothing = loss(sure, torch.full_like(classes, 255))
    assert float(nothing) == 0


def test_what_does_not_fit_is_named(out: TrainingFolders, tmp_path: Path) -> None:
    options = OPTIONS | {"levels": 5, "space_to_depth": 4, "tile_px": 256}
    with pytest.raises(ParameterError, match="side_px` must be a multiple of 128 px"):
        train.train_detector(unet_params(options=options), out, track=False)
    with pytest.raises(ParameterError, match=r"loss of masks is a sum of bce, .* got 'hinge'"):
        SegmentationLoss("hinge")  # type: ignore[arg-type]
    empty = write_scenes(tmp_path / "raw", n_scenes=3)
    for mask in (empty / "masks").glob("*.tif"):
        with rasterio.open(mask, "r+") as dataset:
            dataset.write(np.zeros((1, *dataset.shape), np.uint8))
    coverage_catalog(empty)
    with pytest.raises(DataError, match="No scene of the training split has a class map"):
        train.train_detector(
            unet_params(), replace(out, scenes=str(tmp_path / "catalog")), track=False
        )
