"""The files of a model that a search reads: their hashes, and whether they are still the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from windhover.batch.plan import PlannedModel
from windhover.errors import MissingFileError, ParameterError
from windhover.files import sha256_file
from windhover.models.bundle import CALIBRATION, OLD_SECOND_STAGE, OPERATING_POINT, SECOND_STAGE
from windhover.models.card import CARD
from windhover.models.graph_files import GRAPHS
from windhover.models.weights_file import OLD_WEIGHTS, WEIGHTS

READ = (
    CARD,
    WEIGHTS,
    OLD_WEIGHTS,
    CALIBRATION,
    OPERATING_POINT,
    GRAPHS,
    SECOND_STAGE,
    OLD_SECOND_STAGE,
)


def model_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a model's folder that a search reads, in order of their names."""
    for name in sorted(READ):
        path = folder / name
        if path.is_file():
            yield path
        yield from sorted(inner for inner in path.rglob("*") if inner.is_file())


def model_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a model, by its path in the folder."""
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in model_files(folder)}


def check_model(planned: PlannedModel, folder: Path) -> None:
    """Raise if a folder does not hold the model of a plan.

    Raises:
        MissingFileError: no such folder.
        ParameterError: a file of it is another one than in the plan.
    """
    if not folder.is_dir():
        raise MissingFileError(
            f"{folder}: no such model folder. Name where the model of the plan is now by --model."
        )
    hashes = model_hashes(folder)
    for name in sorted({*planned.files, *hashes}):
        if planned.files.get(name) != hashes.get(name):
            raise ParameterError(
                f"{folder / name}: is not that of the plan's model {planned.name}, so results "
                "would not belong together. Restore the model, or plan again."
            )
