"""The kept list of scenes that every new model must pass: `acceptance.yaml`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from windhover.errors import FormatError
from windhover.json_record import describe_fault
from windhover.params import read_yaml

Point = Annotated[tuple[float, float], Field(description="column and row, px as delivered")]


class Count(BaseModel):
    """How many objects of a class are to be found.

    Attributes:
        count: wanted.
        tolerance: by which it may be missed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    count: int = Field(ge=0)
    tolerance: int = Field(default=0, ge=0)


class AcceptanceScene(BaseModel):
    """One scene of the list.

    Attributes:
        name: for messages and pictures.
        raster: path of it, from the working folder.
        gsd_m: of a raster without georeference.
        area: left, top, right, bottom, px as delivered; None for all of it.
        must_find: points, column and row in px, at each of which an object must be found.
        must_not_find: points at which none may be found.
        within_m: distance from a point to the center of a detection that is at it.
        counts: class -> how many are to be found in the area.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, pattern=r"^[\w .-]+$")
    raster: str = Field(min_length=1)
    gsd_m: float | None = Field(default=None, gt=0)
    area: tuple[float, float, float, float] | None = None
    must_find: tuple[Point, ...] = ()
    must_not_find: tuple[Point, ...] = ()
    within_m: float = Field(default=10.0, gt=0)
    counts: dict[str, Count] = {}

    @model_validator(mode="after")
    def _check(self) -> AcceptanceScene:
        if not (self.must_find or self.must_not_find or self.counts):
            raise ValueError("one of must_find, must_not_find and counts must ask for something")
        if self.area is not None:
            left, top, right, bottom = self.area
            if not (left < right and top < bottom):
                raise ValueError("area must be left, top, right, bottom with left < right")
        return self


class AcceptanceList(BaseModel):
    """What `acceptance.yaml` holds.

    Attributes:
        scenes: one or more, each of a name of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scenes: tuple[AcceptanceScene, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_names(self) -> AcceptanceList:
        names = [scene.name for scene in self.scenes]
        if len(set(names)) < len(names):
            raise ValueError("two scenes have one name")
        return self

    @classmethod
    def read(cls, path: Path) -> AcceptanceList:
        """Read a list.

        Raises:
            ParameterError: it is no YAML.
            FormatError: it is no file, or a key is missing, unknown or has a wrong value.
        """
        if not path.is_file():
            raise FormatError(
                f"{path}: is a folder, or a link to nothing, and the acceptance list is a YAML "
                "file. Restore it, or remove what is in its place."
            )
        content = read_yaml(path)
        try:
            return cls.model_validate_json(json.dumps(content, default=str))
        except ValidationError as error:
            raise FormatError(f"{path}: {describe_fault(error)} Correct it.") from None
        except TypeError:  # a list as a key
            raise FormatError(f"{path}: holds a key that is no name. Correct it.") from None
