"""The report's page: every section, every table, and a page of patches where no scene is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from toy_evaluation import evaluation_result
from windhover.metrics.evaluation_result import EvaluationResult
from windhover.rendering import plot_style
from windhover.report import page_tables
from windhover.report import write_report as write_report_module
from windhover.report.write_report import write_report

SCENE_SECTIONS = [
    "Operating point",
    "Curves",
    "The worst errors, and some true positives (test)",
    "By object size",
    "By place (test)",
    "By scene (test)",
    "AP by match threshold (test)",
    "Metrics on windows",
    "The data",
    "The training",
    "The model and the parameters",
]
PATCH_SECTIONS = [
    "Metrics on windows",
    "Operating point",
    "The patches",
    "The training",
    "The model and the parameters",
]


def page_of(result: EvaluationResult, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(plot_style, "DPI", 30)
    write_report(result, folder)
    return (folder / "index.html").read_text(encoding="utf-8")


def sections(page: str) -> list[str]:
    return re.findall("<h2>(.*)</h2>", page)


def test_a_page_of_scenes_has_every_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = page_of(evaluation_result(), tmp_path, monkeypatch)
    assert sections(page) == SCENE_SECTIONS
    assert page.count('class="card"') == 8
    assert page.count("<figure") == 9
    assert page.count('<div class="note">') == 1
    assert "<li>a note of &lt;the user&gt;.</li>" in page
    assert page.index("a note of") < page.index('class="card"')
    assert "of 100 objects of the class helicopter about" in page


def test_keys_in_warnings_are_set_as_code_and_nothing_else_is_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = ("Set `train.epochs`, not `<b>x</b>`.",)
    result = replace(evaluation_result(n_scenes=0), notes=notes)
    page = page_of(result, tmp_path, monkeypatch)
    wanted = "<code>train.epochs</code>, not <code>&lt;b&gt;x&lt;/b&gt;</code>."
    assert f"<li>Set {wanted}</li>" in page


def test_a_page_of_patches_states_that_no_scene_was_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = page_of(evaluation_result(n_scenes=0), tmp_path, monkeypatch)
    assert sections(page) == PATCH_SECTIONS
    assert "No labelled scene was searched" in page


def test_pictures_of_the_training_are_shown_where_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = evaluation_result()
    page_of(result, tmp_path, monkeypatch)
    kept = tmp_path / "windows.png"
    pictures = ((kept, "losses"), (tmp_path / "no.png", "mined"))
    object.__setattr__(result, "training_images", pictures)
    page = page_of(result, tmp_path, monkeypatch)
    assert 'alt="losses"' in page
    assert 'alt="mined"' not in page


def test_the_threshold_is_shown_on_both_splits() -> None:
    table = page_tables.threshold_table(evaluation_result())
    assert table["class"].tolist() == ["aircraft"] * 2 + ["helicopter"] * 2
    assert table["split"].tolist() == ["val", "test"] * 2
    assert table[["precision", "recall", "F1"]].notna().all(axis=None)


def test_scenes_with_most_errors_come_first() -> None:
    table = page_tables.scene_table(evaluation_result().scenes["test"])
    errors = table["missed"] + table["false positives"]
    assert errors.is_monotonic_decreasing
    assert table["expected objects"].str.fullmatch(r"\d+\.\d \(\d+\.\d to \d+\.\d\)").all()


def test_every_split_is_counted() -> None:
    table = page_tables.split_table(evaluation_result())
    assert table["split"].tolist() == ["train", "val", "test"]
    assert table["objects per km²"].tolist() == [12.0, 12.0, 12.0]


def test_settings_carry_the_model_and_the_parameters() -> None:
    table = page_tables.settings_table(evaluation_result()).set_index(["group", "name"])["value"]
    assert table["model", "bands"] == "red, green, blue"
    assert table["training", "epochs"] == "3"
    assert table["calibration", "window_bias"] == "0.5, -0.12346"
    assert table["evaluate", "n_bootstrap"] == "100"


def test_what_the_folds_held_out_is_shown_where_nothing_else_is_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = evaluation_result().scenes["test"]
    patches_alone = evaluation_result(0)
    none = {
        split: {name: replace(metrics, positives=0, negatives=0) for name, metrics in found.items()}
        for split, found in patches_alone.windows.items()
    }
    result = replace(patches_alone, windows=none, held_out=held_out, fitted_on="folds")
    drawn: dict[str, list[str]] = {}
    plot = write_report_module.plot_precision_recall

    def plot_and_note(path: Path, curves: dict[str, object], **options: object) -> None:
        drawn[path.name] = list(curves)
        plot(path, curves, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(write_report_module, "plot_precision_recall", plot_and_note)
    page = page_of(result, tmp_path, monkeypatch)
    assert sections(page)[0] == "On ground that was held out"
    assert "Metrics on windows" not in sections(page)
    n_objects = len(held_out.ground_truth.objects)
    assert f"held out: {n_objects} objects in 4 scenes" in page.lower()
    assert drawn == {"pr_scenes.png": ["held out"]}
