"""scenes: raw tiles and labels -> the catalog, checked and divided by place."""

from pathlib import Path

from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.catalog import write_catalog
from windhover.dataset.write_catalog_report import summary_lines, write_report
from windhover.files import atomic_folder
from windhover.params.scenes import ScenesParams
from windhover.run_stage import run_stage

FOLDER = Path("data/scenes")


def main(params: ScenesParams) -> None:
    """Write data/scenes."""
    with atomic_folder(FOLDER) as folder:
        catalog = build_catalog(params, folder, FOLDER)
        write_catalog(catalog, folder)
        catalog = write_report(catalog, folder, FOLDER)
    print("\n".join(summary_lines(catalog)))


if __name__ == "__main__":
    run_stage("scenes", ScenesParams, main)
