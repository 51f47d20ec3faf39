"""Curves as tables: rows that are the curve's own, first and last among them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windhover.metrics.curve_points import curve_table, linspace_rows
from windhover.metrics.score_curve import score_curve


@given(n_rows=st.integers(0, 300), max_rows=st.integers(2, 40))
def test_rows_rise_and_hold_the_first_and_the_last(n_rows: int, max_rows: int) -> None:
    rows = linspace_rows(n_rows, max_rows)
    assert len(rows) == len(set(rows.tolist())) <= min(max_rows, n_rows)
    assert (np.diff(rows) > 0).all()
    if n_rows:
        assert (rows[0], rows[-1]) == (0, n_rows - 1)
    if n_rows <= max_rows:
        assert rows.tolist() == list(range(n_rows))


@pytest.mark.parametrize("max_rows", [400, 5])
def test_a_table_holds_what_is_counted_at_its_thresholds(max_rows: int) -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(60)
    is_tp = rng.random(60) < 0.3
    n_gt = int(is_tp.sum()) + 5
    curve = score_curve(scores, is_tp, np.zeros(60, int), n_gt=[n_gt], km2=[2.5])
    table = curve_table(curve.counts(), max_rows)
    assert len(table) == min(len(curve.thresholds), max_rows)
    for row in table.to_dict("records"):
        reported = scores >= row["threshold"]
        tp = int((reported & is_tp).sum())
        fp = int((reported & ~is_tp).sum())
        assert (row["tp"], row["fp"]) == (tp, fp)
        assert row["recall"] == pytest.approx(tp / n_gt)
        assert row["precision"] == pytest.approx(tp / (tp + fp))
        assert row["false_alarms_per_km2"] == pytest.approx(fp / 2.5)
