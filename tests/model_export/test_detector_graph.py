"""The exported detector finds, in a tile, what the search finds in a block."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from fake_models import make_card, random_weights
from windhover.errors import MissingFileError, UnsupportedError
from windhover.geometry.lattice import Block, Lattice
from windhover.inference.peaks import find_peaks
from windhover.inference.scorer import RawScores
from windhover.model_export.detector_graph import DetectorGraph
from windhover.model_export.export_model import detector_to_onnx
from windhover.model_export.tile_peaks import find_tile_peaks
from windhover.models.apply_calibration import Calibration
from windhover.models.bundle import Bundle
from windhover.models.operating_point import ClassOperatingPoint, OperatingPoint
from windhover.models.weights_file import as_arrays


def make_bundle(
    peak_tta: str = "recenter", thresholds: tuple[float, ...] = (0.5, 0.6), **search: Any
) -> Bundle:
    """Return an evaluated model of random weights."""
    classes = tuple(f"class{number}" for number in range(len(thresholds)))
    card = make_card(classes=classes)
    per_class = {
        name: ClassOperatingPoint(threshold=value)
        for name, value in zip(classes, thresholds, strict=True)
    }
    settings = {"stride_px": 8, "peak_tta": peak_tta, "rescore_min_logit": 0.0, **search}
    return Bundle(
        card,
        as_arrays(random_weights(n_classes=len(classes))),
        Calibration(1.0, 0.0, 1.5, 0.25),
        OperatingPoint(per_class=per_class, search=settings),
    )


def tile(height: int = 168, width: int = 240, seed: int = 0) -> torch.Tensor:
    """Return pixels of a tile, 0 to 1, rough and smooth parts."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((1, 3, height // 8, width // 8)).repeat(8, 2).repeat(8, 3)
    return torch.from_numpy((coarse + rng.random((1, 3, height, width))) / 2).float()


def random_maps(seed: int, shape: tuple[int, int] = (11, 17)) -> RawScores:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (2, *shape)).astype(np.float32)
    offsets = rng.normal(0, 6, (2, *shape)).astype(np.float32)
    return RawScores(logits, offsets, rng.normal(3, 0.4, (2, *shape)).astype(np.float32))


@pytest.mark.parametrize("stride_px", [8, 4])
@pytest.mark.parametrize("seed", range(5))
def test_peaks_of_a_tile_are_those_of_the_search(seed: int, stride_px: int) -> None:
    maps = random_maps(seed)
    rows, cols = maps.logits.shape[1:]
    # a scene so large that the tile is far from its borders
    lattice = Lattice((4000, 5000), 64, stride_px)
    block = Block(0, 40, 40 + rows, 50, 50 + cols)
    expected = find_peaks(
        maps, lattice=lattice, scored=block, owned=block, min_logits=np.full(2, -9.0)
    )
    peaks = find_tile_peaks(
        *(torch.from_numpy(plane) for plane in maps), stride_px=stride_px, window_px=64
    )
    is_candidate = (peaks.is_peak | peaks.is_secondary).numpy()
    index, row, col = np.nonzero(is_candidate)
    offset = peaks.offsets_px.numpy()[index, :, row, col]
    x = 32 + stride_px * (col + 50) + offset[:, 0]
    y = 32 + stride_px * (row + 40) + offset[:, 1]
    assert len(index) == len(expected)
    assert index.tolist() == expected.objects.class_index.tolist()
    assert np.stack([x, y], axis=1) == pytest.approx(expected.objects.centers_xy, abs=1e-3)
    sizes = np.exp(peaks.log_sizes.numpy()[index, :, row, col])
    assert sizes == pytest.approx(expected.objects.sizes_wh, rel=1e-4)
    assert peaks.is_secondary.numpy()[index, row, col].tolist() == expected.is_secondary.tolist()


def n_unmatched(boxes: np.ndarray, others: np.ndarray) -> int:
    """Return how many columns of boxes have no equal among others, to rounding."""
    tolerance = np.array([0.05] * 4 + [1e-3] * (len(boxes) - 4))[:, None, None]
    is_equal = (np.abs(boxes[:, :, None] - others[:, None, :]) <= tolerance).all(axis=0)
    return int((~is_equal.any(axis=1)).sum())


@pytest.mark.parametrize("peak_tta", ["none", "recenter", "d4"])
def test_the_file_gives_what_the_graph_gives(peak_tta: str) -> None:
    bundle = make_bundle(peak_tta)
    graph = DetectorGraph(bundle).eval()
    session = onnxruntime.InferenceSession(detector_to_onnx(bundle, tile_px=208))
    for seed, is_empty in ((1, False), (2, False), (0, True)):
        pixels = tile(208, 208, seed)
        if is_empty:
            pixels = torch.zeros_like(pixels)
        with torch.inference_mode():
            expected = graph(pixels).numpy()
        boxes = session.run(None, {"pixels": pixels.numpy()})[0]
        assert boxes.shape == expected.shape
        assert boxes.shape[:2] == (1, 4 + 2)
        # the order of equal scores is the runtime's own
        assert n_unmatched(boxes[0], expected[0]) <= 0.01 * expected.shape[2]
        assert n_unmatched(expected[0], boxes[0]) <= 0.01 * expected.shape[2]


def test_scores_reach_their_thresholds_and_one_column_is_empty() -> None:
    graph = DetectorGraph(make_bundle()).eval()
    with torch.inference_mode():
        boxes = graph(tile()).numpy()[0]
    scores = boxes[4:]
    assert (scores[:, -1] == 0).all()
    assert ((scores > 0).sum(axis=0) <= 1).all(), "an object has one class"
    for row, threshold in zip(scores, (0.5, 0.6), strict=True):
        assert (row > 0).any()
        assert row[row > 0].min() >= threshold


def test_no_two_objects_of_a_class_are_duplicates() -> None:
    graph = DetectorGraph(make_bundle(merge_distance=0.5, merge_iou=0.3)).eval()
    with torch.inference_mode():
        x, y, width, height, *scores = graph(tile()).numpy()[0]
    for row in scores:
        chosen = np.flatnonzero(row)
        size = np.sqrt(width * height)
        for i in chosen:
            for j in chosen[chosen > i]:
                distance = np.hypot(x[i] - x[j], y[i] - y[j])
                assert distance >= 0.5 * min(size[i], size[j]) * (1 - 1e-5)


def test_pixels_that_are_not_a_number_are_black() -> None:
    graph = DetectorGraph(make_bundle()).eval()
    pixels = tile()
    pixels[:, :, 40:90, 60:100] = 0.0
    holes = pixels.clone()
    holes[:, :, 40:90, 60:100] = torch.nan
    with torch.inference_mode():
        assert torch.equal(graph(holes), graph(pixels))


def test_a_second_stage_takes_part() -> None:
    bundle = make_bundle()
    other = replace(bundle, weights=as_arrays(random_weights(n_classes=2, seed=5)))
    with torch.inference_mode():
        alone = DetectorGraph(bundle).eval()(tile())
        both = DetectorGraph(replace(bundle, second_stage=other)).eval()(tile())
        itself = DetectorGraph(replace(bundle, second_stage=bundle)).eval()(tile())
    assert itself.shape == alone.shape
    assert torch.allclose(itself, alone, atol=1e-4)
    assert both.shape != alone.shape or not torch.allclose(both, alone, atol=1e-3)


def test_what_cannot_be_exported_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="Run evaluate, or give a threshold"):
        DetectorGraph(replace(make_bundle(), operating_point=None))
    from windhover.models.card import NetworkCard
    from windhover.models.networks import build_network

    padded = NetworkCard(name="shufflenet_v2_x0_5", n_bands=3, n_classes=2)
    card = make_card(classes=("class0", "class1"), network=padded)
    weights = as_arrays(build_network("shufflenet_v2_x0_5", 3, 2).state_dict())
    with pytest.raises(UnsupportedError, match="`shufflenet_v2_x0_5` is padded"):
        DetectorGraph(replace(make_bundle(), card=card, weights=weights))
