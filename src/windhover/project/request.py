"""What a person asks of `windhover init`."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from windhover.errors import MissingFileError, ParameterError

COMPLETE = "complete"
POSITIVE_ONLY = "positive-only"
DEFAULT_MINUTES = 30.0


def absolute_path(path: Path) -> Path:
    """Return an absolute path without `..`; links in it stay as they are."""
    return Path(os.path.abspath(path))


@dataclass(frozen=True)
class ProjectRequest:
    """What a person asks for.

    Attributes:
        project: folder to write; new, or empty.
        scenes: folder of rasters, or one raster; None for the built-in world.
        labels: label file or folder; None searches next to the scenes.
        labelled: `complete`, `positive-only`, or a vector file of areas; None assumes the first.
        gsd_m: of pictures without georeference.
        minutes: wanted time to train.
        like: name of a parameter set; None for none.
        class_column: of the labels; None searches for one.
        groups: CSV that gives the place of each raster.
        group_column: its column; None for `place`.
        mask_values: value of class rasters -> class; None where labels are objects.
        mask_ignore: values of which the class is not known.
    """

    project: Path
    scenes: Path | None = None
    labels: Path | None = None
    labelled: str | None = None
    gsd_m: float | None = None
    minutes: float = DEFAULT_MINUTES
    like: str | None = None
    class_column: str | None = None
    groups: Path | None = None
    group_column: str | None = None
    mask_values: dict[int, str] | None = None
    mask_ignore: tuple[int, ...] = ()

    @property
    def is_coverage(self) -> bool:
        """Whether labels are class rasters: ground that is covered, without objects."""
        return self.mask_values is not None

    def with_absolute_paths(self) -> ProjectRequest:
        """Return the request with paths that do not depend on the current folder."""
        changes: dict[str, Any] = {"project": absolute_path(self.project)}
        for name in ("scenes", "labels", "groups"):
            path = getattr(self, name)
            if path is not None:
                changes[name] = absolute_path(path)
        if self.areas is not None:
            changes["labelled"] = str(absolute_path(self.areas))
        return replace(self, **changes)

    @property
    def areas(self) -> Path | None:
        """File of areas that `labelled` names; None for none."""
        if self.labelled in (None, COMPLETE, POSITIVE_ONLY):
            return None
        return Path(str(self.labelled))

    def check(self) -> None:
        """Check what does not need the data.

        Raises:
            MissingFileError: a file or folder that is named does not exist.
            ParameterError: an option is out of its range, or stands without the scenes.
        """
        if not 0 < self.minutes < math.inf:
            raise ParameterError(
                f"--minutes must be above 0 and finite, got {self.minutes:g}. Say how long "
                "to train."
            )
        if self.gsd_m is not None and not 0 < self.gsd_m <= 1000:
            raise ParameterError(
                f"--gsd must be above 0 and at most 1000 m, got {self.gsd_m:g}. Say the metres "
                "per pixel."
            )
        if self.scenes is None:
            self._check_without_scenes()
            return
        self._check_masks()
        named = {
            "--scenes": self.scenes,
            "--labels": self.labels,
            "--labelled": self.areas,
            "--groups": self.groups,
        }
        for option, path in named.items():
            if path is not None and not path.exists():
                meant = ""
                if option == "--labelled":
                    meant = f" Write {COMPLETE}, {POSITIVE_ONLY}, or the file of your areas."
                raise MissingFileError(f"{option} {path}: no such file or folder.{meant}")

    def _check_masks(self) -> None:
        if self.mask_ignore and not self.is_coverage:
            raise ParameterError(
                "--mask-ignore names values of class rasters, and --mask-values is not there. Name "
                "the classes too: --mask-values 0=background,1=cloud."
            )
        if self.is_coverage and self.labelled == POSITIVE_ONLY:
            raise ParameterError(
                f"--labelled {POSITIVE_ONLY} is for objects: a class raster labels every px. "
                "Name the values that are not known: --mask-ignore 255."
            )

    def _check_without_scenes(self) -> None:
        given = {
            "--labels": self.labels,
            "--labelled": self.labelled,
            "--gsd": self.gsd_m,
            "--groups": self.groups,
            "--mask-values": self.mask_values,
        }
        for option, value in given.items():
            if value is not None:
                raise ParameterError(
                    f"{option} says something of scenes, and none are named. Add --scenes FOLDER, "
                    "or leave it out for the built-in world."
                )
