"""A part: the one file that a task leaves, with the candidates of its blocks before any merging.

Candidates are kept as in the journal of a search, every bit of them, so that collecting gives what
one process would have given. Each page of the file has a checksum; equal results give equal bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from windhover.batch.divide_tasks import TaskRow
from windhover.errors import FormatError
from windhover.files import atomic_file
from windhover.inference.search_results import FailedBlock

FORMAT = 1
KEY = b"windhover"  # of the header in the file's metadata
SCHEMA = pa.schema(
    [
        ("scene", pa.int32()),
        ("position", pa.int32()),
        ("windows_searched", pa.int64()),
        ("windows_skipped", pa.int64()),
        ("km2", pa.float64()),
        ("mpx", pa.float64()),
        ("candidates", pa.large_binary()),
    ]
)


class BlockRow(NamedTuple):
    """A searched block.

    Attributes:
        scene: number of the scene in the plan.
        position: of the block among those of all passes of the scene.
        windows_searched: with at least one valid px.
        windows_skipped: without one.
        km2: ground of the searched windows; 0 in all passes but the first.
        mpx: px of the block, in millions.
        candidates: in px of the scene, as `Candidates.to_bytes` writes them.
    """

    scene: int
    position: int
    windows_searched: int
    windows_skipped: int
    km2: float
    mpx: float
    candidates: bytes


class SceneFailure(BaseModel):
    """What of one scene could not be read.

    Attributes:
        scene: number of the scene in the plan.
        reason: why nothing of it could be read; empty where only blocks are missing.
        blocks: that could not be read, as dictionaries of `FailedBlock`.
        missing: parts of a virtual raster whose sources are missing, likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scene: int
    reason: str = ""
    blocks: tuple[dict[str, str | int], ...] = ()
    missing: tuple[dict[str, str | int], ...] = ()

    def failed_blocks(self) -> list[FailedBlock]:
        """Return the blocks that could not be read."""
        return [FailedBlock(**block) for block in self.blocks]  # type: ignore[arg-type]

    def missing_parts(self) -> list[FailedBlock]:
        """Return the parts whose sources are missing."""
        return [FailedBlock(**block) for block in self.missing]  # type: ignore[arg-type]


class ClearCount(BaseModel):
    """Px of the task's share of one scene, by the mask of the search."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scene: int
    valid: int
    clear: int
    known: int


class PartHeader(BaseModel):
    """The header of a part.

    Attributes:
        format: of the file.
        plan: digest of the plan.
        task: its number.
        searched_by: runtime, device and number type of the network.
        failures: scenes of which something could not be read.
        clear: of each scene, where the search has a mask.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    plan: str
    task: int
    searched_by: str
    failures: tuple[SceneFailure, ...] = ()
    clear: tuple[ClearCount, ...] = ()


@dataclass(frozen=True)
class Part:
    """What one task found.

    Attributes:
        header: of the file.
        blocks: that were searched, by scene and position.
    """

    header: PartHeader
    blocks: tuple[BlockRow, ...]

    @property
    def is_complete(self) -> bool:
        """Whether everything could be read."""
        return not self.header.failures

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        columns = list(zip(*self.blocks, strict=True)) or [()] * len(SCHEMA)
        arrays = [
            pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)
        ]
        metadata = {KEY: self.header.model_dump_json().encode()}
        table = pa.Table.from_arrays(arrays, schema=SCHEMA.with_metadata(metadata))
        stream = io.BytesIO()
        pq.write_table(
            table,
            stream,
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )
        return stream.getvalue()

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        save_bytes(self.to_bytes(), path)

    @classmethod
    def from_bytes(cls, content: bytes, path: str | Path) -> Part:
        """Read the content of a file.

        Args:
            content: of the file.
            path: for the message of an error.

        Raises:
            FormatError: it is no part, or damaged.
        """
        return cls._read(pa.BufferReader(content), path)

    @classmethod
    def load(cls, path: Path) -> Part:
        """Read a part.

        Raises:
            FormatError: it is no part, or damaged.
            OSError: it cannot be read at all.
        """
        return cls._read(path, path)

    @classmethod
    def _read(cls, source: pa.NativeFile | Path, path: str | Path) -> Part:
        try:
            with pq.ParquetFile(source, page_checksum_verification=True) as file:
                table = file.read()
            header = _header(table.schema)
            if table.schema.remove_metadata() != SCHEMA:
                raise ValueError("other columns")
        except (pa.ArrowException, ValueError, OSError, KeyError) as error:
            raise _damaged(path, error) from None
        columns = [column.to_pylist() for column in table.columns]
        return cls(header, tuple(map(BlockRow, *columns)))

    def covers(self, rows: Sequence[TaskRow]) -> bool:
        """Return whether every block of a task is here, or is counted as not to be read."""
        found = {(block.scene, block.position) for block in self.blocks}
        lost = {failure.scene: failure for failure in self.header.failures}
        for row in rows:
            absent = sum(
                (row.scene, position) not in found for position in range(row.first, row.stop)
            )
            failure = lost.get(row.scene)
            if absent and (failure is None or not (failure.reason or failure.blocks)):
                return False
        return True


def load_header(path: Path) -> PartHeader:
    """Read the header of a part, its blocks left out.

    Raises:
        FormatError: it is no part, or damaged.
    """
    try:
        return _header(pq.read_schema(path))
    except (pa.ArrowException, ValueError, OSError, KeyError) as error:
        raise _damaged(path, error) from None


def _header(schema: pa.Schema) -> PartHeader:
    """Return the header in a file's metadata; ValueError or KeyError where there is none."""
    try:
        header = PartHeader.model_validate_json((schema.metadata or {})[KEY])
    except ValidationError:
        raise ValueError("its header is of another version") from None
    if header.format != FORMAT:
        raise ValueError("it is of another version")
    return header


def _damaged(path: str | Path, error: Exception) -> FormatError:
    """Return the error of a file that is no part."""
    reason = " ".join(str(error).split())[:100].rstrip(". ")
    return FormatError(f"{path}: is no part that can be read ({reason}). Run its task again.")


def save_bytes(content: bytes, path: Path) -> None:
    """Write the content of a part, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
