"""A model comes back as it was saved, or says in a sentence what is wrong with its folder."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fake_models import make_card, random_weights, write_bundle
from windhover.errors import FormatError, MissingFileError, ParameterError
from windhover.models.apply_calibration import Calibration
from windhover.models.bundle import Bundle, load_bundle, load_compatible_bundle, save_bundle
from windhover.models.card import Card, NetworkCard
from windhover.models.networks import build_network
from windhover.models.operating_point import ClassOperatingPoint, OperatingPoint
from windhover.models.pixel_ranges import PixelRanges
from windhover.models.weights_file import as_arrays, content_key


def test_a_bundle_comes_back(tmp_path: Path) -> None:
    weights = random_weights(n_classes=2)
    ranges = PixelRanges(((0.0, 255.0), (1.5, 80.0), (-2.0, 9.0)), (4.0, 2.5))
    card = make_card(classes=("plane", "ship"), training={"epochs": 3}, ranges=ranges)
    per_class = {
        "plane": ClassOperatingPoint(threshold=0.25),
        "ship": ClassOperatingPoint(threshold=1.0),
    }
    point = OperatingPoint(per_class=per_class, search={"stride_px": 8})
    written = save_bundle(
        tmp_path / "m",
        card,
        weights,
        calibration=Calibration(2.0, -1.0, 1.5, 0.5),
        operating_point=point,
    )
    bundle = load_bundle(tmp_path / "m")
    assert bundle.card == written == card.model_copy(update={"name": content_key(weights)})
    assert bundle.calibration == Calibration(2.0, -1.0, 1.5, 0.5)
    assert bundle.operating_point == point
    assert bundle.thresholds() == {"plane": 0.25, "ship": 1.0}
    assert bundle.min_logits({"plane": 0.5, "ship": 1.0}) == [pytest.approx(-0.75), float("inf")]
    network = bundle.network()
    assert not network.training
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert bundle.normalizer().mean.ravel().tolist() == [100.0] * 3


def test_equal_models_are_equal_bytes_and_names_follow_the_weights(tmp_path: Path) -> None:
    one, two, other = (random_weights(seed=seed) for seed in (0, 0, 1))
    for name, weights in (("a", one), ("b", two), ("c", other)):
        save_bundle(tmp_path / name, make_card(), weights)
    for file in ("weights.safetensors", "model.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert content_key(one) == content_key(two) != content_key(other)
    assert len(content_key(one)) == 16


def test_a_model_before_evaluation_has_no_threshold(tmp_path: Path) -> None:
    save_bundle(tmp_path, make_card(), random_weights())
    assert load_bundle(tmp_path).calibration == Calibration()
    with pytest.raises(MissingFileError, match=r"operating_point\.json\. Run evaluate"):
        load_bundle(tmp_path).thresholds()


def test_a_second_stage_travels_inside_and_is_part_of_the_name(tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other", width=8, mean=(90.0,) * 3)
    names = []
    for folder, second in (("two", other), ("again", other), ("alone", None)):
        names.append(
            save_bundle(tmp_path / folder, make_card(), random_weights(), second_stage=second).name
        )
    assert names[0] == names[1] != names[2] == content_key(random_weights())
    looked = load_bundle(tmp_path / "two").second_stage
    assert looked is not None
    assert looked.card == other.card
    assert content_key(looked.network().state_dict()) == content_key(other.weights)
    for file in (
        "model.json",
        "weights.safetensors",
        "second_stage/model.json",
        "second_stage/weights.safetensors",
    ):
        assert (tmp_path / "two" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    assert load_bundle(tmp_path / "alone").second_stage is None
    save_bundle(tmp_path / "again", make_card(), random_weights())
    assert load_bundle(tmp_path / "again").second_stage is None, "no other model's is left behind"


def test_a_second_stage_that_is_another_or_lost_is_said(tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other", width=8)
    for folder in ("two", "lost", "swapped", "deeper"):
        save_bundle(tmp_path / folder, make_card(), random_weights(), second_stage=other)
    shutil.rmtree(tmp_path / "lost" / "second_stage")
    save_bundle(tmp_path / "swapped" / "second_stage", make_card(), random_weights(seed=1))
    for folder in ("lost", "swapped"):
        with pytest.raises(
            FormatError,
            match=r"second_stage\) does not belong to model\.json.*Copy the folder whole",
        ):
            load_bundle(tmp_path / folder)
    (tmp_path / "two" / "second_stage" / "weights.safetensors").write_bytes(b"not this")
    with pytest.raises(FormatError, match="not a file of weights"):
        load_bundle(tmp_path / "two")
    with pytest.raises(
        ParameterError, match=r"`evaluate\.second_stage`: .*deeper is two networks already"
    ):
        load_compatible_bundle(
            tmp_path / "deeper", make_card().model_dump(mode="json"), "evaluate.second_stage"
        )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bands", ("blue", "green", "red")),
        ("gsd_m", 0.5),
        ("window_px", 32),
        ("dtype", "uint16"),
        ("classes", ("ship",)),
    ],
)
def test_a_model_that_sees_other_windows_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    write_bundle(tmp_path, **{key: value})
    with pytest.raises(
        ParameterError, match=rf"`train\.teacher`: the model of .* has `{key}` .* is needed"
    ):
        load_compatible_bundle(tmp_path, make_card().model_dump(mode="json"), "train.teacher")


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "sentence"),
    [
        ("model.json", {"format": 2}, "format 2 is newer than this program reads"),
        ("model.json", {"format": "1.0"}, "`format`"),
        ("model.json", {"gsd_m": -1}, "`gsd_m`.*greater than 0"),
        ("model.json", {"mean": [1.0]}, "must agree in number"),
        ("model.json", {"classes": ["a", "b"]}, "2 classes for a network of 1"),
        ("model.json", {"bands": "red"}, "`bands`"),
        ("model.json", {"colour": "blue"}, "`colour`: Extra inputs"),
        (
            "model.json",
            {"ranges": {"bands": [[0, 255]], "maps": [1]}},
            "for each band, a lowest pixel and a higher one",
        ),
        (
            "model.json",
            {"ranges": {"bands": [[0, 0]] * 3, "maps": [1]}},
            "for each band, a lowest pixel and a higher one",
        ),
        (
            "model.json",
            {"ranges": {"bands": [[0, 255]] * 3, "maps": [0]}},
            "the maps of ranges must be numbers above 0",
        ),
        (
            "model.json",
            {"ranges": {"bands": [[0, 255]] * 3, "maps": [float("nan")]}},
            "ranges.maps.0`: Input should be a finite number",
        ),
        ("model.json", {"name": "0123456789abcdef"}, "does not belong to model.json"),
        ("calibration.json", {"window_temperature": 0}, "must be a finite number above 0"),
        ("calibration.json", {"spin": 0}, "must hold exactly"),
        ("operating_point.json", {"per_class": {}}, "must name the classes aircraft"),
        (
            "operating_point.json",
            {"per_class": {"aircraft": {"threshold": 7}}},
            "must be in 0..1, got 7",
        ),
        (
            "operating_point.json",
            {"per_class": {"aircraft": {"threshold": 0.5}}, "search": "fast"},
            "`search`: Input should be a.* got .fast.* Run evaluate again",
        ),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, file: str, changes: dict, sentence: str) -> None:
    write_bundle(tmp_path)
    rewrite(tmp_path / file, **changes)
    with pytest.raises(FormatError, match=sentence):
        load_bundle(tmp_path)


@pytest.mark.parametrize("options", [{"width": -1}, {"stem": [[1]]}, {"lenght": 3}, {"width": 99}])
def test_options_that_are_none_of_the_network_name_the_file(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    write_bundle(tmp_path)
    path = tmp_path / "model.json"
    network = json.loads(path.read_text())["network"]
    rewrite(path, network=network | {"options": network["options"] | options})
    bundle = load_bundle(tmp_path)
    with pytest.raises(FormatError, match=r"/model\.json: .*(option|width|stem|do not fit)"):
        bundle.network()


@pytest.mark.parametrize("file", ["weights.safetensors", "model.json"])
@pytest.mark.parametrize("content", [b"", b"not this", None])
def test_missing_and_broken_files_are_named(
    tmp_path: Path, file: str, content: bytes | None
) -> None:
    write_bundle(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(MissingFileError if content is None else FormatError, match=file):
        load_bundle(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such model folder"):
        load_bundle(tmp_path / "none")


def write_old_weights(folder: Path, content: object) -> None:
    """Write weights as versions before safetensors did, in place of today's."""
    (folder / "weights.safetensors").unlink()
    torch.save(content, folder / "weights.pt")


def test_weights_of_an_earlier_version_are_read_and_named_alike(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    write_old_weights(tmp_path, bundle.state_dict())
    again = load_bundle(tmp_path)
    assert again.card == bundle.card
    assert all(np.array_equal(again.weights[name], bundle.weights[name]) for name in bundle.weights)
    save_bundle(tmp_path, again.card, again.weights)
    assert not (tmp_path / "weights.pt").exists()
    assert load_bundle(tmp_path).card == bundle.card


def test_reading_a_model_folder_loads_no_torch(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    program = (
        "import sys; from windhover.models.bundle import load_bundle; "
        f"load_bundle({str(tmp_path)!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_pickled_code_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    write_old_weights(tmp_path, {"weights": Path("x")})
    with pytest.raises(FormatError, match=r"weights\.pt: not a file of weights"):
        load_bundle(tmp_path)
    (tmp_path / "weights.pt").rename(tmp_path / "weights.safetensors")
    with pytest.raises(FormatError, match=r"weights\.safetensors: not a file of weights"):
        load_bundle(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_bundle(tmp_path, make_card(width=8), random_weights(width=4))
    with pytest.raises(FormatError, match="do not fit network `valid64`"):
        load_bundle(tmp_path).network()


@pytest.mark.parametrize("change", [{"window_px": 32}, {"stride_px": 4}])
def test_a_card_with_another_window_or_stride_is_refused(
    tmp_path: Path, change: dict[str, int]
) -> None:
    save_bundle(tmp_path, make_card(width=4).model_copy(update=change), random_weights(width=4))
    with pytest.raises(
        FormatError,
        match=r"the card has windows of \d+ px at stride \d px, but network `valid64` has",
    ):
        load_bundle(tmp_path).network()


def test_a_card_is_checked_when_made() -> None:
    with pytest.raises(ValueError, match="every std must be above 0"):
        Card.model_validate(make_card().model_dump() | {"std": (1.0, 0.0, 1.0)})


def test_thresholds_are_probabilities() -> None:
    from windhover.models.bundle import check_thresholds

    with pytest.raises(ParameterError, match=r"must be in 0\.\.1"):
        check_thresholds({"plane": -0.1})


def test_an_old_folder_is_read_with_a_line_for_each_old_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    baseline = NetworkCard(name="baseline_cnn", n_bands=3, n_classes=1)
    network = build_network("baseline_cnn", 3, 1)
    card = make_card(network=baseline, stride_px=4)
    second = Bundle(make_card(), as_arrays(random_weights()))
    save_bundle(tmp_path, card, network.state_dict(), second_stage=second)
    expected = load_bundle(tmp_path)
    (tmp_path / "second_stage").rename(tmp_path / "second_look")
    rewrite(tmp_path / "model.json", network=baseline.model_dump() | {"name": "course"})
    search = {"stride_px": 4, "peak_looks": 8, "peak_looks_from": -2.0}
    point = {"per_class": {"aircraft": {"threshold": 0.5}}, "search": search}
    (tmp_path / "operating_point.json").write_text(json.dumps(point))
    (tmp_path / "calibration.json").write_text(json.dumps(Calibration().to_json()))
    with caplog.at_level(logging.WARNING):
        bundle = load_bundle(tmp_path)
    assert [line for line in caplog.messages if "earlier version" in line] == caplog.messages
    assert len(caplog.messages) == 3
    assert "`second_look` of an earlier version is read as `second_stage`" in caplog.text
    assert "network `course` of an earlier version is read as `baseline_cnn`" in caplog.text
    assert bundle.card == expected.card
    assert bundle.second_stage is not None
    assert bundle.second_stage.card == second.card.model_copy(
        update={"name": content_key(second.weights)}
    )
    assert bundle.operating_point is not None
    assert bundle.operating_point.search["peak_tta"] == "d4"
    assert torch.equal(
        bundle.network()(torch.ones(1, 3, 64, 64)).logits,
        expected.network()(torch.ones(1, 3, 64, 64)).logits,
    )
    save_bundle(tmp_path, bundle.card, bundle.weights)
    assert not (tmp_path / "second_look").exists(), "no other model's is left behind"


def test_thresholds_without_their_calibration_are_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    (tmp_path / "calibration.json").unlink()
    with pytest.raises(MissingFileError, match=r"calibration\.json: no such file, and the thresho"):
        load_bundle(tmp_path)
    (tmp_path / "operating_point.json").unlink()
    assert load_bundle(tmp_path).calibration == Calibration()  # never evaluated


def test_a_calibration_of_other_classes_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    rewrite(tmp_path / "calibration.json", window_bias=[0.5, 0.1, 0.2])
    with pytest.raises(FormatError, match=r"calibration\.json: `window_bias` has 3 numbers for 1"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "calibration.json", "operating_point.json"])
@pytest.mark.parametrize(
    "content",
    [b"[]", b"3", b"null", b'"text"', b"{}", b"\xff\xfe", b"", b"[" * 50_000, b'{"format": NaN}'],
)
def test_a_damaged_record_is_a_sentence_with_its_file(
    tmp_path: Path, name: str, content: bytes
) -> None:
    write_bundle(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=re.escape(name)):
        load_bundle(tmp_path)


@pytest.mark.parametrize("key", ["window_temperature", "window_bias", "detection_bias"])
@pytest.mark.parametrize("value", [None, "x", {}, [[1]], 10**400, float("inf"), [None]])
def test_a_damaged_number_of_the_calibration_is_a_sentence(
    tmp_path: Path, key: str, value: Any
) -> None:
    write_bundle(tmp_path)
    rewrite(tmp_path / "calibration.json", **{key: value})
    with pytest.raises(FormatError, match=r"calibration\.json: "):
        load_bundle(tmp_path)


def test_a_changed_byte_of_the_weights_is_a_sentence_or_no_change(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    good = (tmp_path / "weights.safetensors").read_bytes()
    rng = np.random.default_rng(7)
    n_refused = 0
    for position, value in zip(rng.integers(0, 900, 150), rng.integers(0, 256, 150), strict=True):
        damaged = bytearray(good)
        damaged[int(position)] = int(value)
        (tmp_path / "weights.safetensors").write_bytes(damaged)
        try:
            load_bundle(tmp_path)
        except FormatError:
            n_refused += 1
    assert n_refused > 20


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, 3).to_sparse(),
        torch.zeros(3, device="meta"),
        torch.zeros(1).expand(10**12),
        torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.quint8),
    ],
)
def test_tensors_that_hold_no_weights_are_a_sentence(tmp_path: Path, tensor: torch.Tensor) -> None:
    write_bundle(tmp_path)
    write_old_weights(tmp_path, {"a": tensor})
    with pytest.raises(FormatError, match=r"weights\.pt: must hold tensors by name"):
        load_bundle(tmp_path)
