"""Names with any class in them are logged, and two classes stay two."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

from windhover.tracking.safe_names import safe_names


def test_names_that_are_accepted_stay_and_others_stay_apart() -> None:
    names = safe_names(["val/car/ap", "val/car (red)/ap", "val/car {red}/ap", "val/car _red_/ap"])
    assert names["val/car/ap"] == "val/car/ap"
    assert names["val/car _red_/ap"] == "val/car _red_/ap"
    assert len(set(names.values())) == 4


@given(st.lists(st.text(min_size=0, max_size=300), unique=True, max_size=6))
def test_every_name_is_accepted(classes: list[str]) -> None:
    names = safe_names([f"scenes/val/{name}/ap" for name in classes] + classes)
    assert len(set(names.values())) == len(names)
    for safe in names.values():
        _validate_metric_name(safe)
        _validate_param_name(safe)
