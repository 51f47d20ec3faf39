"""Features of windows are what the heads of the network get: scores follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fake_models import write_bundle
from windhover.inference.detector import Detector
from windhover.inference.window_features import FeatureSource


def test_the_heads_make_the_scores_of_the_search_from_them(make_scene: Any, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "model")
    path = make_scene(shape_hw=(150, 210))
    detector = Detector.from_bundle(
        tmp_path / "model", runtime="torch", device="cpu", inference_precision="fp32"
    )
    with detector.open(path) as scene:
        pixels, _ = scene.read(0, 0, *scene.shape_hw)
        logits = detector.scorer.score(pixels).logits  # (classes, rows, columns)
    centers = np.array([[32.0, 32.0], [32.0 + 8 * 5, 32.0 + 8 * 3]])
    features = FeatureSource(tmp_path / "model")(str(path), 1.25, centers)
    heads = bundle.network().get_submodule("heads")
    with torch.inference_mode():
        outputs = heads(torch.from_numpy(features).float()[:, :, None, None])
    found = outputs[0][:, :, 0, 0].numpy()
    np.testing.assert_allclose(found[0], logits[:, 0, 0], atol=1e-4)
    np.testing.assert_allclose(found[1], logits[:, 3, 5], atol=1e-4)


def test_a_window_at_the_border_has_features_too(make_scene: Any, tmp_path: Path) -> None:
    write_bundle(tmp_path / "model")
    path = make_scene(shape_hw=(150, 210))
    features = FeatureSource(tmp_path / "model")(str(path), 1.25, np.array([[1.0, 149.0]]))
    assert features.shape[0] == 1
    assert np.isfinite(features).all()
