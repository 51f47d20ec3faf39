"""scenes: raw tiles and labels -> the catalogue, checked and divided by place."""

from windhover.catalogue import save_catalogue
from windhover.cataloguing import build_catalogue, summary_lines
from windhover.params.scenes import ScenesParams
from windhover.stages import run_stage


def main(params: ScenesParams) -> None:
    """Write data/scenes."""
    catalogue = build_catalogue(params)
    save_catalogue(catalogue, "data/scenes")
    print("\n".join(summary_lines(catalogue)))


if __name__ == "__main__":
    run_stage("scenes", ScenesParams, main)
