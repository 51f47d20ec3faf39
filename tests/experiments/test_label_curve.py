"""The label curve: subsets of scenes grow, points are averaged over draws, and nothing finished is
run again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from project import ROOT
from run_stages import QUICK_SETTINGS
from test_flow import PLACES, make_raw
from toy_records import evaluated
from windhover.errors import ParameterError
from windhover.experiments import label_curve
from windhover.experiments.cross_validation import load_flow
from windhover.experiments.label_curve import (
    CurvePoint,
    CurveRequest,
    LabelCurve,
    curve_point,
    measure_label_curve,
    plot_label_curve,
)
from windhover.training import train


def test_a_point_is_the_mean_of_its_draws_inside_its_interval() -> None:
    draws = [evaluated(0.8, seed) for seed in (1, 2, 3)]
    point = curve_point(4, draws)
    alone = [curve_point(4, [draw]).ap for draw in draws]
    assert point.draws == pytest.approx(alone)
    assert point.ap == pytest.approx(np.mean(alone))
    assert point.low is not None
    assert point.high is not None
    assert point.low < point.ap < point.high
    assert point.places == 40


def test_a_better_model_is_a_higher_point() -> None:
    assert curve_point(1, [evaluated(0.5, 1)]).ap < curve_point(2, [evaluated(0.9, 1)]).ap  # type: ignore[operator]


@pytest.mark.parametrize("request_", [CurveRequest(counts=(0, 2)), CurveRequest(n_draws=0)])
def test_numbers_below_one_are_one_sentence(request_: CurveRequest) -> None:
    with pytest.raises(ParameterError, match="must be 1 or more, got 0"):
        request_.check()


def test_the_picture_is_drawn_also_where_a_point_has_no_interval(tmp_path: Path) -> None:
    points = [
        CurvePoint(n_scenes=1, ap=0.2, low=None, high=None, draws=(0.1, 0.3), places=3),
        CurvePoint(n_scenes=2, ap=0.5, low=0.4, high=0.6, draws=(0.5,), places=3),
        CurvePoint(n_scenes=4, ap=None, low=None, high=None, draws=(), places=3),
    ]
    curve = LabelCurve(curve=tuple(points), divisions=2)
    plot_label_curve(curve, tmp_path / "curve.png")
    assert Image.open(tmp_path / "curve.png").width > 500
    assert len(curve.lines()) == 4
    curve.save(tmp_path / "curve.json")
    assert label_curve.is_own_curve(tmp_path / "curve.json")


@pytest.mark.slow
def test_a_stopped_curve_goes_on_and_a_draw_holds_the_smaller_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_raw(tmp_path / "data" / "raw", PLACES | {"yew": "train", "fig": "train"})
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    trained: list[str] = []
    original = train.train_detector

    def killed(*given: Any, name: str) -> Any:
        trained.append(name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return original(*given, name=name)

    monkeypatch.setattr(train, "train_detector", killed)
    request = CurveRequest(counts=(1,), n_draws=1, n_divisions=2)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        measure_label_curve(load_flow(QUICK_SETTINGS), request)
    curve = measure_label_curve(load_flow(QUICK_SETTINGS), request)
    assert len(trained) == 2 * len(curve.curve) + 1
    assert curve.curve[0].n_scenes == 1
    assert curve.curve[-1].n_scenes > 1
    again = measure_label_curve(load_flow(QUICK_SETTINGS), request)
    assert again == curve
    assert len(trained) == 2 * len(curve.curve) + 1
