"""What MLflow shows of a run: five figures first, and a description with intervals."""

from __future__ import annotations

import re

import pytest

from toy_evaluation import evaluation_result, record_of
from windhover.evaluation.run_description import (
    HEADLINES,
    evaluation_tags,
    run_description,
    run_metrics,
)
from windhover.params.evaluate import EvaluateParams


def test_five_figures_stand_first_and_few_follow() -> None:
    figures = run_metrics(record_of(evaluation_result()))
    by_name = sorted(figures)
    assert [name for name in by_name if name.startswith("headline")] == sorted(HEADLINES)
    assert len(HEADLINES) == 5
    assert sorted({name.rpartition("/")[0] for name in by_name}) == ["headline", "per_class"]
    assert len(figures) <= 5 + 2 * 2


def test_one_class_has_the_five_figures_alone() -> None:
    record = record_of(evaluation_result())
    test = record.scenes["test"].model_copy(update={"classes": None})
    one_class = record.model_copy(update={"scenes": {"test": test}})
    assert sorted(run_metrics(one_class)) == sorted(HEADLINES)


def test_without_scenes_the_figure_is_that_of_windows() -> None:
    figures = run_metrics(record_of(evaluation_result(n_scenes=0)))
    assert list(figures) == ["headline/1_window_ap"]
    assert 0 < figures["headline/1_window_ap"] < 1


@pytest.mark.parametrize("n_scenes", [0, 4, 7])
def test_a_description_tells_data_figures_and_what_to_beware_of(n_scenes: int) -> None:
    result = evaluation_result(n_scenes)
    record = record_of(result)
    text = run_description(result, record)
    assert "for aircraft, helicopter" in text
    assert "- a note of <the user>." in text
    assert "evaluation/index.html" in text
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", text, flags=re.MULTILINE)[1:]
    if n_scenes == 0:
        assert not rows
        return
    assert f"trained on {n_scenes * 12} objects in {n_scenes} scenes of {n_scenes} places" in text
    assert [title for title, _, _ in rows] == [title for _, title in HEADLINES.values()]
    has_intervals = [" to " in interval for _, _, interval in rows]
    assert all(has_intervals) if n_scenes > 6 else not any(has_intervals)


def test_tags_of_the_evaluation_are_short_and_leave_nothing_of_an_earlier_one() -> None:
    tags = evaluation_tags(EvaluateParams(scales=[0.8, 1.25]))
    assert tags["evaluate.scales"] == "0.8, 1.25"
    assert tags["evaluate.second_stage"] == "none"
    assert not any("{" in text or "None" in text for text in tags.values())
    named = {name.split(".")[1] for name in tags}
    assert named == set(EvaluateParams.model_fields) - {"model_card"}
