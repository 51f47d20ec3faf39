"""Statistics of a catalog: labels, sizes and priors are counted right."""

from __future__ import annotations

from pathlib import Path

from toy_catalog import import_folder


def test_facts_are_counted_right(labeled_folder: Path) -> None:
    report = import_folder(labeled_folder / "raw", labeled_folder, "out").report
    rows = {(row["class"], row["role"]): row for row in report.class_table or []}
    plane = rows["plane", "object"]
    assert (plane["labels"], plane["train"], plane["points"]) == (4, 4, 0)
    tree = rows["tree", "object"]
    assert (tree["points"], tree["length_px"]) == (2, "no size")
    prior = report.prior
    assert prior is not None
    assert prior.windows > 0
    assert prior.one_in == round(prior.windows / prior.with_an_object)
