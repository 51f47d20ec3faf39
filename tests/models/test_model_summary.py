"""Summaries of networks: the figures of the design note, and layers as they ran."""

from __future__ import annotations

import pytest

from windhover.models.model_summary import SCENE_PX, search_multiply_adds, summarize_layers
from windhover.models.networks import build_network


def test_multiply_adds_of_the_base_network_are_those_of_the_design_note() -> None:
    network = build_network("valid64", 3, 1)
    window = sum(row.multiply_adds for row in summarize_layers(network, 3))
    assert window == pytest.approx(97.3e6, rel=0.01)
    scene = summarize_layers(network.to("meta"), 3, SCENE_PX)
    dense = sum(row.multiply_adds for row in scene) / SCENE_PX**2
    assert 97.3e6 / 64 / 40 < dense < 97.3e6 / 64 / 30, (
        "windows of a dense search share nearly all of their work"
    )
    assert search_multiply_adds(build_network("valid64", 3, 1), 3) == pytest.approx(dense * 1e6)


@pytest.mark.parametrize("name", ["valid64", "baseline_cnn", "resnet18", "squeezenet1_1"])
def test_multiply_adds_are_those_of_kernels_and_cells(name: str) -> None:
    network = build_network(name, 3, 2)
    modules = dict(network.named_modules())
    for row in summarize_layers(network, 3):
        module = modules[row.name]
        expected = 0
        if row.kind == "Conv2d":
            cells = row.output_shape[0] * row.output_shape[1] * row.output_shape[2]
            expected = module.weight[0].numel() * cells
        assert row.multiply_adds == expected


def test_each_row_is_the_layer_that_ran() -> None:
    network = build_network("valid64", 5, 2, width=4, stem="strided").train()
    rows = summarize_layers(network, 5)
    first = rows[0]
    assert (first.kind, first.output_shape) == ("Conv2d", (4, 30, 30))
    assert (first.stride_px, first.receptive_field_px) == (2, 6)
    assert first.parameters == 5 * 4 * 36
    assert first.multiply_adds == 5 * 4 * 36 * 30 * 30
    assert network.training, "the mode is left as it was"
    assert not any(module._forward_hooks for module in network.modules())
    fields = [row.receptive_field_px for row in rows]
    assert fields == sorted(fields)


def test_a_short_cut_adds_no_stride() -> None:
    last = summarize_layers(build_network("resnet18", 3, 1), 3)[-1]
    assert last.stride_px == 32
