"""A scene of a plan as a row of its table: all that a worker needs to open it anywhere.

Numbers go through JSON, which gives back every bit of them. Opens no raster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import shapely
from affine import Affine
from shapely.geometry.base import BaseGeometry

from windhover.detection.stac_scenes import open_stack
from windhover.imagery.rasters import SceneInfo

NOT_STORED = ("notes", "files")


@dataclass(frozen=True)
class PlannedScene:
    """A scene as it was when the plan was made.

    Attributes:
        number: in the plan.
        info: of its raster, the path as it was given.
        opened_path: under which a worker opens it: absolute, or an address.
        n_blocks: of all passes; 0 where nothing of it is searched.
        mpx: of all passes, in millions.
        files: name, size and time of change of each file that it is read from.
        area: to be searched, in the scene's system; None for all of it.
        stack: content of a virtual raster of bands in files of their own; empty for others.
        unsearched: why nothing of it is searched, in words; empty for others.
        is_outside: whether that is because no part of it is in the area of interest.
    """

    number: int
    info: SceneInfo
    opened_path: str
    n_blocks: int
    mpx: float
    files: tuple[tuple[Any, ...], ...] = ()
    area: BaseGeometry | None = None
    stack: bytes = b""
    unsearched: str = ""
    is_outside: bool = False

    @property
    def opened_info(self) -> SceneInfo:
        """The description under the path that is opened."""
        return replace(self.info, path=self.opened_path)

    def stacked(self) -> AbstractContextManager[object]:
        """Return a context in which a stack of bands can be opened."""
        if not self.stack:
            return nullcontext()
        stack: AbstractContextManager[object] = open_stack(self.stack, Path(self.opened_path).name)
        return stack

    def to_row(self) -> dict[str, Any]:
        """Return the values of the columns of the table of scenes."""
        return {
            "scene": self.number,
            "name": self.info.name,
            "raster": self.opened_path,
            "n_blocks": self.n_blocks,
            "mpx": self.mpx,
            "info": json.dumps(_info_values(self.info)),
            "files": json.dumps(self.files),
            "area": None if self.area is None else shapely.to_wkb(self.area),
            "stack": self.stack,
            "unsearched": self.unsearched,
            "is_outside": self.is_outside,
        }

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> PlannedScene:
        """Return the scene of a row."""
        return cls(
            number=row["scene"],
            info=_info_of(json.loads(row["info"])),
            opened_path=row["raster"],
            n_blocks=row["n_blocks"],
            mpx=row["mpx"],
            files=tuple(tuple(state) for state in json.loads(row["files"])),
            area=None if row["area"] is None else shapely.from_wkb(row["area"]),
            stack=row["stack"],
            unsearched=row["unsearched"],
            is_outside=row["is_outside"],
        )


def _info_values(info: SceneInfo) -> dict[str, Any]:
    """Return a description in JSON types."""
    values = {
        field.name: getattr(info, field.name)
        for field in fields(info)
        if field.name not in NOT_STORED
    }
    return values | {"transform": tuple(info.transform)[:6]}


def _info_of(values: dict[str, Any]) -> SceneInfo:
    """Return the description that `_info_values` gave."""
    tuples: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return SceneInfo(**tuples | {"transform": Affine(*values["transform"])})
