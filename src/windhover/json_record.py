"""Typed records of a stage's JSON file: written and read whole, every fault in one sentence.

Holds the base class alone; the rooms declare the records.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from windhover.errors import FormatError
from windhover.files import read_json, write_json

SHOWN_CHARS = 60  # of a wrong value that an error message shows


class JsonRecord(BaseModel):
    """A record that a stage writes as one JSON file: frozen, finite numbers, no unknown key.

    Attributes:
        stage: the stage that writes the file; errors ask the user to run it again.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True
    )

    stage: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file in JSON types, without top-level keys that are None."""
        content = self.model_dump(mode="json", by_alias=True)
        return {key: value for key, value in content.items() if value is not None}

    def save(self, path: str | Path) -> None:
        """Write the record as indented JSON, atomically."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a record from its file.

        Raises:
            MissingFileError: no such file.
            FormatError: it is not JSON, or a key is missing, unknown or has a wrong value.
        """
        path = Path(path)
        command = f"dvc repro -f {cls.stage}"
        content = read_json(
            path,
            missing=f"Run the {cls.stage} stage first: dvc repro {cls.stage}.",
            broken=f"Run the {cls.stage} stage again: {command}.",
        )
        try:
            return cls.model_validate_json(json.dumps(content))
        except ValidationError as error:
            raise FormatError(
                f"{path}: {describe_fault(error)} Run the {cls.stage} stage again: {command}."
            ) from None


def describe_fault(error: ValidationError) -> str:
    """Return the first fault of a record as a sentence with key, rule and value."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "missing":
        return f"`{key}` is missing."
    rule = first["msg"].removeprefix("Value error, ")
    value = json.dumps(first["input"], default=str)[:SHOWN_CHARS]
    return f"`{key}`: {rule}, got {value}."
