"""What `windhover detect` is asked for: options read and checked before the work.

Searches nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from windhover.dataset.discover import raster_paths
from windhover.errors import DataError, FormatError, MissingFileError, ParameterError
from windhover.export.map_files import check_suffix, is_own_map
from windhover.export.score_map import is_own_score_map
from windhover.files import check_output, file_stem
from windhover.geometry.georef import local_transform
from windhover.imagery.raster_georeference import MAX_GSD_M, MIN_GSD_M
from windhover.imagery.rasters import SceneInfo, inspect_scene

MIN_BLOCK_PX = 64
DEFAULT_OUTPUT = Path("detections.gpkg")
MIN_SCALE = 0.1
SCORE_MAP_SUFFIXES = (".tif", ".tiff")
# GSDs tried where it is unknown, as if a px were so many times finer than the model's: half as fine
# to eight times. Steps of a factor 1.4, because a network trained with scale jitter takes about
# that without loss (docs/results.md).
SCALES_OF_UNKNOWN_GSD = (0.5, 0.71, 1.0, 1.41, 2.0, 2.83, 4.0, 5.66, 8.0)

StatedGsd: TypeAlias = float | Literal["unknown"] | None


@dataclass(frozen=True)
class DetectRequest:
    """What `windhover detect` was asked for.

    Attributes:
        scenes: rasters to search.
        model: folder of the model.
        output: file of detections to write.
        scores: map of scores to write; a folder for several scenes.
        aoi: vector file of polygons to search inside.
        threshold: score to reach; the model's own by default.
        gsd_m: metres per px of images without georeference; `unknown` tries many.
        stride_px: px between windows; the model's own by default.
        runtime: `auto`, `torch`, `onnx` or `openvino`.
        device: `auto`, `cpu` or `cuda`.
        inference_precision: as for `Detector`.
        batch_px: px scored at once.
        block_px: side of the blocks read at once.
        resume: whether to go on where a killed run stopped.
        scales: GSDs of the passes in units of the model's.
        bands: to take for the model's, names or numbers.
        match_radiometry: whether other sensors' bands are brought to the training's moments.
        mask: of clouds and the like: a raster, or a folder with one for each scene.
        mask_values: that stand for unusable ground, whole numbers or names of classes.
    """

    scenes: Sequence[str]
    model: Path
    output: Path
    scores: Path | None = None
    aoi: Path | None = None
    threshold: float | None = None
    gsd_m: StatedGsd = None
    stride_px: int | None = None
    runtime: str = "auto"
    device: str = "auto"
    inference_precision: str = "auto"
    batch_px: int | None = None
    block_px: int | None = None
    resume: bool = False
    scales: tuple[float, ...] | None = None
    bands: tuple[str, ...] | None = None
    match_radiometry: bool = False
    mask: Path | None = None
    mask_values: tuple[str, ...] | None = None

    @property
    def searched_scales(self) -> tuple[float, ...] | None:
        """GSDs of the passes in units of the model's; None for the model's own choice."""
        if self.scales is None and self.gsd_m == "unknown":
            return SCALES_OF_UNKNOWN_GSD
        return self.scales


def parse_gsd(text: str | None) -> StatedGsd:
    """Read metres per px, or the word `unknown`; None stays None.

    Raises:
        ParameterError: anything else, or metres that no px has.
    """
    if text is None or text == "unknown":
        return text  # type: ignore[return-value]
    try:
        gsd_m = float(text)
    except ValueError:
        raise ParameterError(
            f"--gsd must be metres per px or `unknown`, got {text!r}. Try 0.5."
        ) from None
    if not MIN_GSD_M <= gsd_m <= MAX_GSD_M:
        raise ParameterError(
            f"--gsd must be in {MIN_GSD_M:g}..{MAX_GSD_M:g} m per px, got {text}. Try 0.5."
        )
    return gsd_m


def parse_scales(text: str | None) -> tuple[float, ...] | None:
    """Read numbers with commas between, such as `0.7,1,1.4`; None stays None.

    Raises:
        ParameterError: anything else, or a number that is no factor on a GSD.
    """
    if text is None:
        return None
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(MIN_SCALE <= scale <= 1 / MIN_SCALE for scale in scales):
        raise ParameterError(
            f"--scales must be numbers in 0.1..10 with commas between, got {text!r}. Try 0.7,1,1.4."
        )
    return scales


def parse_bands(text: str | None) -> tuple[str, ...] | None:
    """Read names or numbers of bands with commas between, such as `3,2,1`; None stays None.

    Raises:
        ParameterError: nothing stands between two commas.
    """
    return _parse_list(text, "--bands must be bands", "3,2,1 or red,green,blue")


def parse_mask_values(text: str | None) -> tuple[str, ...] | None:
    """Read values or classes of a mask with commas between, such as `1,4`; None stays None.

    Raises:
        ParameterError: nothing stands between two commas.
    """
    return _parse_list(text, "--mask-values must be values", "1,4 or cloud,shadow")


def _parse_list(text: str | None, rule: str, example: str) -> tuple[str, ...] | None:
    """Read texts with commas between; None stays None.

    Args:
        text: of the command line.
        rule: what the option must be, for the error.
        example: of a right text.

    Raises:
        ParameterError: nothing stands between two commas.
    """
    if text is None:
        return None
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts):
        raise ParameterError(f"{rule} with commas between, got {text!r}. Try {example}.")
    return parts


def check_model_folder(folder: Path) -> None:
    """Check that a model's folder is there, before rasters are opened; its files are read later.

    Raises:
        MissingFileError: it is not.
    """
    if not folder.is_dir():
        raise MissingFileError(
            f"{folder}: no such model folder. "
            "Run `dvc repro evaluate`, or give the folder that holds model.json."
        )


def inspect_scenes(request: DetectRequest, rasters: Sequence[str] | None = None) -> list[SceneInfo]:
    """Return what each raster is; one of unknown GSD as if its px were 1 m.

    Args:
        request: what to do.
        rasters: of the request; None for all of them.

    Raises:
        DataError: no georeference and no GSD stated, or a georeference although the GSD is stated
            to be unknown.
    """
    if rasters is None:
        rasters = expand_scenes(request.scenes)
    if request.gsd_m != "unknown":
        return [inspect_scene(path, request.gsd_m) for path in rasters]
    infos = [inspect_scene(path, 1.0) for path in rasters]
    for info in infos:
        if info.crs is not None:
            raise DataError(
                f"{info.path}: its georeference gives its GSD, {max(info.gsd_m):.3g} m. "
                "Search it without --gsd."
            )
    return [replace(info, transform=local_transform(1.0), is_gsd_known=False) for info in infos]


def with_assumed_gsd(infos: Sequence[SceneInfo], gsd_m: float) -> list[SceneInfo]:
    """Return rasters of unknown GSD as if their px were those of a model, metres."""
    return [replace(info, gsd_m=(gsd_m, gsd_m)) for info in infos]


def expand_scenes(scenes: Sequence[str]) -> list[str]:
    """Return the rasters to search, in order: folders and lists replaced by what they hold.

    Args:
        scenes: rasters, folders of rasters, and text files (`.txt`) with a raster a line; empty
            lines and lines from `#` on are left out. A name in a list is that of a file next to
            the list where there is one.

    Raises:
        MissingFileError: a list that is not there.
        FormatError: a list that is no text.
        DataError: a folder or a list that names no raster.
    """
    rasters: list[str] = []
    for scene in scenes:
        path = Path(scene)
        if path.is_dir() and path.suffix.lower() != ".zarr":
            found = [str(raster) for raster in raster_paths(path)]
        elif path.suffix.lower() == ".txt":
            found = _read_list(path)
        else:
            rasters.append(str(scene))
            continue
        if not found:
            raise DataError(f"{scene}: names no raster. Name a folder or a list of your rasters.")
        rasters += found
    return rasters


def _read_list(path: Path) -> list[str]:
    """Return the rasters that a text file names, one a line."""
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Correct the path.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except ValueError:
        raise FormatError(
            f"{path}: is not a text in UTF-8. Write it anew, with a raster a line."
        ) from None
    rasters = []
    for line in lines:
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        beside = path.parent / name
        rasters.append(str(beside) if "://" not in name and beside.exists() else name)
    return rasters


def check_request(
    request: DetectRequest, infos: Sequence[SceneInfo], files: Sequence[str | Path]
) -> None:
    """Check that a request can be done and its files written.

    Args:
        request: what to do.
        infos: of the rasters.
        files: from which they are read.

    Raises:
        ParameterError: a name, suffix, path or number that is not possible.
        DataError: scenes that cannot share one file.
    """
    check_names(infos)
    check_block_size(request)
    check_suffix(request.output, all(info.crs is not None for info in infos))
    if len({info.crs is None for info in infos}) > 1:
        raise DataError(
            "scenes with and without georeference cannot share one file. Search them apart."
        )
    if request.scores is not None and request.scores.suffix:
        _check_score_map(request.scores, len(infos))
    _check_outputs(request, infos, files)


def check_block_size(request: DetectRequest) -> None:
    """Check the side of the blocks.

    Raises:
        ParameterError: it is too small.
    """
    if request.block_px is not None and request.block_px < MIN_BLOCK_PX:
        raise ParameterError(
            f"--block-px must be {MIN_BLOCK_PX} or more, got {request.block_px}. Raise it."
        )


def check_names(infos: Sequence[SceneInfo]) -> None:
    """Check that no two scenes have the same name."""
    n_called = Counter(info.name for info in infos)
    for name in sorted(n_called):
        if n_called[name] > 1:
            raise ParameterError(
                f"two scenes are called `{name}`. Rename one, or search them apart: rows are told "
                "apart by the name."
            )


def _check_score_map(path: Path, n_scenes: int) -> None:
    """Check the path of a score map that has a suffix."""
    if n_scenes > 1:
        raise ParameterError(
            f"--scores {path}: several scenes need a folder, not one file. Name a folder."
        )
    if path.suffix.lower() not in SCORE_MAP_SUFFIXES:
        raise ParameterError(f"--scores {path}: must end in .tif, or be a folder. Rename it.")


def _check_outputs(
    request: DetectRequest, infos: Sequence[SceneInfo], files: Sequence[str | Path]
) -> None:
    """Check that outputs can be written, and that none of them is read."""
    inputs: list[str | Path] = [request.model, *files]
    inputs += [path for path in (request.aoi, request.mask) if path is not None]
    check_output(request.output, inputs=inputs, is_own=is_own_map)
    for path in output_paths(request, infos)[1:]:
        check_output(path, inputs=inputs, is_own=is_own_score_map)


def output_paths(request: DetectRequest, infos: Sequence[SceneInfo]) -> list[Path]:
    """Return the files that are written: that of detections first, then the score maps."""
    paths = [request.output]
    for info in infos:
        path = score_map_path(request, info)
        if path is not None:
            paths.append(path)
    return paths


def score_map_path(request: DetectRequest, info: SceneInfo) -> Path | None:
    """Return where a scene's map of scores is written, None where none is wanted."""
    if request.scores is None or request.scores.suffix:
        return request.scores
    return request.scores / f"{file_stem(info.name)}.tif"
