"""Labels over the scene that `make_scene(name, (900, 1300))` makes."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import shapely


def boats(
    path: Path, count: int = 90, classes: tuple[str, ...] = ("boat",), column: str = "class"
) -> Path:
    """Write boxes spread over the scene, their classes in turns."""
    rng = np.random.default_rng(5)
    x = 400_000 + rng.uniform(20, 1600, count)
    y = 5_000_000 - rng.uniform(20, 1100, count)
    frame = geopandas.GeoDataFrame(
        {column: [classes[number % len(classes)] for number in range(count)]},
        geometry=shapely.box(x - 10, y - 8, x + 10, y + 8),
        crs="EPSG:32631",
    )
    path.parent.mkdir(exist_ok=True)
    frame.to_file(path, engine="pyogrio")
    return path
