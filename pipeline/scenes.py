"""scenes: raw tiles and labels -> the catalogue, checked and divided by place."""

from pathlib import Path

from windhover.catalogue.cataloguing import build_catalogue, summary_lines, write_report
from windhover.catalogue.tables import write_catalogue
from windhover.files import atomic_folder
from windhover.params.scenes import ScenesParams
from windhover.stages import run_stage

FOLDER = Path("data/scenes")


def main(params: ScenesParams) -> None:
    """Write data/scenes."""
    with atomic_folder(FOLDER) as folder:
        catalogue = build_catalogue(params, folder, FOLDER)
        write_catalogue(catalogue, folder)
        write_report(catalogue, folder, FOLDER)
    print("\n".join(summary_lines(catalogue)))


if __name__ == "__main__":
    run_stage("scenes", ScenesParams, main)
