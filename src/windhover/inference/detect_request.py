"""What `windhover detect` is asked for, and what of it is refused before the work. Searches
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from windhover.errors import DataError, ParameterError
from windhover.export.detections import check_suffix
from windhover.files import check_writable
from windhover.geometry.georef import local_transform
from windhover.imagery.rasters import SceneInfo, inspect_scene

LEAST_BLOCK_PX = 64
LEAST_SCALE = 0.1
SCORE_SUFFIXES = (".tif", ".tiff")
# GSDs tried where nobody knows it, as if a px were so many times finer than the model's: half as
# fine to eight times.
# Steps of a factor 1.4, because a network trained with scale jitter takes about that without loss
# (docs/results.md).
SCALES_OF_ANY_GSD = (0.5, 0.71, 1.0, 1.41, 2.0, 2.83, 4.0, 5.66, 8.0)


@dataclass(frozen=True)
class Request:
    """What `windhover detect` was asked for."""

    scenes: Sequence[str]
    model: Path
    output: Path
    scores: Path | None = None
    aoi: Path | None = None
    threshold: float | None = None
    gsd_m: float | Literal["unknown"] | None = None
    stride_px: int | None = None
    device: str = "auto"
    precision: str = "auto"
    batch_px: int | None = None
    block_px: int | None = None
    resume: bool = False
    scales: tuple[float, ...] | None = None
    bands: tuple[str, ...] | None = None
    match_radiometry: bool = False

    @property
    def searched_scales(self) -> tuple[float, ...] | None:
        """GSDs of the passes in units of the model's; None for the model's own choice."""
        return SCALES_OF_ANY_GSD if self.scales is None and self.gsd_m == "unknown" else self.scales


def parse_gsd(text: str | None) -> float | Literal["unknown"] | None:
    """Read metres per px, or the word `unknown`; None stays None.

    Raises:
        ParameterError: something else.
    """
    if text is None or text == "unknown":
        return text  # type: ignore[return-value]
    try:
        return float(text)
    except ValueError:
        raise ParameterError(
            f"--gsd must be metres per px or `unknown`, got {text!r}. Try 0.5."
        ) from None


def inspect_scenes(request: Request, model_gsd_m: float) -> list[SceneInfo]:
    """Return what each raster is; of an unknown GSD, as if its px were the model's, in a local grid
    of px.

    Raises:
        DataError: no georeference and no GSD stated, or a georeference where the GSD is said to
            be unknown.
    """
    if request.gsd_m != "unknown":
        return [inspect_scene(path, request.gsd_m) for path in request.scenes]
    infos = [inspect_scene(path, model_gsd_m) for path in request.scenes]
    for info in infos:
        if info.crs is not None:
            raise DataError(
                f"{info.path}: its georeference tells its GSD, {max(info.gsd_m):.3g} m. Search it without --gsd."
            )
    return [replace(info, transform=local_transform(1.0), gsd_known=False) for info in infos]


def parse_scales(text: str | None) -> tuple[float, ...] | None:
    """Read numbers with commas between, such as `0.7,1,1.4`; None stays None.

    Raises:
        ParameterError: something else, or a number that is no factor on a GSD.
    """
    if text is None:
        return None
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(LEAST_SCALE <= scale <= 1 / LEAST_SCALE for scale in scales):
        raise ParameterError(
            f"--scales must be numbers in 0.1..10 with commas between, got {text!r}. Try 0.7,1,1.4."
        )
    return scales


def parse_bands(text: str | None) -> tuple[str, ...] | None:
    """Read names or numbers of bands with commas between, such as `3,2,1`; None stays None.

    Raises:
        ParameterError: nothing stands between two commas.
    """
    if text is None:
        return None
    bands = tuple(part.strip() for part in text.split(","))
    if not all(bands):
        raise ParameterError(
            f"--bands must be bands with commas between, got {text!r}. Try 3,2,1 or red,green,blue."
        )
    return bands


def check_request(request: Request, infos: Sequence[SceneInfo]) -> None:
    """Refuse what cannot be done or written.

    Raises:
        ParameterError: a name, suffix, place or number that cannot be taken.
        DataError: scenes that cannot share one file.
    """
    names = [info.name for info in infos]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ParameterError(
            f"two scenes are called `{twice[0]}`. Rename one, or search them apart: rows are told apart by the name."
        )
    if request.block_px is not None and request.block_px < LEAST_BLOCK_PX:
        raise ParameterError(
            f"--block-px must be {LEAST_BLOCK_PX} or more, got {request.block_px}. Raise it."
        )
    check_suffix(request.output, all(info.crs is not None for info in infos))
    local = [info.crs is None for info in infos]
    if any(local) and not all(local):
        raise DataError(
            "scenes with and without georeference cannot share one file. Search them apart."
        )
    if request.scores is not None and request.scores.suffix:
        if len(infos) > 1:
            raise ParameterError(
                f"--scores {request.scores}: several scenes need a folder, not one file. Name a folder."
            )
        if request.scores.suffix.lower() not in SCORE_SUFFIXES:
            raise ParameterError(
                f"--scores {request.scores}: must end in .tif, or be a folder. Rename it."
            )
    _check_places(request, infos)


def _check_places(request: Request, infos: Sequence[SceneInfo]) -> None:
    """Refuse outputs that cannot be written, or would take the place of what is read."""
    scores = [path for info in infos if (path := score_path(request, info)) is not None]
    inputs = [Path(path) for path in request.scenes] + (
        [request.aoi] if request.aoi is not None else []
    )
    read = {path.resolve() for path in inputs}
    for path in (request.output, *scores):
        if path.resolve() in read:
            raise ParameterError(
                f"{path}: is read by this search and would be overwritten. Name another file."
            )
        check_writable(path)


def score_path(request: Request, info: SceneInfo) -> Path | None:
    """Return where a scene's map of scores is written, None where none is wanted."""
    if request.scores is None or request.scores.suffix:
        return request.scores
    return request.scores / f"{info.name}.tif"
