"""The gate: a better model passes, chance and worse ones do not, and kept scenes must be passed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from toy_records import evaluated, save
from windhover.cli.app import app
from windhover.errors import DataError, FormatError, ParameterError
from windhover.evaluation.accept import (
    BETTER,
    FAILED_SCENE,
    NO_VERDICT,
    WORSE,
    AcceptRequest,
    accept,
    find_pooled_record,
    only_places,
    untouched_places,
)
from windhover.evaluation.acceptance_list import AcceptanceList
from windhover.evaluation.check_scenes import check_scenes
from windhover.metrics.ground_truth import GroundTruth


class PlacedDetector:
    """Finds objects where a test says so."""

    bundle = SimpleNamespace(card=SimpleNamespace(require_objects=lambda: None, classes=("plane",)))

    def __init__(self, *centers: tuple[float, float]) -> None:
        self.centers = centers

    def detect(self, raster: str, *, gsd_m: float | None = None) -> pd.DataFrame:
        return pd.DataFrame(
            [(col, row, "plane") for col, row in self.centers], columns=["col", "row", "class"]
        )


def request(old: Path, new: Path, folder: Path) -> AcceptRequest:
    return AcceptRequest(str(old), str(new), None, folder / "acceptance.yaml", folder / "pictures")


def test_each_outcome_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    worse = save(evaluated(0.6, 1), tmp_path / "worse")
    better = save(evaluated(0.95, 2), tmp_path / "better")
    assert accept(request(worse, better, tmp_path)).code == BETTER == 0
    assert accept(request(better, worse, tmp_path)).code == WORSE
    assert accept(request(better, better, tmp_path)).code == NO_VERDICT
    assert len({BETTER, WORSE, NO_VERDICT, FAILED_SCENE, 1, 2}) == 6
    run = CliRunner().invoke(app, ["accept", str(better), str(worse)])
    assert run.exit_code == WORSE
    assert run.output.splitlines()[-1] == "not accepted: the new model is worse"
    options = ["--no-verdict-ok", "-o", str(tmp_path / "outcome.json")]
    run = CliRunner().invoke(app, ["accept", str(better), str(better), *options])
    assert run.exit_code == 0
    assert (tmp_path / "outcome.json").is_file()
    run = CliRunner().invoke(app, ["accept", str(better), str(better), *options])
    assert run.exit_code == 0, "its own file is replaced"
    (tmp_path / "outcome.json").write_text('{"mine": 1}')
    run = CliRunner().invoke(app, ["accept", str(better), str(better), *options])
    assert "was not written by this command" in str(run.exception)


def with_another_object(record: Any, scene: str) -> Any:
    """Return a test with one more object in a scene, as a review of it makes."""
    truth = record.ground_truth
    more = pd.DataFrame([(scene, "jet")], columns=["scene", "class"])
    objects = pd.concat([truth.objects, more], ignore_index=True)
    return replace(record, ground_truth=GroundTruth(truth.scenes, objects, truth.ignored))


def test_places_whose_truth_was_corrected_are_left_out(tmp_path: Path) -> None:
    old, new = evaluated(0.6, 1), with_another_object(evaluated(0.95, 2), "s03")
    first, second, n_touched = untouched_places(old, new)
    assert n_touched == 1
    assert "s03" not in set(first.ground_truth.scenes["scene"])
    assert "s03" not in set(second.matches["scene"])
    outcome = accept(request(save(old, tmp_path / "old"), save(new, tmp_path / "new"), tmp_path))
    assert outcome.code == BETTER
    assert "1 places whose truth is not the same in both are left out" in outcome.lines


def test_without_a_common_place_nothing_is_compared() -> None:
    with pytest.raises(DataError, match="on no place with the same labels"):
        untouched_places(
            only_places(evaluated(0.6, 1), {"s01"}), only_places(evaluated(0.6, 1), {"s02"})
        )


def test_divisions_with_too_few_places_are_pooled(tmp_path: Path) -> None:
    names = [f"s{number:02d}" for number in range(40)]
    folders: dict[str, list[str]] = {"old": [], "new": []}
    for kind, record in (("old", evaluated(0.5, 1)), ("new", evaluated(0.97, 2))):
        for start in range(0, 40, 5):
            part = only_places(record, names[start : start + 5])
            part = replace(part, model=f"{part.model}-{start}")
            folders[kind].append(str(save(part, tmp_path / f"{kind}-{start}")))
    alone = AcceptRequest(folders["old"][0], folders["new"][0], None, tmp_path / "a", tmp_path)
    assert accept(alone).code == NO_VERDICT
    pooled = replace(alone, old=",".join(folders["old"]), new=",".join(folders["new"]))
    assert accept(pooled).code == BETTER
    assert len(find_pooled_record(pooled.old).folds) == 8


def write_list(folder: Path, scene: Path, rest: str) -> Path:
    path = folder / "acceptance.yaml"
    path.write_text(f"scenes:\n  - name: apron\n    raster: {scene}\n{rest}")
    return path


def test_a_scene_passes_or_fails_with_a_picture(make_scene: Any, tmp_path: Path) -> None:
    wanted = AcceptanceList.read(
        write_list(
            tmp_path,
            make_scene("a.tif"),
            "    area: [0, 0, 100, 100]\n    must_find: [[40, 50]]\n    must_not_find: [[80, 20]]\n"
            "    counts: {plane: {count: 2, tolerance: 1}}\n",
        )
    )
    (passed,) = check_scenes(PlacedDetector((42, 52), (150, 20)), wanted, tmp_path)  # type: ignore[arg-type]
    assert passed.faults == []
    assert passed.image is None
    detector = PlacedDetector((55, 50), (81, 21), (10, 10), (20, 10))
    (failed,) = check_scenes(detector, wanted, tmp_path / "pictures")  # type: ignore[arg-type]
    assert failed.faults == [
        "nothing is found at px 40, 50",
        "an object is found at px 80, 20, and none is there",
        "4 plane are found, and 2 +- 1 are there",
    ]
    assert failed.image is not None
    pixels = np.asarray(Image.open(failed.image))
    check_scenes(detector, wanted, tmp_path / "pictures")  # type: ignore[arg-type]
    Image.new("RGB", (9, 9)).save(tmp_path / "pictures/apron.png")
    with pytest.raises(ParameterError, match="was not written by this command"):
        check_scenes(detector, wanted, tmp_path / "pictures")  # type: ignore[arg-type]
    assert (pixels == (224, 49, 49)).all(axis=-1).sum() > 20


@pytest.mark.parametrize(
    ("rest", "match"),
    [
        ("", "must_find, must_not_find and counts must ask for something"),
        ("    must_find: [[1, 2, 3]]\n", "must_find"),
        ("    must_find: [[1, 2]]\n    areas: 1\n", "areas"),
        ("    must_find: [[1, 2]]\n    area: [9, 0, 1, 5]\n", "left < right"),
        ("    must_find: [[.nan, 2]]\n", "must_find"),
        ("    must_find: [[1, 2]]\n    within_m: .inf\n", "within_m"),
        ("    must_find: [[1, 2]]\n    ? [a, b]\n    : 3\n", "a key that is no name"),
    ],
)
def test_a_wrong_list_is_one_sentence(tmp_path: Path, rest: str, match: str) -> None:
    with pytest.raises(FormatError, match=match):
        AcceptanceList.read(write_list(tmp_path, tmp_path / "a.tif", rest))


@pytest.mark.parametrize(
    ("rest", "match"),
    [
        ("counts: {plan: {count: 0}}", r"counts: the model has no class 'plan', .* are plane\."),
        ("must_not_find: [[500, 20]]", r"must_not_find: px 500, 20 is off the raster of 210 x 150"),
        ("must_not_find: [[90, 20]]\n    area: [0, 0, 80, 80]", "or outside of `area`"),
        ("counts: {plane: {count: 0}}\n    area: [300, 0, 400, 80]", "area: is off the raster"),
    ],
)
def test_what_can_never_fail_is_an_error(
    make_scene: Any, tmp_path: Path, rest: str, match: str
) -> None:
    wanted = AcceptanceList.read(write_list(tmp_path, make_scene("a.tif"), f"    {rest}\n"))
    with pytest.raises(DataError, match=match) as caught:
        check_scenes(PlacedDetector(), wanted, tmp_path)  # type: ignore[arg-type]
    assert caught.value.__notes__ == ["It is the scene 'apron' of the acceptance list."]


def test_a_list_that_is_no_file_is_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = save(evaluated(0.6, 1), tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["accept", str(record), str(record), "--acceptance", "mine.yml"])
    assert "--acceptance mine.yml: no such file" in str(run.exception)
    (tmp_path / "acceptance.yaml").symlink_to(tmp_path / "gone")
    for words in (["accept", str(record), str(record)], ["promote", "new"]):
        monkeypatch.setattr(
            "windhover.tracking.registry.download_run_files", lambda run, name: tmp_path
        )
        run = CliRunner().invoke(app, words)
        assert "acceptance.yaml: is a folder, or a link to nothing" in str(run.exception)


def test_a_failed_scene_decides_over_better_figures(
    make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = save(evaluated(0.6, 1), tmp_path / "worse")
    better = save(evaluated(0.95, 2), tmp_path / "better")
    write_list(tmp_path, make_scene("a.tif"), "    must_find: [[40, 50]]\n")
    found = PlacedDetector()
    monkeypatch.setattr(
        "windhover.evaluation.accept.Detector.from_bundle", lambda path, **options: found
    )
    asked = replace(request(worse, better, tmp_path), model=tmp_path)
    assert accept(asked).code == FAILED_SCENE
    found.centers = ((40.0, 50.0),)
    assert accept(asked).code == BETTER


def test_promote_asks_the_list_where_there_is_one(
    make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = PlacedDetector()
    promoted: list[str] = []
    monkeypatch.setattr(
        "windhover.evaluation.accept.Detector.from_bundle", lambda path, **options: found
    )
    monkeypatch.setattr(
        "windhover.tracking.registry.download_run_files", lambda run, name: tmp_path
    )
    monkeypatch.setattr(
        "windhover.tracking.registry.promote",
        lambda run, name, alias: promoted.append(run) or 7,
    )
    write_list(tmp_path, make_scene("a.tif"), "    must_find: [[40, 50]]\n")
    run = CliRunner().invoke(app, ["promote", "new"])
    assert isinstance(run.exception, DataError)
    assert "the scene 'apron' failed: nothing is found at px 40, 50" in str(run.exception)
    assert promoted == []
    found.centers = ((40.0, 50.0),)
    assert CliRunner().invoke(app, ["promote", "new"]).exit_code == 0
    (tmp_path / "acceptance.yaml").unlink()
    assert CliRunner().invoke(app, ["promote", "other"]).exit_code == 0
    assert promoted == ["new", "other"]
