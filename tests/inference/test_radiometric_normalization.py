"""Rasters of another sensor get the training's mean and spread, however they are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_models import write_bundle
from windhover.errors import UnsupportedError
from windhover.imagery.scenes import open_scene
from windhover.inference import sampled_parts
from windhover.inference.detector import Detector
from windhover.inference.radiometric_normalization import match_band_moments


@pytest.mark.parametrize(
    ("gain", "offset", "dtype"),
    [(0.35, 0.0, "uint8"), (0.5, 90.0, "uint8"), (31.0, 200.0, "uint16")],
)
def test_a_matched_scene_of_another_light_is_the_training_scene(
    make_scene: Any, gain: float, offset: float, dtype: str
) -> None:
    """A linear change of light is undone to the rounding of the pixels; invalid pixels stay 0."""
    pixels = np.random.default_rng(3).integers(1, 255, (3, 120, 170))
    pixels[:, :, 150:] = 0
    other = np.where(pixels > 0, np.rint(pixels * gain + offset), 0)
    mean, std = pixels[:, :, :150].mean((1, 2)), pixels[:, :, :150].std((1, 2))
    one = open_scene(make_scene("a.tif", data=pixels.astype("uint8"), nodata=0))
    two = open_scene(make_scene("b.tif", data=other.astype(dtype), nodata=0))
    with one, two:
        expected, valid = one.read(-9, 5, 130, 180)
        seen, seen_valid = match_band_moments(two, mean, std).read(-9, 5, 130, 180)
    assert (seen_valid == valid).all()
    assert seen.dtype == np.float32
    assert (seen[:, ~valid] == 0).all()
    assert np.abs(seen - expected)[:, valid].max() < 0.6 / gain + 0.1


def test_matching_keeps_the_grid_and_survives_flat_and_empty_scenes(make_scene: Any) -> None:
    data = np.full((3, 70, 90), 7, np.uint8)
    scene = open_scene(make_scene("flat.tif", data=data), 2.0)
    with match_band_moments(scene, [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]) as seen:
        assert (seen.shape_hw, seen.transform, seen.ratio_xy) == (
            scene.shape_hw,
            scene.transform,
            scene.ratio_xy,
        )
        assert seen.read(3, 3, 5, 6)[0].mean((1, 2)).tolist() == [1.0, 2.0, 3.0]
        assert seen.on_grid((4.0, 4.0)).read(1, 1, 2, 3)[0].mean((1, 2)).tolist() == [1.0, 2.0, 3.0]
        assert seen.at_gsd(4.0).read(1, 1, 2, 3)[0].mean((1, 2)).tolist() == [1.0, 2.0, 3.0]
    with open_scene(make_scene("empty.tif", data=0 * data, nodata=0)) as scene:
        assert match_band_moments(scene, [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]) is scene


def test_a_darker_sixteen_bit_raster_is_searched_as_the_bytes_it_came_from(
    make_scene: Any, tmp_path: Path
) -> None:
    """Once matched, both give the same objects; unmatched, the other number type is refused."""
    write_bundle(tmp_path / "model", threshold=0.6)
    pixels = np.random.default_rng(5).integers(1, 250, (3, 157, 211))
    bright, dark = (
        make_scene("a.tif", data=pixels.astype("uint8")),
        make_scene("b.tif", data=(3 * pixels).astype("uint16")),
    )
    matching = Detector.from_bundle(tmp_path / "model", match_radiometry=True)
    one, two = matching.detect(bright), matching.detect(dark, block_px=96)
    assert len(one) > 3
    assert np.allclose(one[["col", "row", "score"]], two[["col", "row", "score"]], atol=1e-3)
    with pytest.raises(UnsupportedError, match="Search it with --match-radiometry, or convert it"):
        Detector.from_bundle(tmp_path / "model").detect(dark)


def test_a_scene_larger_than_a_sample_is_sampled_all_over(
    make_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brightness rises to the right and falls downwards; every part is seen."""
    monkeypatch.setattr(sampled_parts, "SAMPLE_PX", 16)
    cols, rows = np.meshgrid(np.linspace(0, 100, 330), np.linspace(100, 0, 210))
    noise = np.random.default_rng(0).integers(0, 20, (3, 210, 330))
    data = (20 + cols + rows + noise).astype(np.uint8)
    with match_band_moments(open_scene(make_scene(data=data)), [5.0] * 3, [2.0] * 3) as seen:
        pixels = seen.read(0, 0, 210, 330)[0]
    assert pixels.mean((1, 2)) == pytest.approx([5.0] * 3, abs=0.3)
    assert pixels.std((1, 2)) == pytest.approx([2.0] * 3, rel=0.2)
