"""Parameters: what is declared is read, everything else is an error of one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, field_validator

from windhover.errors import MissingFileError, ParameterError
from windhover.params import StageParams, load_params, read_yaml
from windhover.params.parameter_sets import describe_parameters, set_parameters


class CutParams(StageParams):
    rate: float = Field(gt=0, le=1)
    sizes: tuple[int, ...]

    @field_validator("sizes")
    @classmethod
    def _check_sizes(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(sizes)) != len(sizes):
            raise ValueError("they must differ")
        return sizes


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  cut:\n    cmd: python cut.py\n    params: [cut.rate, cut.sizes]\n"
    )
    (tmp_path / "params.yaml").write_text(
        "scenes:\n  raw: .\ncut:\n  rate: 1e-3 # learning rate\n  sizes: [3, 4]\n"
    )
    return tmp_path


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml"])
def test_a_file_that_is_no_utf8_is_one_sentence(project: Path, name: str) -> None:
    path = project / name
    path.write_bytes(path.read_bytes().replace(b"cut", b"c\xfft", 1))
    with pytest.raises(ParameterError, match=rf"/{name}: not UTF-8 text .* Save it as UTF-8"):
        load_params("cut", CutParams, project)


@pytest.mark.parametrize(
    "text", ["stages: 3", "stages: []", "stages: {cut: 3}", "stages: {cut: []}", "stages: null"]
)
def test_a_damaged_list_of_stages_is_one_sentence(project: Path, text: str) -> None:
    (project / "dvc.yaml").write_text(text)
    with pytest.raises(ParameterError, match=r"dvc\.yaml has no stage `cut`"):
        load_params("cut", CutParams, project)


def test_reads_what_is_declared(project: Path) -> None:
    params = load_params("cut", CutParams, project)
    assert params == CutParams(rate=0.001, sizes=(3, 4))  # 1e-3 is a number, as for DVC


def test_an_undeclared_parameter_does_not_enter(project: Path) -> None:
    (project / "dvc.yaml").write_text(
        "stages:\n  cut:\n    cmd: python cut.py\n    params:\n      - cut.rate\n"
    )
    with pytest.raises(ParameterError, match=r"`cut\.sizes` is in params\.yaml but not declared"):
        load_params("cut", CutParams, project)


def test_a_stage_may_declare_its_whole_section(project: Path) -> None:
    (project / "dvc.yaml").write_text(
        "stages:\n  cut:\n    cmd: python cut.py\n    params:\n      - cut\n"
    )
    assert load_params("cut", CutParams, project).sizes == (3, 4)


def test_a_missing_key_takes_the_default_of_the_model(project: Path) -> None:
    class WithDefault(StageParams):
        rate: float
        sizes: tuple[int, ...] = (5,)

    (project / "params.yaml").write_text("cut:\n  rate: 0.5\n")
    assert load_params("cut", WithDefault, project).sizes == (5,)
    with pytest.raises(ParameterError, match=r"`cut\.sizes`: Field required"):
        load_params("cut", CutParams, project)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "cut:\n  rate: 2.0\n  sizes: [1]\n",
            r"`cut\.rate`: .*less than or equal to 1, got 2\.0\. Set `cut\.rate` in params\.yaml",
        ),
        ("cut:\n  rate: 0.1\n  sizes: [3, 3]\n", r"^`cut\.sizes`: they must differ, got"),
        ("cut:\n  rate: '0.1'\n  sizes: [1]\n", r"`cut\.rate`: .*valid number"),
        ("cut:\n  rate: 0.1\n  sises: [1]\n", r"`cut\.sises` .* Did you mean `cut\.sizes`\?"),
        ("cut:\n  rate: 0.1\n  sizes: [1.5]\n", r"`cut\.sizes\.0`"),
        ("other: {}\n", r"no section `cut`"),
        ("cut: [1, 2\n", r"not valid YAML"),
        ("cut: " + "[" * 9_000 + "]" * 9_000, r"params\.yaml: not valid YAML: .* too deep"),
        ("cut: &a {b: *a}\n", r"not valid YAML: .* too deep"),
        ("cut: {rate: 1" + "0" * 5_000 + "}\n", r"not valid YAML"),
        ("cut: {1: 2}\n", r"has the key 1, and keys are names"),
    ],
)
def test_a_fault_is_one_sentence_with_the_key(project: Path, text: str, sentence: str) -> None:
    (project / "params.yaml").write_text(text)
    with pytest.raises(ParameterError, match=sentence) as caught:
        load_params("cut", CutParams, project)
    assert "\n" not in caught.value.sentence()


def test_without_the_file_says_where_to_run(project: Path) -> None:
    (project / "params.yaml").unlink()
    with pytest.raises(MissingFileError, match="no such file"):
        load_params("cut", CutParams, project)


def test_a_parameter_set_changes_its_keys_and_keeps_comments(project: Path) -> None:
    (project / "set.yaml").write_text("cut:\n  rate: 0.5\n")
    assert set_parameters(project / "params.yaml", ["cut.sizes=[7]"], project / "set.yaml") == [
        "cut.rate",
        "cut.sizes",
    ]
    assert "# learning rate" in (project / "params.yaml").read_text()
    assert load_params("cut", CutParams, project) == CutParams(rate=0.5, sizes=(7,))
    assert set_parameters(project / "params.yaml", ["cut.sizes=[7]"], project / "set.yaml") == []


def test_a_parameter_set_changes_one_key_inside_another(project: Path) -> None:
    (project / "params.yaml").write_text(
        "scenes:\n  raw: .\ncut:\n  jitter: # of each picture\n    noise: 1\n    blur: 2\n"
    )
    (project / "set.yaml").write_text("cut:\n  jitter.noise: 5\n")
    changed = set_parameters(
        project / "params.yaml", ["cut.jitter.blur=7", "scenes.raw=."], project / "set.yaml"
    )
    assert changed == ["cut.jitter.noise", "cut.jitter.blur"]
    assert read_yaml(project / "params.yaml")["cut"] == {"jitter": {"noise": 5, "blur": 7}}


def test_a_key_inside_a_mapping_that_another_change_replaces_is_no_error(project: Path) -> None:
    (project / "set.yaml").write_text("cut:\n  jitter.noise: 5\n")
    (project / "params.yaml").write_text("scenes:\n  raw: .\ncut:\n  jitter: {noise: 1}\n")
    changed = set_parameters(
        project / "params.yaml", ["cut.jitter={blur: 2}"], project / "set.yaml"
    )
    assert changed == ["cut.jitter.noise", "cut.jitter"]
    assert read_yaml(project / "params.yaml")["cut"] == {"jitter": {"blur": 2}}


def test_a_set_with_a_number_for_a_key_is_refused(project: Path) -> None:
    (project / "set.yaml").write_text("cut:\n  1: 5\n")
    with pytest.raises(ParameterError, match=r"`cut\.1` is not in"):
        set_parameters(project / "params.yaml", [], project / "set.yaml")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("cut.sise=1", r"`cut\.sise` is not in"),
        ("cut.rate.low=1", r"`cut\.rate\.low` is not in"),
        ("cut.jitter.low=1", r"`cut\.jitter\.low` is not in"),
        ("dig.rate=1", r"`dig\.rate` is not in"),
        ("cut", "section.key=value"),
        ("scenes.raw=nowhere", "must be a folder that exists"),
    ],
)
def test_a_bad_change_leaves_the_file_alone(project: Path, change: str, sentence: str) -> None:
    (project / "set.yaml").write_text("cut:\n  rate: 0.5\n")
    before = (project / "params.yaml").read_text()
    with pytest.raises((ParameterError, MissingFileError), match=sentence):
        set_parameters(project / "params.yaml", [change], project / "set.yaml")
    assert (project / "params.yaml").read_text() == before


def test_settings_without_a_parameter_set(project: Path) -> None:
    assert set_parameters(project / "params.yaml", ["cut.rate=0.25"]) == ["cut.rate"]
    assert read_yaml(project / "params.yaml")["cut"]["rate"] == 0.25


def test_a_setting_changes_its_own_line_alone(project: Path) -> None:
    text = (
        "cut:\n  rate: 0.1 # learning rate\n  mask: null # none\n  steps: # in order\n"
        "    - {name: blur, sigma: [0.3, 1.0]}\n    - {name: noise}\n"
    )
    (project / "params.yaml").write_text(text)
    set_parameters(project / "params.yaml", ["cut.rate=0.2"])
    assert (project / "params.yaml").read_text() == text.replace("0.1", "0.2")


@pytest.mark.parametrize(
    ("epochs", "loss", "wanted"),
    [
        (400, "bce", "trees"),
        (60, "bce", "trees, other train.epochs"),
        (60, "focal", "defaults"),
    ],
)
def test_a_parameter_file_is_named_after_the_set_that_it_follows(
    tmp_path: Path, epochs: int, loss: str, wanted: str
) -> None:
    sets = tmp_path / "sets"
    sets.mkdir()
    (sets / "trees.yaml").write_text(
        "train:\n  epochs: 400\n  loss: bce\n  batch_augment.noise: 0.1\n"
    )
    params = tmp_path / "params.yaml"
    params.write_text(
        f"train:\n  epochs: {epochs}\n  loss: {loss}\n  batch_augment: {{noise: 0.1}}\n"
    )
    assert describe_parameters(params, sets) == wanted
    assert describe_parameters(tmp_path / "none.yaml", sets) == "defaults"
    assert describe_parameters(params, tmp_path / "no sets") == "defaults"
