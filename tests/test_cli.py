"""The command line: quick help, one sentence for what a user can mend, exit codes that tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fake_models import write_bundle
from project import ROOT
from windhover import __version__
from windhover.cli import app as cli
from windhover.errors import FormatError
from windhover.imagery.scenes import Scene
from windhover.metrics.kfold_record import CrossValidationResult


def invoke(*words: object) -> Any:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def main(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["windhover", *(str(word) for word in words)])
    with pytest.raises(SystemExit, match=r"^\d$") as stop:
        cli.main()
    return int(str(stop.value.code))


def test_help_loads_no_library() -> None:
    code = (
        "import sys; sys.argv = ['windhover', '--help']\n"
        "from windhover.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'rasterio', 'geopandas', 'numpy', 'mlflow', 'pandas', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "detect" in done.stdout
    assert done.stderr.strip() == "[]"


def test_version() -> None:
    assert invoke("--version").output == f"windhover {__version__}\n"


def test_detect_prints_objects_and_writes_the_file(make_scene: Any, tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", threshold=0.6)
    result = invoke(
        "detect",
        make_scene(),
        "--model",
        tmp_path / "m",
        "-o",
        tmp_path / "f.parquet",
        "--scores",
        tmp_path / "s.tif",
        "-v",
    )
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[1].startswith("scene: ")
    assert lines[2].endswith(f"objects in 1 scene -> {tmp_path / 'f.parquet'}")
    assert (tmp_path / "f.parquet").is_file()
    assert (tmp_path / "s.tif").is_file()


def test_what_a_user_can_mend_is_one_sentence_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(monkeypatch, "detect", tmp_path / "none.tif", "--model", tmp_path / "none") == 1
    error = capsys.readouterr().err
    assert error.startswith("windhover: ")
    assert "no such model folder" in error
    assert len(error.splitlines()) == 1


def test_a_full_disk_is_one_sentence_too(
    make_scene: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "f.gpkg")

    write_bundle(tmp_path / "m")
    monkeypatch.setattr("windhover.export.write_detections.write_detections", full)
    assert (
        main(
            monkeypatch,
            "detect",
            make_scene(),
            "--model",
            tmp_path / "m",
            "-o",
            tmp_path / "f.gpkg",
        )
        == 1
    )
    error = capsys.readouterr().err
    assert error.startswith("windhover: ")
    assert ": no space left on the disk. Free some" in error
    assert len(error.splitlines()) == 1


def test_a_mistyped_option_is_said_and_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(monkeypatch, "detect", "a.tif", "--treshold", "1") == 2
    assert "--threshold" in capsys.readouterr().err


def test_an_incomplete_run_exits_with_3(
    make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "m", threshold=0.6)

    def broken(self: Scene, row: int, col: int, height: int, width: int) -> Any:
        raise FormatError("scene.tif: cannot read rows 0 to 100.")

    monkeypatch.setattr(Scene, "read", broken)
    result = invoke("detect", make_scene(), "--model", tmp_path / "m", "-o", tmp_path / "f.gpkg")
    assert result.exit_code == cli.INCOMPLETE == 3
    assert "not searched: scene.tif: cannot read rows 0 to 100." in result.output
    assert (
        "1 block could not be read: repair the file and search again; where a server failed"
        in result.output
    )


def test_shapes_prints_a_network() -> None:
    result = invoke("shapes", "valid64", "-O", "width=4", "--option", "stem=strided", "--bands", 5)
    assert result.exit_code == 0
    assert result.output.splitlines()[1].split()[:3] == ["trunk.0", "Conv2d", "4x30x30"]


def test_a_trial_that_is_not_passed_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def checks(*given: Any, figure_path: Path) -> tuple[list[str], bool]:
        asked.append((*given, figure_path))
        return ["16 patches: not learnt"], len(asked) > 1

    monkeypatch.setattr("windhover.experiments.sanity_checks.run_sanity_checks", checks)
    result = invoke("train", "--overfit", 16)
    assert (result.exit_code, result.output) == (1, "16 patches: not learnt\n")
    assert invoke("train", "--rate-range", "-o", "r.png", "--patches", "p").exit_code == 0
    assert asked == [
        (16, False, Path("data/patches"), Path("rate_range.png")),
        (None, True, Path("p"), Path("r.png")),
    ]


def test_folds_and_tuning_take_settings_and_say_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.chdir(tmp_path)
    asked: list[Any] = []

    monkeypatch.setattr(
        "windhover.experiments.cross_validation.run_folds",
        lambda *given: asked.append(given) or CrossValidationResult(folds=(), summary={}),
    )
    monkeypatch.setattr(
        "windhover.experiments.tuning.tune",
        lambda *given, **named: asked.append((*given, named)) or Path("best.yaml"),
    )
    assert (
        invoke("kfold", "--folds", 4, "-S", "train.epochs=3", "--set", "patches.seed=5").exit_code
        == 0
    )
    params, folds, output = asked[0]
    assert (params.train.epochs, params.patches.seed, folds) == (3, 5, 4)
    assert output == Path("reports/kfold.json")
    assert (tmp_path / "reports" / "kfold.json").is_file()
    result = invoke(
        "tune", "train.momentum=0:0.9", "--trials", 7, "--study", "s", "--set", "train.epochs=2"
    )
    assert result.output == "to use it: windhover set --like best.yaml\n"
    train, _, axes, named = asked[1]
    assert (train.epochs, axes[0].name) == (2, "momentum")
    assert named == {"n_trials": 7, "name": "s"}
    assert main(monkeypatch, "tune", "train.momentum") == 1
    assert "must read train.KEY=LOW:HIGH" in capsys.readouterr().err
    assert main(monkeypatch, "kfold", "--set", "train.epoch=3") == 1
    assert capsys.readouterr().err == (
        "windhover: `train.epoch` in params.yaml is not a parameter of this stage. "
        "Did you mean `train.epochs`? Rename or remove it.\n"
    )


def test_set_writes_parameters_of_a_set_and_single_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    like = ROOT / "params/fourband.yaml"
    result = invoke("set", "train.epochs=3", "--like", like)
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "params.yaml: 4 keys changed")
    lines = (tmp_path / "params.yaml").read_text().splitlines()
    [epochs] = [line for line in lines if line.startswith("  epochs: 3 ")]
    assert epochs.endswith("# planned epochs")
    assert [line for line in lines if line.startswith("  dtype: uint16 # ")]


def test_set_without_anything_to_set_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(monkeypatch, "set") == 1
    assert "Name a parameter, such as train.epochs=20" in capsys.readouterr().err


def test_the_list_of_commands_is_whole_on_a_narrow_terminal() -> None:
    result = CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "80"})
    commands = result.output.split("Commands:")[1].strip().splitlines()
    assert len(commands) == len(cli.app.registered_commands)
    assert [line for line in commands if line.endswith("...")] == []
