"""patches: windows cut from the catalogue's scenes and labelled, negatives chosen by kind."""

from windhover.catalogue.tables import load_catalogue
from windhover.files import atomic_folder
from windhover.params.patches import PatchesParams
from windhover.patches.cutting import cut_patches, summary_lines
from windhover.stages import run_stage


def main(params: PatchesParams) -> None:
    """Write data/patches."""
    catalogue = load_catalogue("data/scenes")
    with atomic_folder("data/patches") as folder:
        summary = cut_patches(catalogue, params, folder)
    print("\n".join(summary_lines(summary)))


if __name__ == "__main__":
    run_stage("patches", PatchesParams, main)
