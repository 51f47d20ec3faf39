"""What is proposed for a project: values of parameters with their reasons, and findings.

Plain records, written as JSON with the measurements; rendered into comments of `params.yaml` and
into pages.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

FindingKind = Literal["assumed", "left out", "split", "limit", "time"]


class ProposedValue(BaseModel):
    """One parameter.

    Attributes:
        name: dotted, such as `train.large_patches.count`.
        value: in JSON types.
        reason: why, as part of a sentence.
        evidence: the rule in docs/decisions/0028 that it follows; empty where the value is what was
            measured or asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: Any
    reason: str
    evidence: str = ""


class Finding(BaseModel):
    """One thing that a person should know before the training.

    Attributes:
        kind: what it is about.
        sentence: what was found or assumed.
        command: what changes it; empty for nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FindingKind
    sentence: str
    command: str = ""


class Proposal(BaseModel):
    """What is proposed.

    Attributes:
        values: in the order of params.yaml's sections; later ones win.
        findings: in the order in which they are reported.
        split_kind: places, blocks, folds or none.
        objects_by_split: split or block -> objects.
        minutes: expected until the map is there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[ProposedValue, ...]
    findings: tuple[Finding, ...]
    split_kind: Literal["places", "blocks", "folds", "none", "built-in"]
    objects_by_split: dict[str, int]
    minutes: float

    def value_of(self, name: str) -> Any:
        """Return the proposed value of a parameter; None where none is proposed."""
        found = [one.value for one in self.values if one.name == name]
        return found[-1] if found else None
