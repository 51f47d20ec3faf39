"""The table of a network, with the cost of a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from project import ROOT
from windhover.errors import MissingFileError, ParameterError
from windhover.experiments.describe_network import describe_network
from windhover.models.networks import build_network


def test_the_table_names_every_layer_and_the_cost() -> None:
    lines = describe_network("valid64", ["width=small", "mix=1"], 4)
    assert lines[0].split()[:3] == ["layer", "kind", "output"]
    assert lines[1].split() == ["trunk.0", "Conv2d", "16x62x62", "3", "1", "2,214,144", "576"]
    network = build_network("valid64", 4, 1, width="small", mix=1)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert f"{parameters / 1e6:.3f} M parameters, window 64 px, stride 8 px" in lines[-2]
    assert "for one Mpx searched densely" in lines[-1]
    assert any("window by window" in line for line in describe_network("squeezenet1_1", [], 3))


def test_wrong_options_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match="has no option 'widht'"):
        describe_network("valid64", ["widht=small"], 3)
    with pytest.raises(ParameterError, match="must read name=value, got 'width'"):
        describe_network("valid64", ["width"], 3)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match=r"params\.yaml: no such file"):
        describe_network(None, [], 3)


def test_without_a_name_it_is_the_projects_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    own = describe_network(None, [], 3)
    assert own != describe_network(None, ["width=base"], 3)
    assert own[-2].startswith("valid64: ")
