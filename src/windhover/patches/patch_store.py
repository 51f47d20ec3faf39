"""The patch store: one large array file for each split, and one index table for all.

Holds how patches are written and read back, memory-mapped; where they are cut is decided elsewhere.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.errors import FormatError, MissingFileError
from windhover.geometry.windows import WINDOW_PX
from windhover.patches.patch_summary import SUMMARY_FILE, PatchSummary
from windhover.table_record import Column, TableSchema

KINDS = ("positive", "random", "offcenter", "lookalike")
OBJECT_COLUMNS = ("dx_px", "dy_px", "w_px", "h_px")  # center from the window's, and size
# name of a folder of patches -> the stage that writes it
STAGES = {"patches": "patches", "augmented": "augment"}
INDEX = TableSchema(
    "patches",
    {
        "patch": Column("integer", least=0),
        "split": Column("text"),
        "scene": Column("text"),
        "place": Column("text"),
        "kind": Column("text"),
        "class": Column("text"),  # empty for background
        "dx_px": Column("number", nullable=True),
        "dy_px": Column("number", nullable=True),
        "w_px": Column("number", nullable=True, least=0),
        "h_px": Column("number", nullable=True, least=0),
        "left_px": Column("number"),
        "top_px": Column("number"),
        "gsd_m": Column("number", above=0),
        "origin": Column("text"),
    },
)
INDEX_COLUMNS = tuple(INDEX.columns)


@dataclass(frozen=True)
class PatchSet:
    """Patches of one split.

    Attributes:
        images: (N, H, W, C) pixels in the scenes' dtype, 0 where invalid; memory-mapped if loaded.
        index: one row a patch, in the order of `images`.
    """

    images: NDArray[Any]
    index: pd.DataFrame

    def __len__(self) -> int:
        return len(self.images)

    def read(self, first: int, stop: int) -> NDArray[Any]:
        """Return a copy (n, H, W, C) of some images.

        What was read of a mapped file does not stay in memory, however many are read in turn.
        """
        pixels = np.array(self.images[first:stop])
        mapped = getattr(self.images, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
        return pixels


class PatchWriter:
    """Appends patches to a `.npy` file whose final number is not known beforehand.

    numpy leaves room in the header for the first axis to grow; it is rewritten in place at the end.

    Attributes:
        count: patches written so far.
    """

    def __init__(self, path: Path, shape_hwc: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self.count = 0
        self._shape_hwc = shape_hwc
        self._dtype = np.dtype(dtype)
        self._stream = path.open("wb")
        self._write_header()

    def _write_header(self) -> None:
        self._stream.seek(0)
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.count, *self._shape_hwc),
        }
        np.lib.format.write_array_header_1_0(self._stream, header)

    def append(self, patches: NDArray[Any]) -> None:
        """Append (n, H, W, C) patches.

        Raises:
            FormatError: they are of another shape or dtype.
        """
        if patches.shape[1:] != self._shape_hwc or patches.dtype != self._dtype:
            raise FormatError(
                f"Patches must be {self._shape_hwc} {self._dtype}, got {patches.shape[1:]} "
                f"{patches.dtype}. Use the same bands everywhere."
            )
        self._stream.write(np.ascontiguousarray(patches).tobytes())
        self.count += len(patches)

    def __enter__(self) -> PatchWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self._write_header()
        self._stream.close()


def index_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as an index table with the right columns and types, also when there are none."""
    table = pd.DataFrame(list(rows), columns=list(INDEX_COLUMNS))
    integers = dict.fromkeys(("patch", "left_px", "top_px"), "int64")
    floats = dict.fromkeys((*OBJECT_COLUMNS, "gsd_m"), "float64")
    return table.astype(integers | floats)


def write_index(index: pd.DataFrame, folder: Path) -> None:
    """Write an index table as `index.parquet`.

    Raises:
        FormatError: it lacks a column.
    """
    path = folder / "index.parquet"
    missing = [column for column in INDEX_COLUMNS if column not in index.columns]
    if missing:
        raise FormatError(f"{path}: the index of patches lacks the column {missing[0]!r}. Add it.")
    index.to_parquet(path, index=False)


def load_patches(folder: str | Path, split: str, summary: PatchSummary | None = None) -> PatchSet:
    """Read the patches of one split; the images are memory-mapped.

    Args:
        folder: of the patches, as cut or augmented.
        split: train, val or test.
        summary: of the folder as cut, which the patches must fit; None for no such check.

    Raises:
        MissingFileError: the folder lacks the arrays or the index.
        FormatError: the arrays or the index are damaged, or do not fit each other.
    """
    folder = Path(folder)
    stage = STAGES.get(folder.name, "patches")
    again = f"Run the stage again: dvc repro -f {stage}."
    array_path = folder / f"{split}.npy"
    index_path = folder / "index.parquet"
    for path in (array_path, index_path):
        if not path.is_file():
            raise MissingFileError(
                f"{path}: no such file. Run the stage that writes it: dvc repro {stage}."
            )
    images = _load_array(array_path, again)
    index = replace(INDEX, stage=stage).read(index_path)
    index = index[index["split"] == split]
    index = index.sort_values("patch", kind="stable").reset_index(drop=True)
    if len(index) != len(images) or (index["patch"].to_numpy() != np.arange(len(images))).any():
        raise FormatError(
            f"{array_path}: holds {len(images)} patches but the index lists {len(index)}, or not "
            f"in order. {again}"
        )
    if summary is not None:
        _check_fit(images, index, summary, path=array_path, again=again)
    return PatchSet(images, index)


def _check_fit(
    images: NDArray[Any], index: pd.DataFrame, summary: PatchSummary, *, path: Path, again: str
) -> None:
    """Check that patches are what their summary says.

    Raises:
        FormatError: they have other bands, another dtype or other classes.
    """
    found = (images.shape[-1], str(images.dtype))
    wanted = (len(summary.bands), summary.dtype)
    if found != wanted:
        raise FormatError(
            f"{path}: holds patches of {found[0]} bands in {found[1]}, and the summary of the "
            f"patches says {wanted[0]} in {wanted[1]}. {again}"
        )
    strange = sorted(set(index["class"]) - {"", *summary.classes})
    if strange:
        raise FormatError(
            f"{path.with_name('index.parquet')}: names the class {strange[0]!r}, which the summary "
            f"of the patches does not. {again}"
        )


def _load_array(path: Path, again: str) -> NDArray[Any]:
    """Return the memory-mapped patches of a file, (N, S, S, C).

    Raises:
        FormatError: it is damaged or holds something else.
    """
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise FormatError(f"{path}: cannot be read ({error}). {again}") from None
    is_array = isinstance(images, np.ndarray)
    if not is_array or images.ndim != 4 or images.shape[1:3] != (WINDOW_PX, WINDOW_PX):
        found = " x ".join(str(side) for side in images.shape) if is_array else "an archive"
        raise FormatError(
            f"{path}: must hold patches of {WINDOW_PX} x {WINDOW_PX} px and some bands, got "
            f"{found}. {again}"
        )
    if images.dtype.kind not in "uif" or not images.dtype.isnative:
        raise FormatError(f"{path}: must hold numbers, got {images.dtype}. {again}")
    patches: NDArray[Any] = images
    return patches


def masks_file(split: str) -> str:
    """Return the name of the array of the class maps of a split's patches."""
    return f"{split}_masks.npy"


def load_masks(folder: str | Path, split: str, n_patches: int) -> NDArray[np.uint8] | None:
    """Read the class maps of the patches of one split, (N, S, S, 1); None where none are kept.

    Args:
        folder: of the patches.
        split: train, val or test.
        n_patches: of the split.

    Raises:
        FormatError: the array is damaged, or does not fit the patches.
    """
    path = Path(folder) / masks_file(split)
    if not path.is_file():
        return None
    again = f"Run the stage again: dvc repro -f {STAGES.get(Path(folder).name, 'patches')}."
    masks = _load_array(path, again)
    if masks.dtype != np.uint8 or masks.shape != (n_patches, WINDOW_PX, WINDOW_PX, 1):
        raise FormatError(
            f"{path}: must hold class maps of {n_patches} patches, got {masks.dtype} "
            f"{masks.shape}. {again}"
        )
    return masks


def read_summary(folder: str | Path) -> PatchSummary:
    """Read the summary of a folder of patches.

    Raises:
        MissingFileError: no such file.
        FormatError: it is not JSON, or a key is missing or has a wrong value.
    """
    return PatchSummary.load(Path(folder) / SUMMARY_FILE)
