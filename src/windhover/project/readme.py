"""The README of a project: what it was made of, and the few commands that it needs."""

from __future__ import annotations

from windhover.project.proposal import Proposal
from windhover.project.request import ProjectRequest, absolute_path
from windhover.rendering.text import capitalized

README = """\
# {name}

Made by `windhover init` of {source}.

    dvc repro            # catalog, patches, training, evaluation, search, map
    windhover summary    # how good it is, how long it took, where the files are

| file | what |
|---|---|
| `data/map/` | what was found, for any GIS |
| `reports/index.html` | how good the model is |
| `data/scenes/report.html` | scenes and labels as they were read |
| `data/model/` | the model, for `windhover detect` |
| `params.yaml` | every parameter; proposed values carry their reasons |
| `setup.json` | what was measured and proposed |

## What was assumed

{findings}
"""


def readme_text(request: ProjectRequest, proposal: Proposal) -> str:
    """Return the text of README.md."""
    source = "the built-in world"
    if request.scenes is not None:
        source = f"`{absolute_path(request.scenes)}`"
    findings = []
    for finding in proposal.findings:
        command = f" Change it: `{finding.command}`." if finding.command else ""
        sentence = capitalized(finding.sentence)
        findings.append(f"- {sentence}.{command}")
    return README.format(
        name=request.project.resolve().name, source=source, findings="\n".join(findings)
    )
