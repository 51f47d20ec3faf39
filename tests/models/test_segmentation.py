"""The U-Net: shapes, encoders of timm, and options that it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from windhover.errors import ParameterError
from windhover.experiments.describe_network import network_table
from windhover.models.input_normalization import (
    Normalizer,
    SceneLogNormalizer,
    build_normalizer,
)
from windhover.models.model_summary import search_multiply_adds, summarize_layers
from windhover.models.networks import build_network

SMALL = {"encoder": "resnet10t", "width": 4, "levels": 3, "space_to_depth": 1, "tile_px": 64}


@pytest.mark.parametrize("encoder", ["resnet10t", "mobilenetv3_small_050"])
@pytest.mark.parametrize(("bands", "classes", "fold"), [(6, 2, 1), (1, 1, 1), (5, 3, 2)])
def test_every_pixel_has_logits_of_its_own(
    encoder: str, bands: int, classes: int, fold: int
) -> None:
    options = SMALL | {"encoder": encoder, "space_to_depth": fold}
    network = build_network("unet", bands, classes, **options).eval()
    logits = network(torch.randn(2, bands, 64, 96))
    assert logits.shape == (2, classes, 64, 96)
    assert (network.window_px, network.stride_px, network.dense) == (64, 1, False)


def test_a_tile_is_shown_a_second_time_as_logarithms_less_those_of_its_scene() -> None:
    normalizer = build_normalizer([900.0, 400.0], [300.0, 200.0], {"scene_log": True})
    assert isinstance(normalizer, SceneLogNormalizer)
    tile = 200 + 3000 * torch.rand(1, 2, 64, 96, generator=torch.Generator().manual_seed(0))
    levels = normalizer.logarithms(tile).mean((2, 3)) + 0.2  # the scene is brighter than the tile
    shown = normalizer(tile, levels)
    torch.testing.assert_close(shown[:, :2], Normalizer([900.0, 400.0], [300.0, 200.0])(tile))
    torch.testing.assert_close(shown[:, 2:].mean((2, 3)), torch.full((1, 2), -0.2 / 0.7))
    torch.testing.assert_close(
        normalizer(tile)[:, 2:].mean((2, 3)), torch.zeros(1, 2), atol=1e-5, rtol=0
    )
    network = build_network("unet", 2, 1, **(SMALL | {"scene_log": True})).eval()
    assert network(shown).shape == (1, 1, 64, 96)


def test_another_gain_of_the_sensor_hardly_changes_the_second_view() -> None:
    normalizer = SceneLogNormalizer([900.0], [300.0])
    tile = 500 + 3000 * torch.rand(1, 1, 40, 30, generator=torch.Generator().manual_seed(1))
    one, other = normalizer(tile), normalizer(1.4 * tile)
    assert (one - other)[:, 0].abs().mean() > 1
    assert (one - other)[:, 1].abs().max() < 0.05


def test_bands_without_logarithms_are_one_sentence() -> None:
    with pytest.raises(ParameterError, match="whose mean is above 0, got -12"):
        build_normalizer([-12.0], [3.0], {"scene_log": True})


def test_a_px_changes_its_own_logit_and_few_others() -> None:
    network = build_network("unet", 1, 1, **(SMALL | {"space_to_depth": 2})).eval()
    torch.nn.init.zeros_(network.head[0][0].weight[:, : SMALL["width"]])  # the branch of px alone
    tile = torch.zeros(1, 1, 64, 64)
    changed = tile.clone()
    changed[0, 0, 31, 22] = 1
    with torch.no_grad():
        rows, cols = torch.nonzero((network(changed) != network(tile))[0, 0], as_tuple=True)
    assert ((rows - 31).abs() <= 6).all()
    assert ((cols - 22).abs() <= 6).all()
    assert ((rows == 31) & (cols == 22)).any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"encoder": "resnet999"}, "'resnet999' is no encoder of 3 levels"),
        ({"tile_px": 100}, "tile_px must be a multiple of 8 px for 3 levels, got 100"),
        ({"width": "small"}, "width must be a whole number of channels, such as 16, got 'small'"),
        ({"levels": 6}, "levels must be 3, 4 or 5, got 6"),
        ({"weights": "my.pt"}, "weights must be `default`.*got 'my.pt'"),
        ({"stem": "pooled"}, "network 'unet' has no option 'stem'"),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        build_network("unet", 3, 1, **(SMALL | options))


def test_the_table_of_a_network_counts_tiles_that_overlap() -> None:
    network = build_network("unet", 3, 1, **SMALL)
    tile = sum(row.multiply_adds for row in summarize_layers(network, 3))
    assert search_multiply_adds(network, 3) == pytest.approx(tile * 1e6 / 48**2)
    table = network_table("unet", 3, 1, options=SMALL)
    assert "in tiles that overlap" in "\n".join(table)
