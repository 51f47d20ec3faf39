"""augment: training patches -> augmented copies, seeded by sample, and a contact sheet."""

from pathlib import Path

from windhover.params.augment import AugmentParams
from windhover.patches.augment_patches import augment_training_patches
from windhover.run_stage import run_stage


def main(params: AugmentParams) -> None:
    """Write data/augmented."""
    print(augment_training_patches(Path("data/patches"), Path("data/augmented"), params))


if __name__ == "__main__":
    run_stage("augment", AugmentParams, main)
