"""Files of a folder, those in linked folders included; loops and dead links are reported."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class WalkedFolder:
    """Files of a folder and of all folders in it.

    Attributes:
        files: sorted; paths lead through links as they are found, hidden ones are left out.
        notes: a sentence on each link that leads nowhere, or to a folder that is read anyway.
    """

    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def walk_folder(folder: Path) -> WalkedFolder:
    """Return the files of a folder and of the folders in it, through links too, each folder once.

    Folders that are there come before links to them, so that a file has its own path.
    """
    walked = WalkedFolder()
    entered = {os.path.realpath(folder)}
    waiting = [folder]  # links to folders, entered when all real folders have been
    while waiting:
        links: list[Path] = []
        _walk_real_folders(waiting.pop(0), walked, entered, links=links)
        for link in sorted(links):
            if os.path.realpath(link) not in entered:
                waiting.append(link)
                entered.add(os.path.realpath(link))
            else:
                walked.notes.append(
                    f"{link}: is a link to a folder that is read anyway; it is not read again"
                )
    walked.files.sort()
    return walked


def _walk_real_folders(
    top: Path, walked: WalkedFolder, entered: set[str], *, links: list[Path]
) -> None:
    """Add the files of a folder and its own folders; links to other folders go to `links`."""
    for parent, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in list(folders):
            path = Path(parent, name)
            if path.is_symlink():
                folders.remove(name)
                links.append(path)
            elif os.path.realpath(path) in entered and path != top:
                folders.remove(name)  # a link has led here already
            else:
                entered.add(os.path.realpath(path))
        for name in sorted(files):
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if path.is_file():
                walked.files.append(path)
            elif path.is_symlink():
                walked.notes.append(f"{path}: is a link to {os.readlink(path)}, which is not there")
