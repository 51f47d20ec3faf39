"""Rules of the project that a machine can check: what stages declare, what they import, what tests
and files may hold.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from project import ROOT
from update_dvc_deps import build_graph, library_deps, stage_script
from windhover.params import StageParams, load_params, read_yaml
from write_params import STAGES as ORDER
from write_params import params_model, params_text

STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
ROOMS = sorted((ROOT / "src/windhover").glob("*/__init__.py"))
DATA_STAGES = ["simulate", "scenes", "patches", "augment", "export"]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return build_graph()


def test_the_stages_stand_in_the_order_of_the_flow() -> None:
    assert tuple(STAGES) == ORDER
    assert [stage_script(STAGES[stage]) for stage in ORDER] == [
        ROOT / "pipeline" / f"{stage}.py" for stage in ORDER
    ]


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_declares_its_section_of_the_parameters(stage: str) -> None:
    assert STAGES[stage]["params"] == [stage]


def all_models(model: type[StageParams]) -> list[type[StageParams]]:
    """Return a model and the models of its fields."""
    inner = [field.annotation for field in model.model_fields.values()]
    nested = [one for one in inner if isinstance(one, type) and issubclass(one, StageParams)]
    return [model, *nested]


@pytest.mark.parametrize("stage", ORDER)
def test_every_parameter_has_a_default_and_a_description(stage: str) -> None:
    for model in all_models(params_model(stage)):
        required = [name for name, field in model.model_fields.items() if field.is_required()]
        bare = [name for name, field in model.model_fields.items() if not field.description]
        assert (model.__name__, required, bare) == (model.__name__, [], [])


def test_params_yaml_is_written_from_the_models() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert text == params_text(), "run `make params`"
    assert max(len(line) for line in text.splitlines()) <= 140


@pytest.mark.parametrize("stage", ORDER)
def test_the_committed_parameters_are_the_defaults(stage: str) -> None:
    model = params_model(stage)
    assert load_params(stage, model, ROOT) == model()


@pytest.mark.parametrize("stage", ORDER)
def test_deps_hold_the_rooms_of_the_import_closure(stage: str, graph: grimp.ImportGraph) -> None:
    declared = sorted(dep for dep in STAGES[stage]["deps"] if dep.startswith("src/"))
    assert declared == library_deps(stage_script(STAGES[stage]), graph), "run `make deps`"


def test_dvc_yaml_is_a_table_of_contents() -> None:
    lines = (ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 350


@pytest.mark.parametrize(
    "path",
    [
        "src/windhover/export",
        "src/windhover/report",
        "src/windhover/evaluation",
        "src/windhover/detection",
        "src/windhover/rendering/html_page.py",
        "src/windhover/rendering/templates",
    ],
)
def test_an_edit_of_the_map_or_of_a_page_trains_nothing_again(path: str) -> None:
    assert (ROOT / path).exists()
    for dep in STAGES["train"]["deps"]:
        assert not (ROOT / path).is_relative_to(ROOT / dep), dep


def test_training_depends_on_the_files_that_draw_its_own_pictures_alone() -> None:
    room = "src/windhover/rendering/"
    drawn_by = [dep.removeprefix(room) for dep in STAGES["train"]["deps"] if dep.startswith(room)]
    assert drawn_by == ["contact_sheet.py", "images.py", "plot_style.py"]


def test_no_stage_writes_into_anothers_outs() -> None:
    outs = [
        Path(out if isinstance(out, str) else next(iter(out)))
        for stage in STAGES.values()
        for out in stage["outs"]
    ]
    assert len(outs) == len(set(outs))
    assert [(a, b) for a in outs for b in outs if a != b and a.is_relative_to(b)] == []


@pytest.mark.parametrize("stage", ORDER)
def test_scripts_are_short_and_import_no_other_script(stage: str) -> None:
    source = stage_script(STAGES[stage]).read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 60
    imported = {
        node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)
    }
    assert all(
        module and module.startswith(("windhover", "pathlib", "__future__")) for module in imported
    ), imported


def test_data_stages_load_neither_torch_nor_mlflow() -> None:
    # albumentations loads torch itself where it is installed, so it is kept out of the way
    scripts = [str(stage_script(STAGES[stage])) for stage in DATA_STAGES]
    code = (
        "import sys, runpy, types\n"
        "sys.modules['albumentations'] = types.ModuleType('albumentations')\n"
        "loaded_by = {}\n"
        f"for script in {scripts!r}:\n"
        "    runpy.run_path(script, run_name='imported')\n"
        "    for name in {'torch', 'mlflow', 'lightning'} & set(sys.modules):\n"
        "        loaded_by.setdefault(name, script)\n"
        "print(loaded_by)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "{}"


def test_layers_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_every_raises_has_a_match() -> None:
    faults = []
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.raises"
            if called and not any(keyword.arg == "match" for keyword in node.keywords):
                faults.append(f"{path.name}:{node.lineno}")
    assert faults == []


def test_a_room_has_a_docstring_and_reexports_nothing() -> None:
    trees = {room.parent.name: ast.parse(room.read_text(encoding="utf-8")) for room in ROOMS}
    with_code = {"labels", "params"}  # they have readers and models of their own to offer
    assert {name for name, tree in trees.items() if len(tree.body) > 1} <= with_code
    assert [name for name, tree in trees.items() if not ast.get_docstring(tree)] == []


def test_tests_stand_in_the_rooms_of_the_library() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")} - {ROOT / "tests"}
    packages = {room.parent for room in (ROOT / "src/windhover").rglob("__init__.py")}
    known = {package.relative_to(ROOT / "src/windhover") for package in packages}
    assert {folder.relative_to(ROOT / "tests") for folder in folders} <= known


def test_every_module_begins_with_what_it_holds() -> None:
    missing = [
        path.name
        for path in (ROOT / "src").rglob("*.py")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert missing == []


def test_pins_carry_no_address() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines
    assert [
        line
        for line in lines
        if not re.match(r"^[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==[A-Za-z0-9.+!-]+( ; .+)?$", line)
    ] == []


def test_help_comes_before_the_heavy_libraries() -> None:
    code = (
        "import sys; sys.argv = ['windhover', '--help']\n"
        "from windhover.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'mlflow', 'rasterio', 'geopandas', 'pandas', 'lightning', "
        "'albumentations', 'matplotlib'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.rstrip().endswith("HEAVY []")
