"""Opening a raster as a model needs it: its GSD, its bands in its order, and its radiometry.

A raster that does not fit the model is an error with what to change. Searches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from windhover.errors import ParameterError, UnsupportedError
from windhover.imagery.band_names import is_numbered_band_name
from windhover.imagery.rasters import SceneInfo, band_aliases, inspect_scene
from windhover.imagery.scenes import Scene
from windhover.inference.radiometric_normalization import match_band_moments
from windhover.models.card import Card

GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}


def open_for_model(
    card: Card,
    raster: str | Path | SceneInfo,
    *,
    gsd_m: float | None = None,
    match_radiometry: bool = False,
    bands: Sequence[str] | None = None,
) -> Scene:
    """Open a raster at a model's GSD, with its bands in its order.

    Args:
        card: of the model.
        raster: anything GDAL opens.
        gsd_m: metres per px, for images without georeference.
        match_radiometry: whether mean and spread of each band are brought to the training's, of any
            number type.
        bands: names or numbers from 1 of those to be taken for the model's. Without them, bands are
            found by name, or by position where no band has a telling name.

    Raises:
        UnsupportedError: another number type than the model was trained on, or bands that are
            missing.
        ParameterError: more or fewer bands than the model's, or one that the raster has not.
    """
    info = raster if isinstance(raster, SceneInfo) else inspect_scene(raster, gsd_m)
    band_names = find_bands_for_model(card, info, match_radiometry=match_radiometry, bands=bands)
    scene = Scene(info, card.gsd_m, band_names)
    if match_radiometry:
        return match_band_moments(scene, card.mean, card.std)
    return scene


def find_bands_for_model(
    card: Card,
    info: SceneInfo,
    *,
    match_radiometry: bool,
    bands: Sequence[str] | None,
) -> Sequence[str]:
    """Return the names of a raster's bands that a model takes, in the model's order.

    Args:
        card: of the model.
        info: the raster.
        match_radiometry: whether any number type is taken.
        bands: as for `open_for_model`.

    Raises:
        UnsupportedError: another number type than the model was trained on, or bands that are
            missing.
        ParameterError: more or fewer bands than the model's, or one that the raster has not.
    """
    if info.dtype != card.dtype and not match_radiometry:
        raise UnsupportedError(
            f"{info.path}: holds {info.dtype} and the model was trained on {card.dtype}. "
            "Search it with --match-radiometry, or convert it as the training scenes were: "
            f"gdal_translate -ot {GDAL_TYPES[card.dtype]} -scale ..."
        )
    if bands is None:
        return _find_bands(info, card)
    return _select_bands(info, bands, card)


def _find_bands(info: SceneInfo, card: Card) -> Sequence[str]:
    """Return the names that a raster gives to the model's bands, in the model's order."""
    names = band_aliases(info)
    if {name.lower() for name in card.bands} <= set(names):
        return [names[name.lower()] for name in card.bands]
    has_telling_names = not (_are_unnamed(info.bands) or _are_unnamed(card.bands))
    if not has_telling_names and len(info.bands) == len(card.bands):
        return info.bands
    numbered = ", ".join(f"{number}={name}" for number, name in enumerate(info.bands, start=1))
    example = "3,2,1"
    if len(info.bands) == 1:
        example = ",".join("1" for _ in card.bands)
    raise UnsupportedError(
        f"{info.path}: the model needs the bands {', '.join(card.bands)}, and this raster has "
        f"{numbered}. Name the ones to take for them, in that order, such as --bands {example}."
    )


def _are_unnamed(bands: Sequence[str]) -> bool:
    """Return whether no band has a telling name, such as `red`."""
    return all(is_numbered_band_name(band) for band in bands)


def _select_bands(info: SceneInfo, bands: Sequence[str], card: Card) -> list[str]:
    """Return the names of bands that are given by name or by number."""
    if len(bands) != len(card.bands):
        raise ParameterError(
            f"--bands {','.join(bands)}: the model has {len(card.bands)} bands "
            f"({', '.join(card.bands)}). Name one for each."
        )
    names = {str(number): name for number, name in enumerate(info.bands, start=1)}
    names |= band_aliases(info)
    for band in bands:
        if band.lower() not in names:
            raise ParameterError(
                f"{info.path}: has no band {band!r}, its bands are {', '.join(info.bands)}. "
                f"Give --bands such names, or numbers from 1 to {len(info.bands)}."
            )
    return [names[band.lower()] for band in bands]
