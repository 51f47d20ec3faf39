"""The plan of blocks that `windhover init` writes: where each scene is cut, and the split of each
part.

A plan cuts where it loses fewest objects, across adjoining tiles alike; `spatial_blocks` cuts
evenly. Holds the record and its checks; `project.plan_blocks` makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from windhover.errors import DataError, FormatError, ParameterError
from windhover.files import read_json, write_json
from windhover.geometry.windows import WINDOW_PX, Window
from windhover.imagery.rasters import SceneInfo
from windhover.json_record import describe_fault
from windhover.params.allowed_values import SplitName

PLAN_AGAIN = "Plan it again with `windhover init`, or set `scenes.blocks` to null."


class BlockWindow(BaseModel):
    """One part of a scene.

    Attributes:
        block: number of the block; parts of several tiles may be one block.
        split: of the block.
        col, row, width, height: native px of the scene.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    block: int = Field(ge=0)
    split: SplitName
    col: int = Field(ge=0)
    row: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)

    @property
    def window(self) -> Window:
        """The part as a window."""
        return Window(self.row, self.col, self.height, self.width)


class BlockPlan(BaseModel):
    """Where scenes are cut.

    Attributes:
        guard_m: distance between parts of two blocks on the ground, m.
        scenes: scene -> its parts; none where the whole scene is in a guard strip. Scenes that
            are not named stay whole.
        splits: scene -> split of scenes that stay whole inside a block.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    guard_m: float = Field(ge=0)
    scenes: dict[str, tuple[BlockWindow, ...]]
    splits: dict[str, SplitName] = {}

    def save(self, path: Path) -> None:
        """Write the plan as JSON, atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> BlockPlan:
        """Read a plan.

        Raises:
            MissingFileError: no such file.
            FormatError: it is not JSON, or not a plan.
        """
        content = read_json(
            path,
            missing=f"`scenes.blocks` names it. {PLAN_AGAIN}",
            broken=PLAN_AGAIN,
        )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise FormatError(f"{path}: {describe_fault(error)} {PLAN_AGAIN}") from None

    def check(self, infos: Sequence[SceneInfo], gsd_m: float) -> None:
        """Check the plan against the scenes that it cuts.

        Args:
            infos: all scenes.
            gsd_m: of training.

        Raises:
            ParameterError: its guard is narrower than a window of training.
            DataError: a part reaches beyond its scene.
        """
        window_m = WINDOW_PX * gsd_m
        if self.guard_m < window_m * (1 - 1e-6):
            raise ParameterError(
                f"`scenes.blocks` was planned with a guard of {self.guard_m:g} m, but a window is "
                f"{window_m:g} m at `scenes.gsd_m`: two splits could share ground. Plan it again: "
                f"`windhover set scenes.gsd_m={gsd_m:g}`."
            )
        for info in infos:
            for part in self.scenes.get(info.name, ()):
                right = part.col + part.width
                bottom = part.row + part.height
                if right > info.width_px or bottom > info.height_px:
                    raise DataError(
                        f"{info.path}: `scenes.blocks` cuts it up to px {right}, {bottom}, but it "
                        f"has {info.width_px} x {info.height_px} px. {PLAN_AGAIN}"
                    )

    def windows_of(self, scene: str) -> dict[str, Window] | None:
        """Return suffix -> window of a scene's parts; None for a scene that stays whole."""
        if scene not in self.scenes:
            return None
        return {f"b{part.block}": part.window for part in self.scenes[scene]}

    def split_of(self, name: str, separator: str) -> str:
        """Return the split of a scene or of a part of one, "" where the plan has none.

        Args:
            name: of the scene or part.
            separator: between the name of a scene and its part's.
        """
        scene, _, suffix = name.partition(separator)
        for part in self.scenes.get(scene, ()):
            if suffix == f"b{part.block}":
                return part.split
        return self.splits.get(name, "")
