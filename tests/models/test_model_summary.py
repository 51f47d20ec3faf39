"""Shapes of networks: the figures of the design note, and a table that says what a search costs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from project import ROOT
from windhover.errors import MissingFileError, ParameterError
from windhover.models.model_summary import SCENE_PX, describe_network, layer_shapes
from windhover.models.networks import build_network


def test_multiply_adds_of_the_base_network_are_those_of_the_design_note() -> None:
    network = build_network("valid64", 3, 1)
    assert sum(row.macs for row in layer_shapes(network, 3)) == pytest.approx(97.3e6, rel=0.01)
    dense = sum(row.macs for row in layer_shapes(network.to("meta"), 3, SCENE_PX)) / SCENE_PX**2
    assert 97.3e6 / 64 / 40 < dense < 97.3e6 / 64 / 30, (
        "windows of a dense search share nearly all of their work"
    )


def test_each_row_is_the_layer_that_ran() -> None:
    network = build_network("valid64", 5, 2, width=4, stem="strided").train()
    rows = layer_shapes(network, 5)
    first = rows[0]
    assert (first.kind, first.out, first.stride_px, first.receptive_field_px) == (
        "Conv2d",
        (4, 30, 30),
        2,
        6,
    )
    assert (first.parameters, first.macs) == (5 * 4 * 36, 5 * 4 * 36 * 30 * 30)
    assert network.training, "the mode is left as it was"
    assert not any(module._forward_hooks for module in network.modules())
    fields = [row.receptive_field_px for row in rows]
    assert fields == sorted(fields)


def test_a_short_cut_adds_no_stride() -> None:
    last = layer_shapes(build_network("resnet18", 3, 1), 3)[-1]
    assert last.stride_px == 32


def test_the_table_names_every_layer_and_the_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = describe_network("valid64", ["width=small", "mix=1"], 4)
    assert lines[0].split()[:3] == ["layer", "kind", "output"]
    assert lines[1].split() == ["trunk.0", "Conv2d", "16x62x62", "3", "1", "2,214,144", "576"]
    parameters = sum(
        p.numel() for p in build_network("valid64", 4, 1, width="small", mix=1).parameters()
    )
    assert f"{parameters / 1e6:.3f} M parameters, window 64 px, stride 8 px" in lines[-2]
    assert "for one Mpx searched densely" in lines[-1]
    torch.manual_seed(0)
    assert any("window by window" in line for line in describe_network("squeezenet1_1", [], 3))
    with pytest.raises(ParameterError, match="has no option 'widht'"):
        describe_network("valid64", ["widht=small"], 3)
    with pytest.raises(ParameterError, match="must read name=value, got 'width'"):
        describe_network("valid64", ["width"], 3)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match=r"params\.yaml: no such file"):
        describe_network(None, [], 3)


def test_without_a_name_it_is_the_projects_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    theirs = describe_network(None, [], 3)
    assert theirs != describe_network(None, ["width=base"], 3)
    assert theirs[-2].startswith("valid64: ")
