"""What `windhover init` measured and proposed, as `setup.json` of the project keeps it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from windhover.errors import FormatError
from windhover.files import read_json, write_json
from windhover.json_record import describe_fault
from windhover.project.measurements import Measurements
from windhover.project.proposal import Proposal
from windhover.project.request import ProjectRequest

SETUP_FILE = "setup.json"
AGAIN = "Make the project again with `windhover init`."


class ProjectSetup(BaseModel):
    """A project's measurements and proposal.

    Attributes:
        version: of the library that wrote it.
        request: what was asked for; None in records of earlier versions.
        measurements: None for the built-in world.
        proposal: what was proposed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    request: ProjectRequest | None = None
    measurements: Measurements | None
    proposal: Proposal

    def save(self, path: Path) -> None:
        """Write the record as JSON, atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> ProjectSetup:
        """Read a record.

        Raises:
            MissingFileError: no such file.
            FormatError: it is not such a record.
        """
        content = read_json(path, missing=AGAIN, broken=AGAIN)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise FormatError(f"{path}: {describe_fault(error)} {AGAIN}") from None
