"""Networks: their window, stride and shapes, any band count, and options that are refused in a
sentence.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from windhover.errors import FormatError, MissingFileError, ParameterError
from windhover.models.model_summary import summarize_layers
from windhover.models.networks import architecture_options, build_network

UNPADDED = [
    ("valid64", {"width": "small", "depth": depth, "mix": mix})
    for depth, mix in ((2, 0), (3, 1), (4, 0))
] + [("baseline_cnn", {})]


@pytest.mark.parametrize(("name", "options"), UNPADDED)
def test_one_window_gives_one_cell_and_the_receptive_field_is_the_window(
    name: str, options: dict
) -> None:
    network = build_network(name, 4, 2, **options)
    outputs = network(torch.zeros(3, 4, 64, 64))
    assert [tuple(plane.shape) for plane in outputs] == [(3, 2, 1, 1), (3, 2, 1, 1), (3, 2, 1, 1)]
    last = [row for row in summarize_layers(network, 4) if not row.name.startswith("heads")][-1]
    assert (last.receptive_field_px, last.stride_px) == (64, network.stride_px)


@pytest.mark.parametrize(("name", "options"), UNPADDED)
def test_a_cell_sees_its_window_and_nothing_else(name: str, options: dict) -> None:
    network = build_network(name, 2, 1, **options).eval()
    stride = network.stride_px
    torch.manual_seed(0)
    picture = torch.randn(1, 2, 96, 120, requires_grad=True)
    logits = network(picture).logits
    assert logits.shape[-2:] == ((96 - 64) // stride + 1, (120 - 64) // stride + 1)
    logits[0, 0, 1, 3].backward()
    seen = picture.grad.abs().sum((0, 1)).nonzero()
    low, high = seen.min(0).values.tolist(), seen.max(0).values.tolist()
    assert low[0] >= stride
    assert low[1] >= 3 * stride
    assert high[0] < stride + 64
    assert high[1] < 3 * stride + 64


def test_widths_by_name_are_numbers() -> None:
    count = {
        width: sum(p.numel() for p in build_network("valid64", 3, 1, width=width).parameters())
        for width in ("small", 16, "base", "large")
    }
    assert count["small"] == count[16] < count["base"] < count["large"]


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "vgg11",
        "densenet121",
        "convnext_tiny",
        "mobilenet_v3_small",
        "squeezenet1_1",
        "vit_b_16",
    ],
)
def test_torchvision_backbones_take_any_bands_behind_the_same_interface(name: str) -> None:
    network = build_network(name, 5, 2, **({"input_px": 224} if name == "vit_b_16" else {})).eval()
    assert not network.dense
    with torch.inference_mode():
        outputs = network(torch.randn(2, 5, 64, 64))
    assert [tuple(plane.shape) for plane in outputs] == [(2, 2, 1, 1)] * 3


@pytest.mark.parametrize(
    "name", ["resnet10t", "timm/resnet18", "mobilenetv3_small_050", "tf_efficientnet_lite0"]
)
def test_timm_backbones_stand_behind_the_same_interface(name: str) -> None:
    network = build_network(name, 5, 2, dropout=0.1)
    assert network.training
    outputs = network(torch.randn(2, 5, 64, 64))
    assert [tuple(plane.shape) for plane in outputs] == [(2, 2, 1, 1)] * 3
    outputs.logits.sum().backward()
    first = next(parameter for parameter in network.backbone.parameters() if parameter.dim() == 4)
    assert first.shape[1] == 5
    assert first.grad is not None
    assert first.grad.abs().sum((0, 2, 3)).min() > 0, "every band is learnt from"


def test_a_network_of_one_size_sees_windows_resized() -> None:
    assert build_network("vit_tiny_patch16_224", 3, 1).input_px == 224
    assert build_network("vit_tiny_patch16_224", 3, 1).eval()(
        torch.zeros(1, 3, 64, 64)
    ).logits.shape == (1, 1, 1, 1)


def test_both_libraries_know_resnet18_and_the_prefix_chooses() -> None:
    assert type(build_network("resnet18", 3, 1).backbone).__module__.startswith("torchvision")
    assert type(build_network("timm/resnet18", 3, 1).backbone).__module__.startswith("timm")


def test_random_bands_begin_unlike_and_pretrained_ones_alike(tmp_path: Path) -> None:
    torch.manual_seed(2)
    fresh = build_network("resnet10t", 6, 1).backbone.conv1[0].weight
    assert (fresh[:, 0] - fresh[:, 1]).abs().mean() > 0.01
    path = tmp_path / "w.safetensors"
    donor = _save_timm(path, bands=3, classes=7)
    stem = build_network("resnet10t", 6, 1, weights=str(path)).backbone.conv1[0].weight
    assert torch.allclose(stem, donor["conv1.0.weight"].mean(1, keepdim=True).expand_as(stem) / 2)
    whole = torch.ones(1, 6, 8, 8)
    assert torch.allclose(
        torch.nn.functional.conv2d(whole, stem),
        torch.nn.functional.conv2d(whole[:, :3], donor["conv1.0.weight"]),
        atol=1e-5,
    )


def _save_timm(path: Path, bands: int, classes: int) -> dict[str, torch.Tensor]:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(1)
    donor = timm.create_model("resnet10t", in_chans=bands, num_classes=classes).state_dict()
    save_file(donor, path)
    return donor


def test_local_weights_of_other_bands_and_classes_fill_all_but_the_classifier(
    tmp_path: Path,
) -> None:
    path = tmp_path / "w.safetensors"
    donor = _save_timm(path, bands=4, classes=10)
    state = build_network("resnet10t", 4, 1, weights=str(path)).backbone.state_dict()
    assert set(donor) - set(state) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(state[name], donor[name]) for name in state)
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in donor.items()}},
        tmp_path / "w.pt",
    )
    wrapped = build_network("resnet10t", 4, 1, weights=str(tmp_path / "w.pt")).backbone.state_dict()
    assert all(torch.equal(wrapped[name], donor[name]) for name in wrapped)


class Planted:
    """What a malicious file would run when it is read."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("planted"),))


def test_files_that_are_no_weights_of_the_network_are_refused_and_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import models

    monkeypatch.chdir(tmp_path)
    donor = models.resnet18(weights=None).state_dict()
    torch.save(donor, "resnet18.pt")
    assert torch.equal(
        build_network("resnet18", 3, 1, weights="resnet18.pt").backbone.layer1[0].conv1.weight,
        donor["layer1.0.conv1.weight"],
    )
    with pytest.raises(MissingFileError, match=r"none\.pt: no such file of pretrained weights"):
        build_network("resnet18", 3, 1, weights="none.pt")
    torch.save({name: value for name, value in donor.items() if "layer4" not in name}, "less.pt")
    torch.save({**donor, "more": torch.zeros(1)}, "more.pt")
    torch.save({"conv1.weight": Planted()}, "code.pt")
    torch.save([1, 2], "list.pt")
    Path("text.pt").write_bytes(b"not weights")
    Path("text.safetensors").write_bytes(b"not weights")
    for name, reason in {
        "less.pt": "it lacks layer4",
        "more.pt": "it has more",
        "code.pt": "",
        "list.pt": "no tensors by name",
        "text.pt": "",
        "text.safetensors": "",
    }.items():
        with pytest.raises(FormatError, match=rf"{name}: not weights of this network \({reason}"):
            build_network("resnet18", 3, 1, weights=name)
    assert not Path("planted").exists()


@pytest.mark.parametrize("name", ["resnet18", "resnet10t"])
def test_without_a_network_a_download_ends_in_a_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import huggingface_hub.constants

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        MissingFileError,
        match=rf"the pretrained weights of {name} cannot be had .* leave `weights` out",
    ):
        build_network(name, 3, 1, weights="default")
    assert caplog.text == ""


def test_what_was_downloaded_once_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    donor = models.squeezenet1_1(weights=None).state_dict()
    kept = tmp_path / "hub" / "checkpoints" / Path(models.SqueezeNet1_1_Weights.DEFAULT.url).name
    kept.parent.mkdir(parents=True)
    torch.save(donor, kept)
    features = build_network("squeezenet1_1", 3, 1, weights="default").backbone.state_dict()
    assert all(torch.equal(features[name], donor[name]) for name in features)


def test_where_a_network_began_is_not_part_of_it() -> None:
    assert architecture_options({"weights": "w.pt", "dropout": 0.1}) == {"dropout": 0.1}


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("valid46", {}, r"no network is called 'valid46'\. Did you mean valid64\?"),
        ("timm/resnet10x", {}, r"Did you mean resnet10t\?"),
        ("valid64", {"widht": 16}, "has no option 'widht'"),
        ("valid64", {"width": "huge"}, "width must be one of small, base, large"),
        ("valid64", {"depth": 5}, "depth must be 2, 3 or 4"),
        ("valid64", {"init": "zeros"}, "init must be one of he, glorot"),
        (
            "valid64",
            {"width": 16.5},
            r"width must be one of small, base, large or a whole number of 4 or more, got 16\.5",
        ),
        ("valid64", {"width": True}, "width must be .*, got True"),
        ("valid64", {"depth": 2.0}, r"depth must be 2, 3 or 4 layers at stride 4, got 2\.0"),
        ("valid64", {"mix": 1.5}, "mix must be a whole number from 0 to 8"),
        ("valid64", {"mix": -1}, "mix must be a whole number from 0 to 8"),
        ("valid64", {"batch_norm": "no"}, "batch_norm must be true or false, got 'no'"),
        ("valid64", {"dropout": 1.5}, "dropout must be a fraction of 0 or more and below 1"),
        ("valid64", {"dropout": float("nan")}, "dropout must be a fraction"),
        ("baseline_cnn", {"dropout": "a"}, "dropout must be a fraction"),
        (
            "squeezenet1_1",
            {"input_px": 10},
            "input_px must be a whole number of 32 or more, or null, got 10",
        ),
        ("resnet18", {"weights": 3}, "weights must be `default`, the name of a file, or null"),
    ],
)
def test_wrong_choices_are_refused(name: str, options: dict, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        build_network(name, 3, 1, **options)
