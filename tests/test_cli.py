"""The command line: quick help, one sentence for what a user can mend, exit codes that tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from planted import write_bundle
from windhover import __version__, cli
from windhover.errors import FormatError
from windhover.scenes import Scene


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
        "from windhover.cli import main\n"
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
    assert lines[2].endswith(f"objects in 1 scenes -> {tmp_path / 'f.parquet'}")
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


def test_a_mistyped_option_is_said_and_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(monkeypatch, "detect", "a.tif", "--treshold", "1") == 2
    assert "--threshold" in capsys.readouterr().err


def test_an_incomplete_run_exits_with_3(make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "m", threshold=0.6)

    def broken(self: Scene, row: int, col: int, height: int, width: int) -> Any:
        raise FormatError("scene.tif: cannot read rows 0 to 100.")

    monkeypatch.setattr(Scene, "read", broken)
    result = invoke("detect", make_scene(), "--model", tmp_path / "m", "-o", tmp_path / "f.gpkg")
    assert result.exit_code == cli.INCOMPLETE == 3
    assert "not searched: scene.tif: cannot read rows 0 to 100." in result.output
    assert "run again with --resume" in result.output
