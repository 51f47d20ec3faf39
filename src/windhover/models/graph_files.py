"""The graphs of a model's network: one ONNX file for each stride and number type.

`detect` runs them by runtimes that need no torch. An index names the weights that the graphs were
made of and the content of each file, so that a changed graph is never run.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from windhover.errors import FormatError
from windhover.files import atomic_folder, read_json, sha256_file, write_json

GRAPHS = "graphs"  # folder inside a model's
INDEX = "index.json"
DAMAGED_ADVICE = "Copy the model folder whole, or train again."


@dataclass(frozen=True)
class ScoreGraphs:
    """The graphs of a model folder.

    Attributes:
        folder: that holds them.
        digests: SHA-256 of each file by its name.
    """

    folder: Path
    digests: Mapping[str, str]

    def has(self, stride_px: int, precision: str) -> bool:
        """Return whether there is a graph for a stride and a number type (`fp32`, `int8`)."""
        return graph_name(stride_px, precision) in self.digests

    def path(self, stride_px: int, precision: str) -> Path:
        """Return the file of a graph, its content checked.

        Raises:
            FormatError: the file is missing or was changed.
        """
        name = graph_name(stride_px, precision)
        path = self.folder / name
        if not path.is_file() or sha256_file(path) != self.digests[name]:
            raise FormatError(f"{path}: missing, or not the graph of {INDEX}. {DAMAGED_ADVICE}")
        return path


def graph_name(stride_px: int, precision: str) -> str:
    """Return the name of a graph's file."""
    return f"scores_stride{stride_px}_{precision}.onnx"


def write_graphs(folder: Path, weights_key: str, graphs: Mapping[str, bytes]) -> None:
    """Write graphs into a model folder, in place of older ones.

    Args:
        folder: of the model.
        weights_key: content key of the weights that they were made of.
        graphs: content by file name.
    """
    with atomic_folder(folder / GRAPHS) as temporary:
        for name, content in graphs.items():
            (temporary / name).write_bytes(content)
        digests = {name: sha256_file(temporary / name) for name in sorted(graphs)}
        write_json(temporary / INDEX, {"weights": weights_key, "files": digests})


def read_graphs(folder: Path, weights_key: str) -> ScoreGraphs | None:
    """Return the graphs of a model folder, None where it has none.

    Raises:
        FormatError: the index is damaged, or the graphs are of other weights.
    """
    path = folder / GRAPHS / INDEX
    if not path.is_file():
        return None
    index = read_json(path, DAMAGED_ADVICE, DAMAGED_ADVICE)
    is_index = isinstance(index, dict) and set(index) == {"weights", "files"}
    if not is_index or not isinstance(index["files"], dict):
        raise FormatError(f"{path}: must hold `weights` and `files`. {DAMAGED_ADVICE}")
    if index["weights"] != weights_key:
        raise FormatError(
            f"{path}: the graphs are of other weights ({index['weights']}, and the model's are "
            f"{weights_key}). {DAMAGED_ADVICE}"
        )
    digests = {str(name): str(digest) for name, digest in index["files"].items()}
    return ScoreGraphs(folder / GRAPHS, digests)


def copy_graphs(graphs: ScoreGraphs | None, folder: Path) -> None:
    """Copy graphs into another model folder; without any, older ones are removed."""
    target = folder / GRAPHS
    if graphs is None:
        shutil.rmtree(target, ignore_errors=True)
    elif graphs.folder.resolve() != target.resolve():
        with atomic_folder(target) as temporary:
            shutil.copytree(graphs.folder, temporary, dirs_exist_ok=True)
