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
from windhover.models.quantization import measure_ranges
from windhover.patches.patch_store import PatchSet, load_patches
from windhover.training import artifacts, datamodule, time_budget, train
from windhover.training.hard_negatives import Found
from windhover.training.module import (
    VALIDATION_PATCHES,
    Learner,
    Progress,
    ValidationBatches,
    standard_error,
    window_ap,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> datamodule.Folders:
    return learning_folders(tmp_path_factory.mktemp("learning"))


@pytest.fixture(scope="module")
def plain(
    folders: datamodule.Folders, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, torch.Tensor]:
    """Weights after one epoch with the parameters as they are."""
    where = replace(folders, out=str(tmp_path_factory.mktemp("plain") / "train"))
    train.train_detector(train_params(epochs=1), where, track=False)
    return weights_of(where)


@pytest.fixture
def out(
    folders: datamodule.Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> datamodule.Folders:
    monkeypatch.chdir(tmp_path)
    return replace(folders, out=str(tmp_path / "train"))


def weights_of(folders: datamodule.Folders) -> dict[str, torch.Tensor]:
    return dict(load_bundle(folders.out).weights)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_and_writes_weights_card_history_and_pictures(out: datamodule.Folders) -> None:
    trained = train.train_detector(train_params(epochs=8, learning_rate=0.015), out, track=False)
    assert trained.kept_ap > 0.9
    bundle = load_bundle(out.out)
    assert bundle.card.classes == ("cross",)
    assert (bundle.card.window_px, bundle.card.stride_px, bundle.card.true_prior) == (64, 8, 0.01)
    assert bundle.card.sampled_prior == pytest.approx(0.25, abs=0.05)
    patches = torch.from_numpy(np.load(Path(out.augmented) / "train.npy")).permute(0, 3, 1, 2)
    assert len(patches) <= artifacts.PICTURES_FOR_RANGES
    ranges = measure_ranges(bundle.network(), bundle.normalizer(), [patches])
    assert ranges is not None
    assert bundle.card.ranges is not None
    assert bundle.card.ranges.bands == ranges.bands
    assert bundle.card.ranges.maps == pytest.approx(ranges.maps, rel=1e-4)
    written = {path.name for path in Path(out.out).iterdir()}
    assert {
        "weights.pt",
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
    out: datamodule.Folders, plain: dict[str, torch.Tensor]
) -> None:
    train.train_detector(train_params(epochs=1), out, track=False)
    assert same(weights_of(out), plain)
    train.train_detector(train_params(epochs=1, seed=6), out, track=False)
    assert not same(weights_of(out), plain)


def test_a_killed_training_goes_on_from_the_last_epoch_to_the_same_weights(
    out: datamodule.Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = train_params(epochs=3, options={"width": 4, "stem": "strided", "dropout": 0.2})
    train.train_detector(params, out, track=False)
    unbroken = weights_of(out)
    step = Learner.training_step

    def killed(self: Learner, batch: Any, index: int) -> torch.Tensor:
        if self.current_epoch == 2 and index == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(Learner, "training_step", killed)
    with pytest.raises((KeyboardInterrupt, SystemExit), match=r"^\d*$"):
        train.train_detector(params, out, track=False)
    assert len(list(train.CHECKPOINTS.glob("*/last.ckpt"))) == 1
    monkeypatch.setattr(Learner, "training_step", step)
    told: list[float] = []
    trained = train.train_detector(
        params, out, track=False, is_enough=lambda row: bool(told.append(row["epoch"]))
    )
    assert [row["epoch"] for row in trained.history] == [0, 1, 2]
    assert told == [0, 1, 2], "who ends trainings early is told of the epochs before the kill too"
    assert same(weights_of(out), unbroken)


def test_checkpoints_of_other_parameters_or_data_are_not_gone_on_from(
    out: datamodule.Folders, tmp_path: Path
) -> None:
    key = train.fingerprint(train_params(), out)
    assert key == train.fingerprint(train_params(), out)
    assert key != train.fingerprint(train_params(learning_rate=0.004), out)
    other = patch_folder(tmp_path / "other", seed=1)
    assert key != train.fingerprint(train_params(), replace(out, patches=str(other)))


def found(count: int, index: pd.DataFrame) -> Found:
    table = index[index["kind"] == "random"].head(count).assign(origin="mined-1", kind="lookalike")
    return Found(np.full((count, 64, 64, 3), 77, np.uint8), table.reset_index(drop=True))


class Scenes(list[Any]):
    """Training scenes, of which only sizes are asked."""

    gsd_m = 1.0


@pytest.fixture
def rounds(out: datamodule.Folders, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list that grows by one with each round of mining, of which each finds seven
    patches.
    """
    index = load_patches(out.patches, "train").index
    calls: list[Any] = []
    scenes = Scenes(
        [SimpleNamespace(labeled=True, width_px=90, height_px=70, gsd_x_m=1.0, gsd_y_m=1.0)]
    )
    monkeypatch.setattr(
        "windhover.training.datamodule.load_catalog",
        lambda _: SimpleNamespace(split=lambda _: scenes),
    )
    monkeypatch.setattr(
        "windhover.training.hard_negative_mining.mine",
        lambda *given: calls.append(given) or found(7, index),
    )
    return calls


def test_a_mining_round_adds_patches_once_and_writes_them(
    out: datamodule.Folders, rounds: list[Any]
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
    ("shares", "epoch"), [([0.05, 0.5], 4), ([0.4, 0.42], 2)], ids=["apart", "between two"]
)
def test_a_round_held_before_a_kill_is_taken_up_and_not_held_again(
    out: datamodule.Folders,
    monkeypatch: pytest.MonkeyPatch,
    rounds: list[Any],
    shares: list[float],
    epoch: int,
) -> None:
    params = train_params(epochs=5, hard_negative_mining={"after": shares})
    train.train_detector(params, out, track=False)
    unbroken, step = weights_of(out), Learner.training_step
    assert len(rounds) == 2, "a round due before the first epoch is held after it"

    def killed(self: Learner, batch: Any, index: int) -> torch.Tensor:
        if self.current_epoch == epoch:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "training_step", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit), match=r"^\d*$"):
            train.train_detector(params, out, track=False)
    trained = train.train_detector(params, out, track=False)
    assert len(rounds) == 4, "both rounds of the killed training were kept"
    assert trained.card.training["mined"] == 28
    assert same(weights_of(out), unbroken)
    assert pd.read_parquet(Path(out.out) / "mined.parquet")["origin"].tolist() == ["mined-1"] * 14


def test_it_plans_fewer_epochs_where_they_would_not_fit(
    out: datamodule.Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_budget, "_rehearsed", lambda *_: 1.0)
    monkeypatch.setattr(time_budget.Clock, "replan", lambda self: None)
    trained = train.train_detector(train_params(epochs=50, max_minutes=0.3), out, track=False)
    assert 1 <= len(trained.history) < 10
    assert trained.history[-1]["learning_rate"] < 0.003 * 0.5, (
        "the schedule ends with the last epoch"
    )


class Rows:
    """A learner as the clock knows it."""

    def __init__(
        self, wanted: int, planned: int, seconds: list[float], mining: list[float], rounds: int
    ) -> None:
        self.params = SimpleNamespace(epochs=wanted)
        self.progress = Progress(planned, seconds=sum(seconds) + sum(mining), rounds_done=rounds)
        for took, mined in zip(seconds, [*mining, *[0.0] * len(seconds)], strict=False):
            self.progress.history.append({"seconds": took, "mining_seconds": mined})


@pytest.mark.parametrize(
    ("wanted", "planned", "seconds", "mining", "held", "rounds", "then"),
    [
        (50, 10, [6.0, 6.0], [], 0, 0, 10),  # 48 s are left of a minute: 8 more
        (50, 10, [3.0, 3.0], [], 0, 0, 20),  # faster than planned
        (12, 10, [3.0, 3.0], [], 0, 0, 12),  # never more than wanted
        (50, 10, [12.0, 12.0], [], 0, 0, 5),  # slower
        (50, 10, [90.0], [], 0, 0, 1),  # no time left
        (50, 10, [1.0, 6.0, 6.0, 6.0], [], 0, 0, 10),  # the last three tell
        (
            50,
            10,
            [6.0, 6.0],
            [12.0],
            1,
            2,
            6,
        ),  # a round is still to come, and will take as long as the first
        (50, 2, [6.0, 6.0], [], 0, 0, 2),  # the schedule has ended
        (50, 10, [], [], 0, 0, 10),  # nothing is known yet
    ],
)
def test_epochs_are_planned_by_what_they_took(
    wanted: int,
    planned: int,
    seconds: list[float],
    mining: list[float],
    held: int,
    rounds: int,
    then: int,
) -> None:
    learner = Rows(wanted, planned, seconds, mining, held)
    time_budget.Clock(learner, 1.0, rounds, "fp32").replan()
    assert learner.progress.planned_epochs == then
    time_budget.Clock(learner, None, rounds, "fp32").replan()
    assert learner.progress.planned_epochs == then, "without a limit a plan stands"


@pytest.mark.parametrize(
    "aps",
    [[0.9, *np.linspace(0.5, 0.1, 20)], [1.0] * 20],
    ids=["ever worse", "perfect from the first epoch on"],
)
def test_patience_ends_a_training_that_no_longer_improves(
    out: datamodule.Folders, monkeypatch: pytest.MonkeyPatch, aps: list[float]
) -> None:
    told = iter(aps)
    monkeypatch.setattr("windhover.training.module.window_ap", lambda *_: next(told))
    trained = train.train_detector(train_params(epochs=9, patience=2), out, track=False)
    assert len(trained.history) == 3
    assert trained.kept_epoch == (2 if aps[1] == 1.0 else 0)


def test_without_an_object_in_validation_nothing_says_that_training_no_longer_improves(
    out: datamodule.Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bare(folder: str, split: str) -> Any:
        whole = load_patches(folder, split)
        return (
            PatchSet(whole.images, whole.index.assign(**{"class": ""})) if split == "val" else whole
        )

    monkeypatch.setattr(datamodule, "load_patches", bare)
    trained = train.train_detector(train_params(epochs=4, patience=1), out, track=False)
    assert (len(trained.history), trained.kept_epoch) == (4, 3)


def test_windows_of_one_object_tell_no_more_than_one() -> None:
    index = pd.DataFrame(
        {
            "scene": ["a", "a", "a", "b", "b", "b"], "class": ["x", "x", "x", "x", "x", ""], "gsd_m": 1.25,
            "left_px": [10, 14, 90, 10, 0, 0], "top_px": [10, 10, 10, 10, 0, 0],
            "dx_px": [4.0, 0.1, 4.0, 4.0, np.nan, np.nan], "dy_px": [0.0, 0.0, 0.0, 0.0, np.nan, np.nan],
        }
    )  # fmt: skip
    assert datamodule.count_objects(index) == 4, (
        "two in a, one in b, and one whose place nobody knows"
    )


@pytest.mark.parametrize(
    ("last", "kept"), [(0.95, 3), (0.3, 2)], ids=["as good as the best", "clearly worse"]
)
def test_the_latest_weights_are_kept_that_are_not_clearly_worse_than_the_best(
    out: datamodule.Folders, monkeypatch: pytest.MonkeyPatch, last: float, kept: int
) -> None:
    aps, shown = iter([0.5, 0.96, 0.94, last]), []
    finish = Learner.on_validation_epoch_end

    def watched(self: Learner) -> None:
        shown.append(
            {name: value.clone() for name, value in self.kept_network.state_dict().items()}
        )
        finish(self)

    monkeypatch.setattr(Learner, "on_validation_epoch_end", watched)
    monkeypatch.setattr("windhover.training.module.window_ap", lambda *_: next(aps))
    trained = train.train_detector(train_params(epochs=4), out, track=False)
    assert (trained.kept_epoch, trained.kept_ap) == (kept, [0.5, 0.96, 0.94, last][kept])
    assert same(weights_of(out), shown[kept])
    assert not same(weights_of(out), shown[kept - 1])


@pytest.mark.parametrize(
    ("ap", "positives", "error"), [(0.9, 1000, 0.0095), (1.0, 1000, 0.001), (1.0, 10, 0.0874)]
)
def test_the_standard_error_of_an_average_precision(
    ap: float, positives: int, error: float
) -> None:
    assert standard_error(ap, positives) == pytest.approx(error, rel=0.01)


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
    out: datamodule.Folders, plain: dict[str, torch.Tensor], changes: dict[str, Any]
) -> None:
    train.train_detector(train_params(epochs=1, **changes), out, track=False)
    assert not same(weights_of(out), plain)


def test_frozen_layers_stay_as_they_were_and_heads_learn(
    out: datamodule.Folders, tmp_path: Path
) -> None:
    train.train_detector(train_params(epochs=1), out, track=False)
    start = weights_of(out)
    then = replace(out, out=str(tmp_path / "then"))
    train.train_detector(
        train_params(epochs=1, start_from=out.out, freeze=1.0, ema_decay=0.0), then, track=False
    )
    ended = weights_of(then)
    changed = {name.split(".")[0] for name in start if not torch.equal(ended[name], start[name])}
    assert changed == {"heads"}, "neither weights nor the statistics of batch norms"
    train.train_detector(
        train_params(epochs=2, start_from=out.out, freeze=0.5, ema_decay=0.0), then, track=False
    )
    assert not torch.equal(weights_of(then)["trunk.0.weight"], start["trunk.0.weight"]), (
        "let go after half the time"
    )
    with pytest.raises(ParameterError, match=r"network of .* is another one"):
        train.train_detector(
            train_params(start_from=out.out, options={"width": 8}), then, track=False
        )


def test_padded_backbones_train_too_and_refuse_crops(out: datamodule.Folders) -> None:
    params = train_params(epochs=1, network="squeezenet1_1", options={}, batch_size=40)
    train.train_detector(params, out, track=False)
    assert load_bundle(out.out).card.network.name == "squeezenet1_1"
    with pytest.raises(ParameterError, match="squeezenet1_1 is padded"):
        datamodule.assert_dense(params)


def test_a_network_that_began_from_a_file_needs_it_no_more(
    out: datamodule.Folders, tmp_path: Path
) -> None:
    import timm

    torch.manual_seed(4)
    donor = timm.create_model("mobilenetv3_small_050", num_classes=3).state_dict()
    torch.save(donor, tmp_path / "weights.pt")
    options = {"weights": str(tmp_path / "weights.pt")}
    params = train_params(
        epochs=1, network="mobilenetv3_small_050", options=options, freeze=1.0, ema_decay=0.0
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


def test_missing_stages_and_empty_data_are_said(out: datamodule.Folders, tmp_path: Path) -> None:
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


def test_few_objects_among_many_validation_patches_are_all_kept_and_weigh_as_they_did() -> None:
    labels = np.where(np.arange(40_000) % 400 == 0, 0, -1)
    chosen = ValidationBatches(labels)
    rows = np.concatenate([part.numpy() for part in chosen])
    assert chosen.count == len(rows) == len(set(rows.tolist())) == VALIDATION_PATCHES
    assert (labels[rows] == 0).sum() == 100
    logits = (np.random.default_rng(0).normal(0, 1, 40_000) + 3 * (labels == 0))[:, None].astype(
        np.float32
    )
    every = window_ap(logits, labels.astype(np.float32))
    thinned = window_ap(logits[rows], labels[rows].astype(np.float32), chosen.background_weight)
    assert thinned == pytest.approx(every, abs=0.1)
    assert (
        window_ap(logits[rows], labels[rows].astype(np.float32)) > every + 0.2
    )  # unweighted, it flatters


def test_weights_that_are_no_numbers_are_never_kept(
    out: datamodule.Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        datamodule, "load_patches", lambda folder, split: without_rows(folder, split, "val")
    )
    step = Learner.training_step
    monkeypatch.setattr(Learner, "training_step", lambda *given: step(*given) * torch.nan)
    with pytest.raises(DataError, match=r"training diverged.*Lower train\.learning_rate"):
        train.train_detector(train_params(gradient_clip_norm=0.0), out, track=False)
    assert not Path(out.out).exists()


def without_rows(folder: str, split: str, empty: str) -> Any:
    whole = load_patches(folder, split)
    return whole if split != empty else PatchSet(whole.images[:0], whole.index[:0])


def test_half_precision_of_sixteen_bits_needs_a_gpu(out: datamodule.Folders) -> None:
    with pytest.raises(
        ParameterError, match=r"`train\.training_precision: fp16` needs a GPU, and there is none"
    ):
        train.train_detector(train_params(training_precision="fp16"), out, track=False)


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    out: datamodule.Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.train_detector(train_params(), out, track=False)
    unbroken = weights_of(out)
    save, saved = torch.save, []

    def killed(what: Any, where: Any, *given: Any, **named: Any) -> None:
        saved.append(str(where))
        if len(saved) == 2:
            Path(where).write_bytes(b"half")
            raise KeyboardInterrupt
        save(what, where, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(train.torch, "save", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit), match=r"^\d*$"):
            train.train_detector(train_params(), out, track=False)
    folder = next(train.CHECKPOINTS.glob("*"))
    assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
    assert {Path(path).parent for path in saved} == {folder.resolve()}
    train.train_detector(train_params(), out, track=False)
    assert same(weights_of(out), unbroken)


def test_a_diverged_training_is_said() -> None:
    with pytest.raises(DataError, match="training diverged"):
        window_ap(np.array([[np.nan], [1.0]], np.float32), np.array([0, -1], np.float32))
