"""The fingerprint of a training, by which its checkpoints are found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from windhover.files import sha256_file
from windhover.params.train import TrainParams
from windhover.training.training_data import TrainingFolders


def training_fingerprint(params: TrainParams, folders: TrainingFolders) -> str:
    """Return 16 digits of a hash over code, data and parameters.

    A checkpoint of others is never resumed.
    """
    digest = hashlib.sha256(json.dumps(params.model_dump(mode="json"), sort_keys=True).encode())
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    for path in [*_model_files(params), *_data_files(folders)]:
        digest.update(sha256_file(path).encode())
    return digest.hexdigest()[:16]


def _model_files(params: TrainParams) -> Iterator[Path]:
    """Yield the files of models and weights that a training begins from.

    One that is missing is reported later, where it is read.
    """
    for model in (params.start_from, params.teacher):
        if model is not None:
            yield from (path for path in sorted(Path(model).glob("*")) if path.is_file())
    weights = Path(str(params.options.get("weights")))
    if weights.is_file():
        yield weights


def _data_files(folders: TrainingFolders) -> Iterator[Path]:
    """Yield the files of the earlier stages."""
    yield from sorted(Path(folders.scenes).glob("*.parquet"))
    yield from sorted(Path(folders.scenes).rglob("*.tif"))  # class maps
    yield from sorted(Path(folders.patches).glob("*"))
    yield from sorted(Path(folders.augmented).glob("*"))
