"""What is installed, as a file that the stages of a project depend on: another version runs them
anew.

    python -m windhover.project.installed installed.json
"""

from __future__ import annotations

import hashlib
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from windhover.files import write_json
from windhover.optional_dependencies import DISTRIBUTION


def installed_version() -> str:
    """Return the version of the installed library; "unknown" where it runs from a folder."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def installed_code() -> dict[str, str]:
    """Return the version of the library, and a digest of its code."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return {"version": installed_version(), "code": digest.hexdigest()[:16]}


if __name__ == "__main__":
    write_json(Path(sys.argv[1]), installed_code())
