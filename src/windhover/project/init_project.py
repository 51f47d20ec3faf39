"""The flow of `windhover init`: scenes and labels measured, a project proposed and written.

What it writes runs by `dvc repro` as it is. Scenes and labels stay where they are.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from windhover.errors import MissingExtraError, ParameterError, WindhoverError
from windhover.geometry.windows import WINDOW_PX
from windhover.optional_dependencies import DISTRIBUTION
from windhover.params.options_in_errors import options_in_errors
from windhover.params.parameter_sets import read_parameter_set
from windhover.program_end import describe_refusal
from windhover.progress import counted
from windhover.project.carried_files import carried_file, parameter_set
from windhover.project.check_project import check_project
from windhover.project.installed import installed_version
from windhover.project.measure import MeasuredData, measure
from windhover.project.measure_coverage import check_labels_are_no_masks, measure_coverage
from windhover.project.measurements import Measurements
from windhover.project.plan_split import SplitPlan
from windhover.project.proposal import Finding, Proposal, ProposedValue
from windhover.project.propose_coverage import propose_coverage
from windhover.project.propose_project import BLOCKS_FILE, fold_minutes, propose_project
from windhover.project.readme import readme_text
from windhover.project.repository import dvc_command, init_repository
from windhover.project.request import ProjectRequest, absolute_path
from windhover.project.setup_record import SETUP_FILE, ProjectSetup
from windhover.project.write_dvc_yaml import ProjectInputs, dvc_yaml_text
from windhover.project.write_params import params_text

Report = Callable[[str], None]  # takes one line for the terminal

GITIGNORE = """\
__pycache__/
/mlflow.db*
/mlruns/
/mlartifacts/
/.windhover/
/check.html
/reports/*.png
/reports/*.html
/reports/*.parquet
"""
UNITS = {"objects": "objects", "coverage": f"windows of {WINDOW_PX} px with a class"}
SHAPEFILE_PARTS = (".shp", ".shx", ".dbf", ".prj", ".cpg")
# key of the section scenes -> option that decides it, for errors before there is a params.yaml
OPTION_OF_KEY = {
    "raw": "--scenes",
    "rasters": "--scenes",
    "native_gsd_m": "--gsd",
    "labels": "--labels",
    "masks": "--labels",
    "mask_values": "--mask-values",
    "mask_ignore": "--mask-ignore",
    "class_column": "--class-column",
    "areas": "--labelled",
    "groups": "--groups",
    "group_column": "--group-column",
}
# keys of a parameter set that what was measured or asked for decides
KEPT_FROM_DATA = (
    "scenes.raw",
    "scenes.rasters",
    "scenes.exclude",
    "scenes.stack",
    "scenes.native_gsd_m",
    "scenes.labels",
    "scenes.masks",
    "scenes.mask_values",
    "scenes.mask_ignore",
    "scenes.groups",
    "scenes.group_column",
    "scenes.fixed_splits",
    "scenes.spatial_block_m",
    "scenes.blocks",
    "scenes.areas",
    "train.max_minutes",
    "train.epochs",
)


def init_project(request: ProjectRequest, report: Report) -> Proposal:
    """Write a project; report what was measured, proposed and assumed.

    Args:
        request: what the person asks for.
        report: takes the lines for the terminal.

    Raises:
        ParameterError: the folder is not empty, or holds or is inside the scenes.
        MissingExtraError: DVC is not installed.
        WindhoverError: what `measure` raises.
    """
    request.check()
    _check_folder(request)
    _check_dvc()
    data = None
    plan = None
    proposal = _built_in_proposal(request)
    with options_in_errors(OPTION_OF_KEY):
        if request.is_coverage:
            data = measure_coverage(request)
            proposal, plan = propose_coverage(data, request)
        elif request.scenes is not None:
            check_labels_are_no_masks(request)
            data = measure(request)
            proposal, plan = propose_project(data, request)
    if request.like is not None:
        proposal = with_parameter_set(proposal, request.like)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "project"
        _write_files(folder, request, proposal, data=data, plan=plan)
        request.project.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.iterdir()):
            shutil.move(path, request.project / path.name)
    init_repository(request.project)
    for line in report_lines(proposal, data):
        report(line)
    if data is not None:
        report(check_line(request.project))
    folder_name = shlex.quote(str(request.project))
    report(f"project -> {request.project}; now: cd {folder_name} && {dvc_command()} repro")
    return proposal


def check_line(project: Path) -> str:
    """Write the check page of a new project; return a line that names it, or why there is none."""
    try:
        path = check_project(project)
    except WindhoverError as error:
        return f"check.html could not be made, and the stage scenes would stop: {error.sentence()}"
    return f"look at it before you train -> {path}"


def _check_folder(request: ProjectRequest) -> None:
    """Check that the project's folder is new or empty, and apart from the scenes.

    Raises:
        ParameterError: it is not, or no folder can be made there.
    """
    folder = request.project
    if os.path.isfile(folder):  # which raises nothing for a name that is too long
        raise ParameterError(f"{folder}: is a file. Name a folder for the project.")
    _check_can_be_made(folder)
    if folder.is_dir() and any(folder.iterdir()):
        first = min(entry.name for entry in folder.iterdir())
        raise ParameterError(
            f"{folder}: holds {first} already, and a project is written into a folder that is new "
            "or empty. Name another one."
        )
    scenes = request.scenes
    if scenes is not None and folder.resolve().is_relative_to(scenes.resolve()):
        raise ParameterError(
            f"{folder}: lies inside the folder of the scenes, which would then hold what is made "
            "of them. Put the project beside it."
        )


def _check_can_be_made(folder: Path) -> None:
    """Check that a folder can be made and written, by making it; nothing stays.

    Raises:
        ParameterError: it cannot.
    """
    made: list[Path] = []
    try:
        missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        for path in reversed(missing):
            path.mkdir()
            made.append(path)
        probe = Path(mkdtemp(dir=folder))
        made.append(probe)
    except OSError as error:
        error.filename = str(folder)
        raise ParameterError(f"no project can be made: {describe_refusal(error)}") from None
    finally:
        with suppress(OSError):  # another program may have written into it by now
            for path in reversed(made):
                path.rmdir()


def _check_dvc() -> None:
    """Check that the stages can run.

    Raises:
        MissingExtraError: DVC is not installed.
    """
    from importlib.util import find_spec

    if find_spec("dvc") is None:
        raise MissingExtraError(
            f"running the pipeline needs dvc: pip install '{DISTRIBUTION}[pipeline]'"
        )


def _built_in_proposal(request: ProjectRequest) -> Proposal:
    """Return the proposal of a project without scenes of its own."""
    minutes = ProposedValue(
        name="train.max_minutes", value=request.minutes, reason=f"--minutes {request.minutes:g}"
    )
    finding = Finding(
        kind="assumed", sentence="no --scenes: the built-in world is made and learned"
    )
    return Proposal(
        values=(minutes,),
        findings=(finding,),
        split_kind="built-in",
        objects_by_split={},
        minutes=request.minutes + 5,
    )


def with_parameter_set(proposal: Proposal, name: str) -> Proposal:
    """Return a proposal that begins from a parameter set: its values win over proposed ones.

    Where the data are, how they are divided and how long to train stays.
    """
    path = parameter_set(name)
    values = []
    for key, value in read_parameter_set(path):
        if key not in KEPT_FROM_DATA:
            values.append(ProposedValue(name=key, value=value, reason=f"--like {name}"))
    return proposal.model_copy(update={"values": (*proposal.values, *values)})


def _write_files(
    folder: Path,
    request: ProjectRequest,
    proposal: Proposal,
    *,
    data: MeasuredData | None,
    plan: SplitPlan | None,
) -> None:
    """Write the files of a project into a new folder."""
    folder.mkdir()
    scripts = shutil.ignore_patterns("__pycache__", "simulate.py" if data else "")
    shutil.copytree(carried_file("pipeline"), folder / "pipeline", ignore=scripts)
    if plan is not None and plan.blocks is not None:
        plan.blocks.save(folder / BLOCKS_FILE)
    inputs = project_inputs(request, data, plan)
    texts = {
        "params.yaml": params_text(
            carried_file("params.yaml"), proposal.values, drop=["simulate"] if data else []
        ),
        "dvc.yaml": dvc_yaml_text(carried_file("dvc.yaml"), inputs, sys.executable),
        ".gitignore": GITIGNORE,
        "README.md": readme_text(request, proposal),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    record = None if data is None else data.record
    setup = ProjectSetup(
        version=installed_version(),
        request=request.with_absolute_paths(),
        measurements=record,
        proposal=proposal,
    )
    setup.save(folder / SETUP_FILE)


def project_inputs(
    request: ProjectRequest, data: MeasuredData | None, plan: SplitPlan | None
) -> ProjectInputs:
    """Return what the stages depend on."""
    if data is None or plan is None or request.scenes is None:
        return ProjectInputs()
    raw = absolute_path(request.scenes)
    labels = []
    if plan.kind == "blocks":
        labels.append(BLOCKS_FILE)
    for path in (request.labels, request.areas, request.groups):
        if path is not None and not absolute_path(path).is_relative_to(raw):
            labels += [str(part) for part in _parts(absolute_path(path))]
    minutes = fold_minutes(plan, request) if plan.n_folds else 0.0
    return ProjectInputs((str(raw),), tuple(labels), plan.n_folds, minutes)


def _parts(path: Path) -> list[Path]:
    """Return a file with those that belong to it."""
    if path.suffix.lower() != ".shp":
        return [path]
    return [
        path.with_suffix(suffix) for suffix in SHAPEFILE_PARTS if path.with_suffix(suffix).exists()
    ]


def report_lines(proposal: Proposal, data: MeasuredData | None) -> list[str]:
    """Return what was measured and proposed, for the terminal."""
    lines: list[str] = []
    if data is not None:
        lines.append(measured_line(data))
    lines += [
        f"  {one.name}: {_short(one.value)}  ({one.reason})"
        for one in proposal.values
        if one.value is not None and not one.reason.startswith("--")
    ]
    for finding in proposal.findings:
        command = f" [{finding.command}]" if finding.command else ""
        lines.append(f"{finding.kind}: {finding.sentence}{command}")
    if data is not None and proposal.objects_by_split:
        counts = ", ".join(f"{name} {count}" for name, count in proposal.objects_by_split.items())
        lines.append(f"{UNITS[data.record.task]}: {counts}")
    return lines


def measured_line(data: MeasuredData) -> str:
    """Return in one line what scenes and labels are."""
    record = data.record
    n_places = len(record.objects_by_place)
    classes = ", ".join(f"{count} {name}" for name, count in record.classes.items())
    if record.task == "coverage":
        classes = f"{UNITS[record.task]}: {classes}"
    line = (
        f"{counted(len(record.scenes), 'scene')} of {counted(n_places, 'place')}, "
        f"{record.megapixels:.3g} Mpx, "
        f"{_gsd_text(record)}, {record.dtype}, {', '.join(record.bands)}; {classes}"
    )
    if record.length_m is not None:
        line += f", {record.length_m.p10:.3g} to {record.length_m.p95:.3g} m long"
    return line


def _gsd_text(record: Measurements) -> str:
    """Return the GSD of the scenes, smallest and largest where they differ."""
    sizes = [scene.gsd_m for scene in record.scenes]
    if max(sizes) <= 1.01 * min(sizes):
        return f"{record.native_gsd_m:g} m"
    return f"{min(sizes):.3g} to {max(sizes):.3g} m"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
