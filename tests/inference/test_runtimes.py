"""Other runtimes give the scores of torch, window by window, and never run a changed graph."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fake_models import add_graphs, make_card, random_weights, write_bundle
from windhover.errors import FormatError, MissingFileError, ParameterError
from windhover.inference import runtimes
from windhover.inference.runtimes import make_scorers
from windhover.inference.scorer import RawScores, Scorer
from windhover.inference.torch_scorer import TorchScorer
from windhover.models.bundle import Bundle, load_bundle, save_bundle
from windhover.models.graph_files import write_graphs
from windhover.models.pixel_ranges import PixelRanges
from windhover.models.score_graph import make_graphs
from windhover.models.weights_file import content_key

RUNTIMES = ("onnx", "openvino")
PX_RANGE = {"uint8": 256, "uint16": 4000, "int16": 900, "float32": 1}


def picture(height: int, width: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).random((3, height, width)) * PX_RANGE[dtype]
    return values.astype(dtype)


def write_model(folder: Path, n_classes: int = 1, int8: bool = False, **changes: Any) -> Bundle:
    """Write a model with graphs."""
    classes = tuple(f"class{number}" for number in range(n_classes))
    bundle = write_bundle(folder, classes=classes, **changes)
    pictures = []
    if int8:
        dtype = bundle.card.dtype
        pictures = [np.stack([picture(128, 96, dtype, 9), picture(128, 96, dtype, 8)])]
    graphs = make_graphs(bundle.network(), bundle.card, pictures)
    write_graphs(folder, content_key(bundle.weights), graphs)
    return load_bundle(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model of two classes with graphs in fp32 and int8."""
    return write_model(tmp_path_factory.mktemp("model"), n_classes=2, int8=True)


def torch_scorer(bundle: Bundle, stride_px: int = 8) -> TorchScorer:
    return TorchScorer(bundle.network(), bundle.normalizer(), stride_px=stride_px)


def graph_scorer(bundle: Bundle, runtime: str, precision: str = "fp32", **options: Any) -> Scorer:
    return make_scorers(bundle, runtime=runtime, inference_precision=precision, **options)[0]


def largest_difference(one: RawScores, two: RawScores) -> float:
    assert [plane.shape for plane in one] == [plane.shape for plane in two]
    return max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("stride_px", [8, 4])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_graph_gives_the_scores_of_torch(model: Bundle, runtime: str, stride_px: int) -> None:
    block = picture(143, 210)
    scores = graph_scorer(model, runtime, stride_px=stride_px).score(block)
    expected = torch_scorer(model, stride_px).score(block)
    assert largest_difference(scores, expected) < 1e-3


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_pixels_of_any_number_type_are_taken(tmp_path: Path, runtime: str, dtype: str) -> None:
    scale = PX_RANGE[dtype]
    bundle = write_model(
        tmp_path, dtype=dtype, mean=(0.5 * scale,) * 3, std=(0.3 * scale,) * 3, int8=True
    )
    block = picture(90, 131, dtype)
    expected = torch_scorer(bundle).score(block)
    scores = graph_scorer(bundle, runtime).score(block)
    assert largest_difference(scores, expected) < 1e-3
    if runtimes.sums_bytes_exactly():
        in_bytes = graph_scorer(bundle, runtime, "int8").score(block)
        spread = float(expected.logits.std())
        assert np.abs(in_bytes.logits - expected.logits).mean() < 0.25 * spread


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_dense_equals_cropping_and_bands_change_nothing(
    model: Bundle, runtime: str, precision: str
) -> None:
    if precision == "int8" and not runtimes.sums_bytes_exactly():
        pytest.skip("the processor is not known to sum products of bytes exactly")
    scorer = graph_scorer(model, runtime, precision)
    block = picture(135, 250, seed=3)
    scores = scorer.score(block)
    in_bands = graph_scorer(model, runtime, precision, batch_px=64 * 250).score(block)
    assert largest_difference(in_bands, scores) < 1e-5
    corners = [(0, 0), (3, 7), (8, 23)]
    crops = [block[:, 8 * row : 8 * row + 64, 8 * col : 8 * col + 64] for row, col in corners]
    windows = scorer.score_windows(np.stack(crops))
    for number, (row, col) in enumerate(corners):
        assert windows.logits[number] == pytest.approx(scores.logits[:, row, col], abs=1e-5)
        assert windows.offsets_px[number] == pytest.approx(scores.offsets_px[:, row, col], abs=1e-5)


def test_a_second_stage_has_graphs_of_its_own(model: Bundle, tmp_path: Path) -> None:
    save_bundle(
        tmp_path,
        model.card,
        model.weights,
        calibration=model.calibration,
        operating_point=model.operating_point,
        graphs=model.graphs,
        second_stage=model,
    )
    second = make_scorers(load_bundle(tmp_path), runtime="onnx", inference_precision="fp32")[1]
    assert second is not None
    crops = np.stack([picture(64, 64, seed=5)])
    expected = torch_scorer(model).score_windows(crops).logits
    assert second.score_windows(crops).logits == pytest.approx(expected, abs=1e-3)


def test_auto_takes_openvino_on_a_cpu_and_torch_where_there_is_no_graph(
    model: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_scorers(model, device="cpu")[0].runtime == "openvino"
    assert make_scorers(model, device="cpu", inference_precision="bf16")[0].runtime == "torch"
    assert make_scorers(write_bundle(tmp_path), device="cpu")[0].runtime == "torch"
    monkeypatch.setattr(runtimes, "sums_bytes_exactly", lambda: False)
    assert make_scorers(model, device="cpu")[0].inference_precision == "fp32"
    monkeypatch.setattr(runtimes, "sums_bytes_exactly", lambda: True)
    assert make_scorers(model, device="cpu")[0].inference_precision == "int8"
    wide = make_scorers(model, device="cpu", allow_int8=False)[0]
    assert wide.inference_precision == "fp32"


def test_a_model_of_an_earlier_versions_int8_is_searched_in_floats_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ranges = PixelRanges(((0.0, 255.0),) * 3, maps=(4.0, 2.5))
    bundle = write_bundle(tmp_path, ranges=ranges)
    with caplog.at_level("INFO", logger="windhover"):
        scorer = make_scorers(bundle, device="cpu")[0]
    assert (scorer.runtime, scorer.inference_precision) == ("torch", "fp32")
    (line,) = [text for text in caplog.messages if "of an earlier version" in text]
    assert "is searched in floats; train it again" in line
    with pytest.raises(ParameterError, match=r"int8 is computed by runtime openvino or onnx"):
        make_scorers(bundle, device="cpu", inference_precision="int8")


def test_what_a_runtime_cannot_do_is_a_sentence(model: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"runtime must be auto, torch.*got 'tensorrt'"):
        make_scorers(model, runtime="tensorrt")
    with pytest.raises(ParameterError, match=r"computes on the CPU.*Take runtime torch"):
        make_scorers(model, runtime="onnx", device="cuda")
    with pytest.raises(ParameterError, match=r"graphs compute in fp32 or int8, and bf16"):
        make_scorers(model, runtime="onnx", inference_precision="bf16")
    with pytest.raises(ParameterError, match="no graph of stride 5 px"):
        make_scorers(model, runtime="onnx", stride_px=5)
    with pytest.raises(MissingFileError, match="has no graphs for runtime onnx"):
        make_scorers(write_bundle(tmp_path), runtime="onnx")


def test_a_changed_graph_is_never_run(tmp_path: Path) -> None:
    bundle = write_model(tmp_path)
    path = tmp_path / "graphs" / "scores_stride8_fp32.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"scores_stride8_fp32\.onnx: missing, or not the graph"):
        make_scorers(bundle, runtime="openvino", inference_precision="fp32")
    index = tmp_path / "graphs" / "index.json"
    values = json.loads(index.read_text())
    index.write_text(json.dumps(values | {"weights": "0" * 16}))
    with pytest.raises(FormatError, match="graphs are of other weights"):
        load_bundle(tmp_path)
    index.write_text("[]")
    with pytest.raises(FormatError, match="must hold `weights` and `files`"):
        load_bundle(tmp_path)


def test_a_model_saved_without_graphs_keeps_none_of_an_older_one(tmp_path: Path) -> None:
    bundle = write_model(tmp_path)
    assert bundle.graphs is not None
    save_bundle(tmp_path, make_card(classes=("class0",)), random_weights(seed=4))
    assert load_bundle(tmp_path).graphs is None


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_scoring_by_a_graph_loads_no_torch(tmp_path: Path, runtime: str) -> None:
    write_model(tmp_path)
    program = (
        "import sys; missing = ('fcntl', 'pwd', 'grp', 'termios', 'resource'); "
        "sys.modules.update(dict.fromkeys(missing)); "  # as on Windows
        "import numpy as np; from windhover import load_model; "
        f"detector = load_model({str(tmp_path)!r}, runtime={runtime!r}); "
        "detector.scorer.score(np.zeros((3, 64, 72), np.uint8)); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'lightning', 'mlflow', 'dvc')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


AS_ON_WINDOWS = """
import os, signal, sys
missing = (
    "fcntl", "pwd", "grp", "termios", "resource", "tty", "pty", "posix", "crypt", "spwd", "syslog",
    "readline", "_posixshmem",
)
for name in missing:
    if name != "posix":  # `os` is made of it here
        sys.modules[name] = None
for module, names in (
    (os, ("fork", "forkpty", "getuid", "geteuid", "getgid", "getpgid", "setsid", "killpg", "chown",
          "lchown", "fchmod", "mkfifo", "sched_getaffinity", "posix_fadvise", "wait",
          "pread", "preadv", "getloadavg", "O_DIRECTORY", "O_NONBLOCK")),
    (signal, ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE", "alarm",
              "setitimer", "pause", "pthread_sigmask")),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
from windhover.cli.app import main
sys.argv = ["windhover", *sys.argv[1:]]
code = 0
try:
    main()
except SystemExit as end:
    code = end.code or 0
loaded = [name for name in ("torch", "lightning", "mlflow", "dvc", "nncf") if name in sys.modules]
sys.exit(f"loaded {loaded}" if loaded else code)
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("output", ["f.gpkg", "f.parquet"])
def test_detect_needs_no_torch_and_nothing_that_windows_lacks(
    make_scene: Any, tmp_path: Path, runtime: str, output: str
) -> None:
    """The whole command, score map and lock of the output included."""
    write_bundle(tmp_path / "model", threshold=0.5)
    add_graphs(tmp_path / "model", int8=False)
    command = ["detect", make_scene(), "--model", tmp_path / "model", "--runtime", runtime]
    command += ["-o", tmp_path / output, "--scores", tmp_path / "scores.tif"]
    done = subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / output).is_file()
    assert (tmp_path / "scores.tif").is_file()


def test_a_padded_network_has_no_graphs() -> None:
    padded = torch.nn.Identity()
    padded.dense = False  # type: ignore[assignment]
    assert make_graphs(padded, make_card()) == {}
