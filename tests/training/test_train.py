"""Training: learns, repeats itself, goes on after a kill exactly, mines, fits its time, and writes
what others read.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from toy_patches import learning_folders, patch_folder, train_params
from windhover.errors import DataError, MissingFileError, ParameterError
from windhover.models.bundle import load_bundle
from windhover.models.pixel_ranges import measure_pixel_ranges
from windhover.patches.patch_store import PatchSet, load_patches
from windhover.training import artifacts, train, training_data
from windhover.training.callbacks import last_checkpoint
from windhover.training.data_fingerprint import training_fingerprint
from windhover.training.mined_patches import MinedPatches
from windhover.training.module import DetectionModule
from windhover.training.training_data import TrainingFolders


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> TrainingFolders:
    return learning_folders(tmp_path_factory.mktemp("learning"))


@pytest.fixture(scope="module")
def plain(
    folders: TrainingFolders, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, torch.Tensor]:
    """Weights after one epoch with the parameters as they are."""
    where = replace(folders, out=str(tmp_path_factory.mktemp("plain") / "train"))
    train.train_detector(train_params(epochs=1), where, track=False)
    return weights_of(where)


@pytest.fixture
def out(
    folders: TrainingFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TrainingFolders:
    monkeypatch.chdir(tmp_path)
    return replace(folders, out=str(tmp_path / "train"))


def weights_of(folders: TrainingFolders) -> dict[str, torch.Tensor]:
    return load_bundle(folders.out).state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_and_writes_weights_card_history_and_pictures(out: TrainingFolders) -> None:
    trained = train.train_detector(train_params(epochs=8, learning_rate=0.015), out, track=False)
    assert trained.kept_ap > 0.9
    bundle = load_bundle(out.out)
    assert bundle.card.classes == ("cross",)
    assert (bundle.card.window_px, bundle.card.stride_px, bundle.card.true_prior) == (64, 8, 0.01)
    assert bundle.card.sampled_prior == pytest.approx(0.25, abs=0.05)
    patches = torch.from_numpy(np.load(Path(out.augmented) / "train.npy")).permute(0, 3, 1, 2)
    assert len(patches) <= artifacts.RANGE_IMAGES
    assert bundle.card.ranges == measure_pixel_ranges([patches.numpy()])
    assert bundle.card.ranges.maps == ()
    written = {path.name for path in Path(out.out).iterdir()}
    assert {
        "weights.safetensors",
        "model.json",
        "mined.npy",
        "mined.parquet",
        "history.json",
        "curves.png",
    } <= written
    history = json.loads((Path(out.out) / "history.json").read_text())["epochs"]
    assert len(history) == 8
    assert history[-1]["score"] < history[0]["score"] / 2
    assert history[-1]["learning_rate"] < history[3]["learning_rate"]
    assert not list(train.CHECKPOINTS.glob("*")), "checkpoints are removed when training ends well"


def test_the_same_seed_gives_the_same_weights_and_another_others(
    out: TrainingFolders, plain: dict[str, torch.Tensor]
) -> None:
    train.train_detector(train_params(epochs=1), out, track=False)
    assert same(weights_of(out), plain)
    train.train_detector(train_params(epochs=1, seed=6), out, track=False)
    assert not same(weights_of(out), plain)


def test_a_killed_training_goes_on_from_the_last_epoch_to_the_same_weights(
    out: TrainingFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = train_params(epochs=3, options={"width": 4, "stem": "strided", "dropout": 0.2})
    train.train_detector(params, out, track=False)
    unbroken = weights_of(out)
    step = DetectionModule.training_step

    def killed(self: DetectionModule, batch: Any, index: int) -> torch.Tensor:
        if self.current_epoch == 2 and index == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(DetectionModule, "training_step", killed)
    with pytest.raises((KeyboardInterrupt, SystemExit), match=r"^\d*$"):
        train.train_detector(params, out, track=False)
    assert len(list(train.CHECKPOINTS.glob("*/last.ckpt"))) == 1
    monkeypatch.setattr(DetectionModule, "training_step", step)
    seen: list[float] = []
    trained = train.train_detector(
        params, out, track=False, should_stop=lambda row: bool(seen.append(row["epoch"]))
    )
    assert [row["epoch"] for row in trained.history] == [0, 1, 2]
    assert seen == [0, 1, 2], "should_stop gets the epochs before the kill too"
    assert same(weights_of(out), unbroken)


def test_checkpoints_of_other_parameters_or_data_are_not_gone_on_from(
    out: TrainingFolders, tmp_path: Path
) -> None:
    key = training_fingerprint(train_params(), out)
    assert key == training_fingerprint(train_params(), out)
    assert key != training_fingerprint(train_params(learning_rate=0.004), out)
    other = patch_folder(tmp_path / "other", seed=1)
    assert key != training_fingerprint(train_params(), replace(out, patches=str(other)))


def mined_patches(count: int, index: pd.DataFrame) -> MinedPatches:
    """Return gray patches as a round of mining would."""
    table = index[index["kind"] == "random"].head(count).assign(origin="mined-1", kind="lookalike")
    return MinedPatches(np.full((count, 64, 64, 3), 77, np.uint8), table.reset_index(drop=True))


class Scenes(list[Any]):
    """Training scenes, of which only sizes are asked."""

    gsd_m = 1.0


@pytest.fixture
def rounds(out: TrainingFolders, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list that grows by one with each round of mining, of which each finds seven
    patches.
    """
    index = load_patches(out.patches, "train").index
    calls: list[Any] = []
    scenes = Scenes([SimpleNamespace(labeled=True, area_m2=90.0 * 70.0)])
    monkeypatch.setattr(
        "windhover.training.training_data.load_catalog",
        lambda _: SimpleNamespace(split=lambda _: scenes),
    )
    monkeypatch.setattr(
        "windhover.training.callbacks.hard_negative_mining.mine_hard_negatives",
        lambda *given, **named: calls.append(given) or mined_patches(7, index),
    )
    return calls


def test_a_mining_round_adds_patches_once_and_writes_them(
    out: TrainingFolders, rounds: list[Any]
) -> None:
    trained = train.train_detector(
        train_params(epochs=4, hard_negative_mining={"after": [0.5]}), out, track=False
    )
    assert len(rounds) == 1
    mined = pd.read_parquet(Path(out.out) / "mined.parquet")
    assert mined["origin"].tolist() == ["mined-1"] * 7
    assert len(np.load(Path(out.out) / "mined.npy")) == 7
    assert (Path(out.out) / "mined-1.png").is_file()
    assert trained.card.training["mined"] == 14, (
        "each goes through the augmentation: itself and a copy"
    )


@pytest.mark.parametrize(
    ("shares", "epoch"),
    [
        pytest.param([0.05, 0.5], 4, id="apart", marks=pytest.mark.slow),
        pytest.param([0.4, 0.42], 2, id="between two"),
    ],
)
def test_a_round_held_before_a_kill_is_taken_up_and_not_held_again(
    out: TrainingFolders,
    monkeypatch: pytest.MonkeyPatch,
    rounds: list[Any],
    shares: list[float],
    epoch: int,
) -> None:
    params = train_params(epochs=5, hard_negative_mining={"after": shares})
    train.train_detector(params, out, track=False)
    unbroken, step = weights_of(out), DetectionModule.training_step
    assert len(rounds) == 2, "a round due before the first epoch is held after it"

    def killed(self: DetectionModule, batch: Any, index: int) -> torch.Tensor:
        if self.current_epoch == epoch:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(DetectionModule, "training_step", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit), match=r"^\d*$"):
            train.train_detector(params, out, track=False)
    trained = train.train_detector(params, out, track=False)
    assert len(rounds) == 4, "both rounds of the killed training were kept"
    assert trained.card.training["mined"] == 28
    assert same(weights_of(out), unbroken)
    assert pd.read_parquet(Path(out.out) / "mined.parquet")["origin"].tolist() == ["mined-1"] * 14


@pytest.mark.parametrize(
    "aps",
    [[0.9, *np.linspace(0.5, 0.1, 20)], [1.0] * 20],
    ids=["ever worse", "perfect from the first epoch on"],
)
def test_patience_ends_a_training_that_no_longer_improves(
    out: TrainingFolders, monkeypatch: pytest.MonkeyPatch, aps: list[float]
) -> None:
    seen = iter(aps)
    monkeypatch.setattr("windhover.training.module.window_ap", lambda *_: next(seen))
    trained = train.train_detector(train_params(epochs=9, patience=2), out, track=False)
    assert len(trained.history) == 3
    assert trained.kept_epoch == (2 if aps[1] == 1.0 else 0)


def test_without_an_object_in_validation_nothing_says_that_training_no_longer_improves(
    out: TrainingFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bare(folder: str, split: str, summary: Any) -> Any:
        whole = load_patches(folder, split, summary)
        return (
            PatchSet(whole.images, whole.index.assign(**{"class": ""})) if split == "val" else whole
        )

    monkeypatch.setattr(training_data, "load_patches", bare)
    trained = train.train_detector(train_params(epochs=4, patience=1), out, track=False)
    assert (len(trained.history), trained.kept_epoch) == (4, 3)


@pytest.mark.parametrize(
    ("last", "kept"), [(0.95, 3), (0.3, 2)], ids=["as good as the best", "clearly worse"]
)
def test_the_latest_weights_are_kept_that_are_not_clearly_worse_than_the_best(
    out: TrainingFolders, monkeypatch: pytest.MonkeyPatch, last: float, kept: int
) -> None:
    aps, shown = iter([0.5, 0.96, 0.94, last]), []
    finish = DetectionModule.on_validation_epoch_end

    def watched(self: DetectionModule) -> None:
        shown.append(
            {name: value.clone() for name, value in self.inference_network.state_dict().items()}
        )
        finish(self)

    monkeypatch.setattr(DetectionModule, "on_validation_epoch_end", watched)
    monkeypatch.setattr("windhover.training.module.window_ap", lambda *_: next(aps))
    trained = train.train_detector(train_params(epochs=4), out, track=False)
    assert (trained.kept_epoch, trained.kept_ap) == (kept, [0.5, 0.96, 0.94, last][kept])
    assert same(weights_of(out), shown[kept])
    assert not same(weights_of(out), shown[kept - 1])


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd"},
        {"ema_decay": 0.0},
        {"gradient_clip_norm": 0.01},
        {"weight_decay": 0.5},
        {"freeze_fraction": 1.0},
        {"trunk_lr_factor": 0.5},
        {"layer_lr_decay": 0.5},
        {"options": {"width": 4, "stem": "strided", "init": "glorot"}},
        {"loss": "focal"},
        {"training_precision": "bf16"},
    ],
)
def test_each_choice_changes_the_weights(
    out: TrainingFolders, plain: dict[str, torch.Tensor], changes: dict[str, Any]
) -> None:
    train.train_detector(train_params(epochs=1, **changes), out, track=False)
    assert not same(weights_of(out), plain)


def test_frozen_layers_stay_as_they_were_and_heads_learn(
    out: TrainingFolders, tmp_path: Path
) -> None:
    train.train_detector(train_params(epochs=1), out, track=False)
    start = weights_of(out)
    then = replace(out, out=str(tmp_path / "then"))
    train.train_detector(
        train_params(epochs=1, start_from=out.out, freeze_fraction=1.0, ema_decay=0.0),
        then,
        track=False,
    )
    ended = weights_of(then)
    changed = {name.split(".")[0] for name in start if not torch.equal(ended[name], start[name])}
    assert changed == {"heads"}, "neither weights nor the statistics of batch norms"
    train.train_detector(
        train_params(epochs=2, start_from=out.out, freeze_fraction=0.5, ema_decay=0.0),
        then,
        track=False,
    )
    assert not torch.equal(weights_of(then)["trunk.0.weight"], start["trunk.0.weight"]), (
        "let go after half the time"
    )
    with pytest.raises(ParameterError, match=r"network of .* is another one"):
        train.train_detector(
            train_params(start_from=out.out, options={"width": 8}), then, track=False
        )


def test_padded_backbones_train_too_and_refuse_large_patches(out: TrainingFolders) -> None:
    params = train_params(epochs=1, network="squeezenet1_1", options={}, batch_size=40)
    train.train_detector(params, out, track=False)
    assert load_bundle(out.out).card.network.name == "squeezenet1_1"
    with pytest.raises(ParameterError, match="squeezenet1_1 is padded"):
        training_data.require_unpadded(params)


def test_a_network_that_began_from_a_file_needs_it_no_more(
    out: TrainingFolders, tmp_path: Path
) -> None:
    import timm

    torch.manual_seed(4)
    donor = timm.create_model("mobilenetv3_small_050", num_classes=3).state_dict()
    torch.save(donor, tmp_path / "weights.pt")
    options = {"weights": str(tmp_path / "weights.pt")}
    params = train_params(
        epochs=1,
        network="mobilenetv3_small_050",
        options=options,
        freeze_fraction=1.0,
        ema_decay=0.0,
    )
    train.train_detector(params, out, track=False)
    (tmp_path / "weights.pt").unlink()
    trunk = load_bundle(out.out).network().state_dict()
    kept = {
        name.removeprefix("backbone."): value
        for name, value in trunk.items()
        if name.startswith("backbone.")
    }
    assert all(torch.equal(value, donor[name]) for name, value in kept.items())


def test_missing_stages_and_empty_data_are_errors(out: TrainingFolders, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="dvc repro"):
        train.train_detector(
            train_params(), replace(out, augmented=str(tmp_path / "none")), track=False
        )
    bare = patch_folder(tmp_path / "bare", positives=0)
    (tmp_path / "bare" / "augment.json").write_text(
        (Path(out.augmented) / "augment.json").read_text()
    )
    with pytest.raises(DataError, match="hold no object"):
        train.train_detector(
            train_params(), replace(out, patches=str(bare), augmented=str(bare)), track=False
        )


def test_weights_that_are_no_numbers_are_never_kept(
    out: TrainingFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        training_data, "load_patches", lambda folder, split, _: without_rows(folder, split, "val")
    )
    step = DetectionModule.training_step
    monkeypatch.setattr(DetectionModule, "training_step", lambda *given: step(*given) * torch.nan)
    with pytest.raises(DataError, match=r"training diverged.*Lower train\.learning_rate"):
        train.train_detector(train_params(gradient_clip_norm=0.0), out, track=False)
    assert not Path(out.out).exists()


def without_rows(folder: str, split: str, empty: str) -> Any:
    whole = load_patches(folder, split)
    return whole if split != empty else PatchSet(whole.images[:0], whole.index[:0])


def test_fp16_needs_a_gpu(out: TrainingFolders) -> None:
    with pytest.raises(
        ParameterError, match=r"`train\.training_precision: fp16` needs a GPU, and there is none"
    ):
        train.train_detector(train_params(training_precision="fp16"), out, track=False)


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    out: TrainingFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.train_detector(train_params(), out, track=False)
    unbroken = weights_of(out)
    save, saved = torch.save, []

    def killed(what: Any, where: Any, *given: Any, **named: Any) -> None:
        saved.append(where.name)
        if len(saved) == 2:
            where.write(b"half")
            raise KeyboardInterrupt
        save(what, where, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(last_checkpoint.torch, "save", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit), match=r"^\d*$"):
            train.train_detector(train_params(), out, track=False)
    folder = next(train.CHECKPOINTS.glob("*"))
    assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
    assert {Path(path).parent for path in saved} == {folder.resolve()}
    train.train_detector(train_params(), out, track=False)
    assert same(weights_of(out), unbroken)
