"""patches: windows cut from the catalog's scenes and labelled, negatives chosen by kind."""

from windhover.dataset.catalog import load_catalog
from windhover.files import atomic_folder
from windhover.params.patches import PatchesParams
from windhover.patches.cut_patches import cut_patches, summary_lines
from windhover.run_stage import run_stage


def main(params: PatchesParams) -> None:
    """Write data/patches."""
    catalog = load_catalog("data/scenes")
    with atomic_folder("data/patches") as folder:
        summary = cut_patches(catalog, params, folder)
    print("\n".join(summary_lines(summary)))


if __name__ == "__main__":
    run_stage("patches", PatchesParams, main)
