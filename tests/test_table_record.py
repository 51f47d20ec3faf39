"""Tables between stages: any damage is one sentence with file, column, rule, value and stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from windhover.errors import FormatError, MissingFileError
from windhover.geometry.georef import parse_crs
from windhover.table_record import Column, TableSchema

SCHEMA = TableSchema(
    "scenes",
    {
        "name": Column("text"),
        "kind": Column("text", choices=("object", "ignore")),
        "crs": Column("text", nullable=True, check=parse_crs),
        "side": Column("number", above=0),
        "count": Column("integer", least=1),
        "flag": Column("flag"),
        "bands": Column("texts"),
        "transform": Column("numbers", length=6),
        "nodata": Column("number", nullable=True, finite=False),
        "geometry": Column("geometry"),
    },
)
AGAIN = r"Run the scenes stage again: dvc repro -f scenes\."


def sound(rows: int = 3) -> geopandas.GeoDataFrame:
    """Return a table that keeps every rule."""
    table = {
        "name": ["a", "", "c"][:rows],
        "kind": ["object", "ignore", "object"][:rows],
        "crs": [None, "EPSG:32631", None][:rows],
        "side": np.array([0.5, 2.0, 1e300])[:rows],
        "count": np.array([1, 2, 3])[:rows],
        "flag": np.array([True, False, True])[:rows],
        "bands": [["red"], ["red", "green"], ["x"]][:rows],
        "transform": [[1.0, 0, 0, 0, -1, 0]] * rows,
        "nodata": [None, np.inf, -9999.0][:rows],
    }
    shapes = [shapely.box(0, 0, 1, 2), shapely.Point(3, 4), shapely.Polygon()][:rows]
    return geopandas.GeoDataFrame(table, geometry=shapes)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_sound_table_comes_back(tmp_path: Path, rows: int) -> None:
    sound(rows).to_parquet(tmp_path / "t.parquet")
    table = SCHEMA.read(tmp_path / "t.parquet")
    assert isinstance(table, geopandas.GeoDataFrame)
    assert table["name"].tolist() == ["a", "", "c"][:rows]


@pytest.mark.parametrize(
    ("column", "values", "rule"),
    [
        ("name", [1, 2, 3], "must hold text, got 1 in row 0"),
        ("name", ["a", None, "c"], "must hold text, and row 1 has no value"),
        ("kind", ["object", "object", "thing"], 'one of object, ignore, got "thing" in row 2'),
        ("crs", [None, None, "EPSG:0"], "what can be read .* in row 2"),
        ("side", [1.0, 0.0, 2.0], "finite numbers above 0, got 0 in row 1"),
        ("side", [1.0, np.inf, 2.0], "finite numbers above 0, got inf in row 1"),
        ("side", ["x", "y", "z"], 'finite numbers, got "x"'),
        ("side", [True, True, True], "finite numbers, got true"),
        ("count", [1.0, 2.5, 3.0], "whole numbers of at least 1, got 2.5 in row 1"),
        ("count", [1, 0, 3], "whole numbers of at least 1, got 0 in row 1"),
        ("flag", [0, 1, 0], "true or false, got 0 in row 0"),
        ("bands", [["a"], [], ["b"]], "none of them empty"),
        ("bands", [[1.0], [2.0], [3.0]], "lists of texts"),
        ("transform", [[1.0] * 6, [1.0] * 5, [1.0] * 6], "6 in each, got .* in row 1"),
        ("transform", [[np.nan] * 6] * 3, "lists of finite numbers"),
        (
            "geometry",
            [shapely.Point(1, 2), shapely.box(0, 0, 1e300, 1), shapely.Point(0, 0)],
            "row 1",
        ),
        ("geometry", [shapely.Point(np.nan, 0)] * 3, "corners on Earth, and row 0 has others"),
        ("geometry", [None, shapely.Point(0, 0), None], "must hold shapes, and row 0 has no"),
    ],
)
def test_a_broken_rule_is_one_sentence(
    tmp_path: Path, column: str, values: list[Any], rule: str
) -> None:
    table = sound()
    table[column] = values
    table.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(FormatError, match=rf"t\.parquet: column '{column}' .*{rule}.* {AGAIN}"):
        SCHEMA.read(tmp_path / "t.parquet")


@pytest.mark.parametrize("column", list(SCHEMA.columns))
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    frame = pd.DataFrame(sound().drop(columns=column))
    if column != "geometry":
        frame = geopandas.GeoDataFrame(frame, geometry="geometry")
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(FormatError, match=rf"t\.parquet: .*{AGAIN}"):
        SCHEMA.read(tmp_path / "t.parquet")


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bytes_are_a_sentence_or_a_table(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "t.parquet"
    sound().to_parquet(path)
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, len(whole), 1 + seed % 4):
        whole[place] = int(rng.integers(256))
    path.write_bytes(bytes(whole[: len(whole) - int(rng.integers(0, 2)) * 7]))
    said = message_of(path)
    assert said == "" or (str(path) in said and "dvc repro -f scenes" in said)


def message_of(path: Path) -> str:
    """Return what reading a file says, nothing where it is read."""
    try:
        SCHEMA.read(path)
    except FormatError as error:
        return str(error)
    return ""


def test_a_missing_file_says_which_stage_writes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="Run the scenes stage first: dvc repro scenes"):
        SCHEMA.read(tmp_path / "t.parquet")
