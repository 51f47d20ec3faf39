"""Car parks and marinas with complete truth: small objects side by side, 8 to 25 px long.

Each scene holds blocks of parked cars or moored boats. All objects of a block have one length; the
gap between neighbours is 0 to half a width, one for each block. The scenes are drawn four times
finer and averaged, with sensor blur and noise. Equal seeds give equal scenes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import geopandas
import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from rasterio.transform import from_origin
from shapely.geometry import Polygon

SIDE_PX = 800
GSD_M = 0.3
FINER = 4  # drawn so much finer than the scene
LENGTH_PX = (8.0, 25.0)
MAX_GAP = 0.5  # in widths
N_BLOCKS = 9  # in one scene, on a grid of 3 by 3
OCCUPIED = 0.88
ASPECT = {"car": (0.42, 0.48), "boat": (0.28, 0.36)}  # width over length
GROUND = {"car": (92, 92, 96), "boat": (38, 62, 74)}
PAINTS = {
    "car": [
        *[(232, 232, 230), (40, 40, 44), (150, 152, 156), (95, 98, 104)],
        *[(140, 34, 30), (38, 62, 120), (190, 190, 186), (70, 80, 66)],
    ],
    "boat": [(236, 236, 232), (222, 222, 214), (214, 206, 186), (40, 58, 110), (120, 84, 52)],
}
EPSG = 32631


class Style(NamedTuple):
    """Sizes and density of a world."""

    length_px: tuple[float, float] = LENGTH_PX
    gap: tuple[float, float] = (0.0, MAX_GAP)  # in widths
    side_px: int = SIDE_PX
    occupied: float = OCCUPIED  # share of the places of a block


CROWDED = Style()


class Parked(NamedTuple):
    """One object: outline in px of the scene, its class, length and the gap to its neighbours."""

    outline: Polygon
    name: str
    length_px: float
    gap: float  # in widths


def write_scene(
    path: Path, seed: int, *, origin: tuple[float, float], style: Style = CROWDED
) -> list[Parked]:
    """Write one scene as GeoTIFF; return its objects.

    Args:
        path: of the raster.
        seed: of everything drawn.
        origin: its upper left corner, m.
        style: of the world.
    """
    rng = np.random.default_rng(seed)
    side = style.side_px
    image = Image.new("RGB", (side * FINER, side * FINER), (112, 118, 92))
    draw = ImageDraw.Draw(image)
    objects: list[Parked] = []
    cell = side / 3
    for number in range(N_BLOCKS):
        middle = (np.array([number % 3, number // 3]) + 0.5) * cell
        name = ("car", "boat")[int(rng.random() < 0.5)]
        objects += list(_draw_block(draw, middle, name, rng=rng, style=style))
    pixels = _as_the_sensor_sees(image, rng)
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 3,
        "dtype": "uint8",
        "crs": f"EPSG:{EPSG}",
        "transform": from_origin(*origin, GSD_M, GSD_M),
        "tiled": True,
        "compress": "deflate",
        "photometric": "RGB",
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)
    return objects


def _as_the_sensor_sees(image: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return (3, H, W): texture of the ground, blur, averaging and noise."""
    blurred = image.filter(ImageFilter.GaussianBlur(0.5 * FINER))
    pixels = np.asarray(blurred.reduce(FINER), np.float32)
    side = pixels.shape[0]
    texture = rng.normal(0, 1, (side // 8, side // 8)).astype(np.float32)
    coarse = Image.fromarray(texture).resize((side, side), Image.Resampling.BICUBIC)
    pixels = pixels + 5 * np.asarray(coarse)[..., None]
    pixels += rng.normal(0, 4, pixels.shape)
    return np.asarray(pixels.clip(0, 255).round(), np.uint8).transpose(2, 0, 1)


def _draw_block(
    draw: ImageDraw.ImageDraw,
    middle: NDArray[np.float64],
    name: str,
    *,
    rng: np.random.Generator,
    style: Style,
) -> Iterator[Parked]:
    """Draw rows of one length around a point; yield the objects."""
    length = float(rng.uniform(*style.length_px))
    width = length * float(rng.uniform(*ASPECT[name]))
    gap = float(rng.uniform(*style.gap))
    angle = float(rng.uniform(0, np.pi))
    along = np.array([np.cos(angle), np.sin(angle)])  # of a row
    across = np.array([-along[1], along[0]])
    reach = style.side_px / 3 * 0.33
    ground = _corners(middle, along, across, 2.1 * reach, 2.1 * reach)
    shade = tuple(int(value + rng.integers(-14, 15)) for value in GROUND[name])
    draw.polygon(_finer(ground), fill=shade)
    n_in_row = min(int(2 * reach / (width * (1 + gap))), 14)
    position = -reach + length / 2
    is_first = True
    while position + length / 2 < reach:
        start = rng.uniform(-1, 1) * max(reach - n_in_row * width * (1 + gap) / 2, 0)
        for place in range(n_in_row):
            if rng.random() > style.occupied:
                continue
            shift = start + (place - (n_in_row - 1) / 2) * width * (1 + gap)
            center = middle + along * shift + across * position
            yield _draw_object(draw, center, along, name, size=(width, length), gap=gap, rng=rng)
        step = 1.08 * length
        if not is_first:
            step = length * float(rng.uniform(1.5, 1.9))  # a lane, or water between two piers
        if name == "boat" and is_first:
            pier = middle + across * (position + step / 2)
            draw.polygon(
                _finer(_corners(pier, along, across, 2 * reach, max(0.06 * length, 1))),
                fill=(150, 142, 128),
            )
        position += step
        is_first = not is_first


def _draw_object(
    draw: ImageDraw.ImageDraw,
    center: NDArray[np.float64],
    along: NDArray[np.float64],
    name: str,
    *,
    size: tuple[float, float],
    gap: float,
    rng: np.random.Generator,
) -> Parked:
    """Draw one car or boat across its row; return it."""
    width, length = size
    turn = rng.normal(0, 0.02)
    side = np.array(
        [
            along[0] * np.cos(turn) - along[1] * np.sin(turn),
            along[0] * np.sin(turn) + along[1] * np.cos(turn),
        ]
    )
    front = np.array([-side[1], side[0]]) * rng.choice([-1, 1])
    paint = PAINTS[name][rng.integers(len(PAINTS[name]))]
    if name == "car":
        outline = _corners(center, side, front, width, length)
        draw.polygon(_finer(outline + np.array([0.12, 0.16]) * width), fill=(30, 30, 32))
        draw.polygon(_finer(outline), fill=paint)
        for place in (0.16, -0.3):
            screen = center + front * place * length
            draw.polygon(_finer(_corners(screen, side, front, 0.8 * width, 0.12 * length)), "black")
    else:
        bow = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.1], [0.18, 0.42], [0, 0.5]])
        bow = np.concatenate([bow, [[-0.18, 0.42], [-0.5, 0.1]]])
        outline = center + bow[:, :1] * width * side + bow[:, 1:] * length * front
        draw.polygon(_finer(outline), fill=paint)
        cabin = _corners(center - front * 0.12 * length, side, front, 0.6 * width, 0.3 * length)
        draw.polygon(_finer(cabin), fill=(70, 78, 88))
    return Parked(Polygon(outline), name, length, gap)


def _corners(
    center: NDArray[np.float64],
    side: NDArray[np.float64],
    front: NDArray[np.float64],
    width: float,
    length: float,
) -> NDArray[np.float64]:
    """Return (4, 2) corners of a turned rectangle."""
    signs = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    return np.asarray(center + signs[:, :1] * width * side + signs[:, 1:] * length * front)


def _finer(points: NDArray[np.float64]) -> list[tuple[float, float]]:
    return [(float(x) * FINER, float(y) * FINER) for x, y in points]


def make_crowd_world(
    folder: Path, n_scenes: int, seed: int, style: Style = CROWDED
) -> geopandas.GeoDataFrame:
    """Write scenes a kilometre apart and `labels.gpkg`; return the objects on the ground.

    Args:
        folder: for `scenes/` and the labels.
        n_scenes: how many.
        seed: of the first; the others follow.
        style: of the world.
    """
    (folder / "scenes").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(n_scenes):
        origin = (500_000.0 + 1000 * number, 5_000_000.0)
        path = folder / "scenes" / f"lot{number:02d}.tif"
        for one in write_scene(path, seed + number, origin=origin, style=style):
            xy = np.array(one.outline.exterior.coords) * (GSD_M, -GSD_M) + origin
            rows.append(
                {
                    "class": one.name,
                    "scene": path.stem,
                    "length_px": round(one.length_px, 2),
                    "gap": round(one.gap, 3),
                    "geometry": Polygon(xy),
                }
            )
    table = geopandas.GeoDataFrame(rows, crs=f"EPSG:{EPSG}")
    table.to_file(folder / "labels.gpkg")
    return table
