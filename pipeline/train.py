"""train: augmented patches and mined negatives -> a detector, logged to MLflow."""

from windhover.params.train import TrainParams
from windhover.run_stage import run_stage
from windhover.training.train import train_detector
from windhover.training.training_data import TrainingFolders


def main(params: TrainParams) -> None:
    """Write data/train."""
    folders = TrainingFolders("data/scenes", "data/patches", "data/augmented", "data/train")
    for line in train_detector(params, folders).lines():
        print(line)


if __name__ == "__main__":
    run_stage("train", TrainParams, main)
