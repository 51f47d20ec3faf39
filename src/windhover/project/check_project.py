"""The flow of `windhover check`: check.html of a project, as its parameters are now.

Builds the catalog as the stage `scenes` does, in a temporary folder; changes nothing else.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from windhover.dataset.block_plan import BlockPlan
from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.data_page import data_page
from windhover.dataset.data_statistics import with_statistics
from windhover.dataset.write_catalog_report import summary_lines
from windhover.errors import DataError, MissingFileError
from windhover.files import atomic_file
from windhover.params import load_params, read_yaml
from windhover.params.scenes import ScenesParams
from windhover.project.check_page import check_page
from windhover.project.installed import installed_version
from windhover.project.proposal import Proposal
from windhover.project.propose_project import BLOCKS_FILE
from windhover.project.setup_record import SETUP_FILE, ProjectSetup

CHECK_FILE = "check.html"
NO_SETUP = Proposal(values=(), findings=(), split_kind="places", objects_by_split={}, minutes=0.0)


def check_project(folder: Path) -> Path:
    """Write the check page of a project; return its path.

    Args:
        folder: of the project. Relative paths in its parameters begin there, except those of
            scenes and labels, which begin in the current folder.

    Raises:
        MissingFileError: there is no project, or its scenes are not there.
        DataError: the scenes hold no raster.
        WindhoverError: what the stage `scenes` raises.
    """
    if not (folder / "params.yaml").is_file():
        raise MissingFileError(
            f"{folder.resolve()}: has no params.yaml. Go to the folder of a project, or make one "
            "with `windhover init`."
        )
    params = load_params("scenes", ScenesParams, folder)
    folds = None
    if params.blocks is None and (folder / BLOCKS_FILE).is_file():
        folds = BlockPlan.load(folder / BLOCKS_FILE)
    if params.blocks is not None:
        params = params.model_copy(update={"blocks": str(folder / params.blocks)})
    setup = _setup_of(folder)
    with TemporaryDirectory() as temporary:
        catalog = build_catalog(params, Path(temporary), Path(temporary))
        if catalog.scenes.empty:
            raise DataError(
                f"{params.raw}: holds patches and no raster, so there is no ground to show."
            )
        if catalog.is_coverage:
            catalog = with_statistics(catalog)
            page = data_page(catalog, summary_lines(catalog))
        else:
            page = check_page(
                catalog,
                setup,
                name=folder.resolve().name,
                params=read_yaml(folder / "params.yaml"),
                folds=folds,
            )
    path = folder / CHECK_FILE
    with atomic_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return path


def _setup_of(folder: Path) -> ProjectSetup:
    """Return what `windhover init` recorded; nothing for a project made by hand."""
    path = folder / SETUP_FILE
    if path.is_file():
        return ProjectSetup.load(path)
    return ProjectSetup(version=installed_version(), measurements=None, proposal=NO_SETUP)
