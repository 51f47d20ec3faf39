"""The files that every project begins from: dvc.yaml, params.yaml, the scripts, parameter sets.

A wheel carries the repository's one copy of them; in a checkout they are the repository's own.
"""

from __future__ import annotations

from pathlib import Path

from windhover.errors import MissingFileError, ParameterError

CARRIED = Path(__file__).parent / "carried"
# names by which a person asks for a set, where they differ from the file's
SET_NAMES = {"ships": "sen2ships"}


def carried_file(name: str) -> Path:
    """Return a file or folder of the repository's root, such as `dvc.yaml` or `pipeline`.

    Raises:
        MissingFileError: the installation lacks it.
    """
    checkout = Path(__file__).parents[3]
    for root in (CARRIED, checkout):
        if (root / name).exists():
            return root / name
    raise MissingFileError(
        f"{CARRIED / name}: the installation lacks it. Install windhover-eo again from a wheel."
    )


def parameter_set(name: str) -> Path:
    """Return the file of a parameter set.

    Raises:
        ParameterError: there is none of that name.
    """
    folder = carried_file("params")
    path = folder / f"{SET_NAMES.get(name, name)}.yaml"
    if not path.is_file():
        known = sorted({one.stem for one in folder.glob("*.yaml")} | set(SET_NAMES))
        raise ParameterError(f"--like {name}: no such set. There are {', '.join(known)}.")
    return path
