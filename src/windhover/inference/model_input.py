"""Opening a raster as a model must see it: at its GSD, with its bands in its order, and in its
light where asked for.

Refuses a raster that does not fit the model, with what a person can do about it. Searches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from windhover.errors import ParameterError, UnsupportedError
from windhover.imagery.rasters import SceneInfo, inspect_scene, names_of_bands, says_nothing
from windhover.imagery.scenes import Scene
from windhover.inference.radiometric_normalization import matched
from windhover.models.bundle import Card

GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}


def open_for(
    card: Card,
    raster: str | Path | SceneInfo,
    gsd_m: float | None = None,
    match_radiometry: bool = False,
    bands: Sequence[str] | None = None,
) -> Scene:
    """Open a raster as a model must see it: its GSD and its bands, by name, or by position where
    names say nothing.

    Args:
        card: of the model.
        raster: anything GDAL opens.
        gsd_m: metres per px, for images without georeference.
        match_radiometry: whether mean and spread of each band are brought to the training's, of
            any number type.
        bands: names or numbers from 1 of those to be taken for the model's.

    Raises:
        UnsupportedError: another number type than the model was trained on, or bands that are
            missing.
        ParameterError: more or fewer bands than the model's, or one that the raster has not.
    """
    info = raster if isinstance(raster, SceneInfo) else inspect_scene(raster, gsd_m)
    if info.dtype != card.dtype and not match_radiometry:
        raise UnsupportedError(
            f"{info.path}: holds {info.dtype} and the model was trained on {card.dtype}. "
            "Search it with --match-radiometry, or convert it as the training scenes were: "
            f"gdal_translate -ot {GDAL_TYPES[card.dtype]} -scale ..."
        )
    scene = Scene(
        info, card.gsd_m, _found(info, card) if bands is None else _named(info, bands, card)
    )
    return matched(scene, card.mean, card.std) if match_radiometry else scene


def _found(info: SceneInfo, card: Card) -> Sequence[str]:
    """Return the names that a raster gives to the model's bands, in the model's order."""
    names = names_of_bands(info)
    if {name.lower() for name in card.bands} <= set(names):
        return [names[name.lower()] for name in card.bands]
    unnamed = any(all(map(says_nothing, bands)) for bands in (info.bands, card.bands))
    if unnamed and len(info.bands) == len(card.bands):
        return info.bands
    numbered = ", ".join(f"{number}={name}" for number, name in enumerate(info.bands, start=1))
    example = ",".join("1" for _ in card.bands) if len(info.bands) == 1 else "3,2,1"
    raise UnsupportedError(
        f"{info.path}: the model needs the bands {', '.join(card.bands)}, and this raster has {numbered}. "
        f"Say which to take for them, in that order, such as --bands {example}."
    )


def _named(info: SceneInfo, bands: Sequence[str], card: Card) -> list[str]:
    """Return the names of bands that are given by name or by number."""
    if len(bands) != len(card.bands):
        raise ParameterError(
            f"--bands {','.join(bands)}: the model has {len(card.bands)} bands ({', '.join(card.bands)}). "
            "Name one for each."
        )
    names = {str(number): name for number, name in enumerate(info.bands, start=1)} | names_of_bands(
        info
    )
    if unknown := [band for band in bands if band.lower() not in names]:
        raise ParameterError(
            f"{info.path}: has no band {unknown[0]!r}, its bands are {', '.join(info.bands)}. "
            f"Give --bands such names, or numbers from 1 to {len(info.bands)}."
        )
    return [names[band.lower()] for band in bands]
