"""A plan on disk: `plan.json`, the table of scenes and the table of tasks.

What was edited after it was made, and what another version of Windhover made, is not read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from windhover import __version__
from windhover.batch.divide_tasks import TaskRow
from windhover.batch.scene_row import PlannedScene
from windhover.errors import FormatError, ParameterError
from windhover.files import read_json, sha256_file, write_json
from windhover.json_record import describe_fault

PLAN = "plan.json"
SCENES = "scenes.parquet"
TASKS = "tasks.parquet"
PARTS = "parts"
FORMAT = 1
AGAIN = "Run windhover plan again."

SCENE_SCHEMA = pa.schema(
    [
        ("scene", pa.int32()),
        ("name", pa.string()),
        ("raster", pa.string()),
        ("n_blocks", pa.int32()),
        ("mpx", pa.float64()),
        ("info", pa.string()),
        ("files", pa.string()),
        ("area", pa.binary()),
        ("stack", pa.binary()),
        ("unsearched", pa.string()),
        ("is_outside", pa.bool_()),
    ]
)
TASK_SCHEMA = pa.schema(
    [
        ("task", pa.int32()),
        ("scene", pa.int32()),
        ("first", pa.int32()),
        ("stop", pa.int32()),
        ("mpx", pa.float64()),
        ("km2", pa.float64()),
        ("minutes", pa.float64()),
        ("row_px", pa.int32()),
        ("col_px", pa.int32()),
        ("height_px", pa.int32()),
        ("width_px", pa.int32()),
    ]
)


class PlannedModel(BaseModel):
    """The model of a plan.

    Attributes:
        folder: where it was when the plan was made.
        name: of the model, from its card.
        files: SHA-256 of each of its files, by its path in the folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    name: str
    files: dict[str, str]


class PlannedSearch(BaseModel):
    """How every scene of a plan is searched; the fields are those of `DetectRequest`.

    Attributes:
        thresholds: score to reach, by class.
        settings: stride, scales and the rules of merging, as they result from the options.
        mask: of unusable ground, absolute; None without one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    thresholds: dict[str, float]
    settings: dict[str, Any]
    stride_px: int | None
    scales: tuple[float, ...] | None
    bands: tuple[str, ...] | None
    match_radiometry: bool
    runtime: str
    device: str
    inference_precision: str
    batch_px: int | None
    block_px: int | None
    mask: str | None
    mask_values: tuple[str, ...] | None


class PlanRecord(BaseModel):
    """What `plan.json` holds.

    Attributes:
        format: of the plan.
        windhover: version that made it, and that must run it.
        versions: of the libraries, for the record.
        model: that searches.
        search: how.
        scenes: searched scenes.
        scenes_unsearched: that cannot be opened or are outside the area.
        tasks: from 0 to one less.
        mpx: of all passes over all scenes, in millions.
        km2: ground to be searched, without that of unknown GSD.
        hours: of one worker, estimated.
        mpx_per_second: of one worker, from which that is estimated.
        speed: how it is known.
        notes: sentences on the scenes.
        tables: SHA-256 of the two tables.
        digest: of all the above.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    windhover: str
    versions: dict[str, str]
    model: PlannedModel
    search: PlannedSearch
    scenes: int
    scenes_unsearched: int
    tasks: int
    mpx: float
    km2: float
    hours: float
    mpx_per_second: float
    speed: str
    notes: tuple[str, ...]
    tables: dict[str, str]
    digest: str = ""

    def with_digest(self) -> PlanRecord:
        """Return the record with the digest of its content."""
        return self.model_copy(update={"digest": self.content_digest()})

    def content_digest(self) -> str:
        """Return the digest of all but the digest."""
        content = json.dumps(self.model_dump(mode="json", exclude={"digest"}), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """A plan that was read.

    Attributes:
        folder: of its files and parts.
        record: of `plan.json`.
        scenes: all of the plan, unsearched ones included, by number.
        tasks: rows in the order of the tasks.
    """

    folder: Path
    record: PlanRecord
    scenes: SceneTable
    tasks: tuple[TaskRow, ...]

    @classmethod
    def load(cls, folder: str | Path) -> Plan:
        """Read a plan.

        Raises:
            MissingFileError: no such folder, or a file of it is not there.
            FormatError: a file is damaged or was changed after the plan was made.
            ParameterError: another version of Windhover made it.
        """
        folder = Path(folder)
        record = _load_record(folder / PLAN)
        for name in (SCENES, TASKS):
            path = folder / name
            if not path.is_file() or sha256_file(path) != record.tables[name]:
                raise FormatError(
                    f"{path}: is not the table that belongs to {folder / PLAN}. {AGAIN}"
                )
        scenes = SceneTable(pq.read_table(folder / SCENES))
        rows = pq.read_table(folder / TASKS).to_pylist()
        return cls(folder, record, scenes, tuple(TaskRow(**row) for row in rows))

    @cached_property
    def _stretches(self) -> list[tuple[int, int]]:
        """First row and one past the last of each task."""
        stretches: list[tuple[int, int]] = []
        first = 0
        for number, row in enumerate(self.tasks, 1):
            if number == len(self.tasks) or self.tasks[number].task != row.task:
                stretches.append((first, number))
                first = number
        return stretches

    def rows_of(self, task: int) -> Sequence[TaskRow]:
        """Return the rows of a task.

        Raises:
            ParameterError: the plan has no such task.
        """
        if not 0 <= task < self.record.tasks:
            raise ParameterError(
                f"{self.folder}: has the tasks 0 to {self.record.tasks - 1}, got {task}. Name one "
                "of them."
            )
        first, stop = self._stretches[task]
        return self.tasks[first:stop]

    def mpx_of(self, task: int) -> float:
        """Return the px that a task searches, in millions."""
        return sum(row.mpx for row in self.rows_of(task))

    def part_path(self, task: int) -> Path:
        """Return the file that a task leaves."""
        return self.folder / PARTS / f"{task:05d}.parquet"


class SceneTable:
    """The scenes of a plan, each made when it is asked for: there may be millions."""

    def __init__(self, table: pa.Table) -> None:
        """Take the table."""
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, number: int) -> PlannedScene:
        rows: list[dict[str, Any]] = self._table.slice(number, 1).to_pylist()
        return PlannedScene.of_row(rows[0])

    def unsearched(self) -> list[PlannedScene]:
        """Return the scenes of which nothing is searched."""
        numbers = [
            number
            for number, n_blocks in enumerate(self._table["n_blocks"].to_pylist())
            if not n_blocks
        ]
        return [self[number] for number in numbers]


def write_tables(
    folder: Path, scenes: Iterable[Mapping[str, Any]], tasks: Sequence[TaskRow]
) -> dict[str, str]:
    """Write the two tables of a plan; return their SHA-256 by name.

    Args:
        folder: that is there.
        scenes: rows of the table of scenes.
        tasks: rows of the table of tasks.
    """
    pq.write_table(pa.Table.from_pylist(list(scenes), SCENE_SCHEMA), folder / SCENES)
    rows = [row._asdict() for row in tasks]
    pq.write_table(pa.Table.from_pylist(rows, TASK_SCHEMA), folder / TASKS)
    return {name: sha256_file(folder / name) for name in (SCENES, TASKS)}


def save_record(record: PlanRecord, folder: Path) -> None:
    """Write `plan.json`."""
    write_json(folder / PLAN, record.model_dump(mode="json"))


def _load_record(path: Path) -> PlanRecord:
    """Read `plan.json` and check that it is as it was written."""
    content = read_json(path, missing="Name the folder that windhover plan wrote.", broken=AGAIN)
    try:
        record = PlanRecord.model_validate(content)
    except ValidationError as error:
        raise FormatError(f"{path}: {describe_fault(error)} {AGAIN}") from None
    if record.windhover != __version__:
        raise ParameterError(
            f"{path}: was made by Windhover {record.windhover}, and this is {__version__}, which "
            f"may find other objects. Install that version, or plan again."
        )
    if record.format != FORMAT or record.digest != record.content_digest():
        raise FormatError(f"{path}: was changed after the plan was made. {AGAIN}")
    return record
