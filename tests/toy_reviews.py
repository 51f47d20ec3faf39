"""Edits of review files as another program makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import pyogrio


def edit(path: Path, layer: str, change: Any) -> None:
    """Change a layer of a file as another program does: read, changed and written again."""
    table = change(geopandas.GeoDataFrame(pyogrio.read_dataframe(path, layer=layer)))
    pyogrio.write_dataframe(table, path, layer=layer, driver="GPKG", append=False, use_arrow=True)


def with_verdicts(*verdicts: str, **columns: Any) -> Any:
    """Return a change that writes verdicts into the first rows."""

    def change(table: Any) -> Any:
        table["verdict"] = [*verdicts, *[""] * (len(table) - len(verdicts))]
        for name, value in columns.items():
            table[name] = value
        return table

    return change
