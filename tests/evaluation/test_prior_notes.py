"""What is said where the true share of windows with an object is not known."""

from __future__ import annotations

from fake_models import make_card
from windhover.evaluation.fit_calibration import prior_notes


def test_an_unknown_prior_is_told_by_its_own_reason() -> None:
    unknown = make_card(true_prior=None)
    (ready_made,) = prior_notes(unknown, is_ready_made=True)
    assert "the patches were ready-made" in ready_made
    (small,) = prior_notes(unknown, is_ready_made=False)
    assert f"no window of {unknown.window_px} px at {unknown.gsd_m:g} m fits" in small
    assert "ready-made" not in small
    for is_ready_made in (True, False):
        assert prior_notes(make_card(true_prior=0.01), is_ready_made=is_ready_made) == []
