"""Exported files hold what other programs read, and find what `detect` finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
from rasterio.transform import from_origin
from typer.testing import CliRunner

from fake_models import add_graphs, write_bundle
from windhover.cli.app import app
from windhover.errors import FormatError, ParameterError, WindhoverError
from windhover.geometry.objects import Objects
from windhover.inference.runtimes import make_scorers
from windhover.model_export.export_model import read_metadata
from windhover.model_export.parity import Parity, compare_objects, pair_objects
from windhover.model_export.plugin_metadata import TILE_OVERLAP_PERCENT, TILE_PX
from windhover.models.apply_calibration import window_scores
from windhover.models.bundle import load_bundle, save_bundle
from windhover.models.card import NetworkCard
from windhover.models.networks import build_network


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    """A scene of 600x760 px at the GSD of the model, larger than a tile."""
    rng = np.random.default_rng(3)
    pixels = np.zeros((3, 600, 760), np.uint8)
    for row in range(40, 560, 104):  # rough patches, further apart than a window
        for col in range(36, 720, 97):
            pixels[:, row : row + 24, col : col + 30] = rng.integers(0, 256, (3, 24, 30))
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "count": 3, "height": 600, "width": 760, "dtype": "uint8"}
    grid = {"crs": "EPSG:32631", "transform": from_origin(500000, 5e6, 1.25, 1.25)}
    with rasterio.open(path, "w", **profile, **grid) as scene:
        scene.write(pixels)
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_tiles_lie_on_the_lattice_of_detect() -> None:
    overlap_px = TILE_PX * TILE_OVERLAP_PERCENT // 100
    assert overlap_px == 64 - 8, "neighbours share a window less a stride"
    assert (TILE_PX - overlap_px) % 8 == 0


def test_the_exported_detector_is_measured_against_detect(raster: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "model", threshold=0.75)
    folder = tmp_path / "exported"
    code, output = run(
        "export-model", tmp_path / "model", "-o", folder, "--check", raster, "--json"
    )
    assert code == 0
    parity = json.loads(output[output.index("{") :])["parity"]
    assert parity["both"] > 20
    n_single = parity["only_exported"] + parity["only_detect"]
    assert parity["differing_inside"] <= 0.05 * parity["both"]
    assert n_single <= 0.3 * parity["both"]
    assert parity["largest_score_difference"] < 0.05
    metadata = read_metadata(folder / "detector.onnx")
    assert metadata["windhover_parity"] == parity
    assert metadata["windhover_model"] == bundle.card.name
    assert json.loads((folder / "parity.json").read_text()) == parity


def test_the_metadata_is_what_programs_read(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model", classes=("plane", "ship"), threshold=0.4)
    code, output = run("export-model", tmp_path / "model", "-o", tmp_path / "exported")
    assert code == 0
    assert "Not compared with `detect`" in output
    model = onnx.load(tmp_path / "exported" / "detector.onnx")
    assert model.ir_version <= 9
    assert max(opset.version for opset in model.opset_import) <= 17
    texts = {item.key: item.value for item in model.metadata_props}
    assert texts["model_type"] == '"Detector"'
    assert texts["det_type"] == '"YOLO_v9"'
    assert json.loads(texts["class_names"]) == {"0": "plane", "1": "ship"}
    assert json.loads(texts["resolution"]) == 125.0, "centimetres"
    assert json.loads(texts["tile_size"]) == json.loads(texts["tiles_size"]) == 560
    assert json.loads(texts["tiles_overlap"]) == 10
    assert json.loads(texts["det_conf"]) == 0.4
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == [1, 3, 560, 560]
    sidecar = json.loads((tmp_path / "exported" / "detector.onnx.json").read_text())
    assert sidecar == {key: json.loads(value) for key, value in texts.items()}


def test_the_score_map_takes_any_size(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model")
    bundle = load_bundle(tmp_path / "model")
    run("export-model", tmp_path / "model", "-o", tmp_path / "exported")
    session = onnxruntime.InferenceSession(tmp_path / "exported" / "score_map.onnx")
    scorer = make_scorers(bundle, runtime="torch", inference_precision="fp32")[0]
    for height, width in ((64, 64), (93, 170)):
        block = np.random.default_rng(1).integers(0, 256, (3, height, width), dtype=np.uint8)
        scores = session.run(None, {"pixels": block[None].astype(np.float32)})[0][0]
        expected = window_scores(scorer.score(block).logits, bundle.calibration, class_axis=0)
        assert scores == pytest.approx(expected, abs=1e-4)


def test_another_folder_is_never_replaced(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ParameterError, match=r"holds notes\.txt, which is no exported model's"):
        run("export-model", tmp_path / "model", "-o", tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def _changed(path: Path) -> None:
    """Change a byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _padded(folder: Path) -> None:
    """Make a model that of a padded network."""
    bundle = load_bundle(folder)
    network = NetworkCard(name="shufflenet_v2_x0_5", n_bands=3, n_classes=1)
    card = bundle.card.model_copy(update={"network": network})
    weights = build_network("shufflenet_v2_x0_5", 3, 1).state_dict()
    save_bundle(folder, card, weights)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_padded, "network `shufflenet_v2_x0_5` is padded"),
        (lambda folder: _changed(folder / "weights.safetensors"), r"weights\.safetensors"),
        (lambda folder: (folder / "calibration.json").unlink(), r"calibration\.json: no such file"),
        (lambda folder: (folder / "operating_point.json").unlink(), "has no operating_point.json"),
    ],
)
def test_a_model_that_cannot_be_exported_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, change: Callable[[Path], None], match: str
) -> None:
    write_bundle(tmp_path / "model", threshold=0.5)
    change(tmp_path / "model")
    with pytest.raises(WindhoverError, match=match):
        run("export-model", tmp_path / "model", "-o", tmp_path / "exported")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


@pytest.mark.parametrize("name", ["graphs/scores_stride8_fp32.onnx", "graphs/index.json"])
def test_a_search_by_a_changed_graph_is_one_sentence_and_nothing_is_written(
    raster: Path, tmp_path: Path, name: str
) -> None:
    write_bundle(tmp_path / "model", threshold=0.5)
    add_graphs(tmp_path / "model", int8=False)
    _changed(tmp_path / "model" / name)
    with pytest.raises(FormatError, match=Path(name).name.replace(".", r"\.")):
        run("detect", raster, "--model", tmp_path / "model", "-o", tmp_path / "found.gpkg",
            "--runtime", "openvino")  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"model", raster.name}


def test_objects_are_paired_once_and_the_nearest() -> None:
    def table(*centers: tuple[float, float]) -> Objects:
        boxes = [(x - 5, y - 3, x + 5, y + 3) for x, y in centers]
        return Objects.from_xyxy(np.array(boxes), np.zeros(len(centers), np.int64))

    rows, cols = pair_objects(table((0, 0), (4, 0), (90, 9)), table((4, 1), (50, 50)))
    assert rows.tolist() == [1]
    assert cols.tolist() == [0]
    assert len(pair_objects(table(), table((1, 1)))[0]) == 0


def test_objects_at_the_border_count_but_their_scores_do_not() -> None:
    def table(*rows: tuple[float, float, float]) -> Objects:
        values = np.array(rows)
        count = len(values)
        return Objects(
            values[:, :2],
            np.full((count, 2), (10.0, 6.0)),
            np.zeros(count, np.int64),
            np.zeros(count, np.int8),
            values[:, 2],
        )

    exported = table((100, 100, 0.9), (10, 100, 0.5), (250, 50, 0.7), (290, 190, 0.7))
    found = table((10, 101, 0.2), (100, 101, 0.8), (180, 150, 0.6), (60, 60, 0.6), (180, 5, 0.6))
    parity = compare_objects(exported, found, (200, 300))
    assert parity.largest_score_difference == pytest.approx(0.1)
    assert parity.model_copy(update={"largest_score_difference": 0.0}) == Parity(
        rasters=1, both=2, only_exported=2, only_detect=3, differing_inside=3
    )
