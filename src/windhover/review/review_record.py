"""What a review file holds next to its layers: the state before any edit, and how it was sampled.

A person may rename, reproject or delete columns of the layers; what was asked is kept here as JSON.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import shapely
from affine import Affine
from pydantic import BaseModel, ConfigDict, ValidationError
from shapely.geometry.base import BaseGeometry

from windhover.errors import FormatError, MissingFileError
from windhover.imagery.rasters import SceneInfo
from windhover.json_record import describe_fault

RECORD_TABLE = "windhover_review"
STAMP = "2000-01-01T00:00:00.000Z"  # equal reviews give equal files
LOCKED = "database is locked"  # in SQLite's words
AGAIN = "Make a new one: windhover review DETECTIONS."


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ReviewScene(_Frozen):
    """A raster that is reviewed, in px as delivered.

    Attributes:
        scene: its name, without the block of it that was searched.
        path: of the raster.
        width_px: columns.
        height_px: rows.
        crs: coordinate system, None for a local grid.
        transform: px -> world; of a local grid px -> its place in the file.
        gsd_m: metres per px, along a row and down a column.
        acquired: time of the picture, None where unknown.
    """

    scene: str
    path: str
    width_px: int
    height_px: int
    crs: str | None
    transform: tuple[float, float, float, float, float, float]
    gsd_m: tuple[float, float]
    acquired: str | None = None

    @property
    def extent(self) -> BaseGeometry:
        """Its rectangle, px."""
        extent: BaseGeometry = shapely.box(0, 0, self.width_px, self.height_px)
        return extent

    @property
    def info(self) -> SceneInfo:
        """The scene as the rooms below know it, without its bands."""
        return SceneInfo(
            name=self.scene,
            path=self.path,
            width_px=self.width_px,
            height_px=self.height_px,
            bands=(),
            dtype="uint8",
            nodata=None,
            crs=self.crs,
            transform=Affine(*self.transform),
            gsd_m=self.gsd_m,
        )


class ReviewRow(_Frozen):
    """A detection that is reviewed.

    Attributes:
        id: of the detection.
        scene: its raster's name.
        class_name: of the detection.
        score: of it.
        box: left, top, right, bottom, px of the raster as delivered.
        is_selected: one of the rows to go through; others are there because an area holds them.
        is_random: drawn at random.
        is_ordered: among the first of the order.
        stratum: of its score.
        area: number of the drawn area that holds its center, None for none.
        others: boxes of all other detections within a window of it, as `box`.
    """

    id: str
    scene: str
    class_name: str
    score: float
    box: tuple[float, float, float, float]
    is_selected: bool = True
    is_random: bool = False
    is_ordered: bool = False
    stratum: int = 0
    area: int | None = None
    others: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def shape(self) -> BaseGeometry:
        """Its box, px."""
        shape: BaseGeometry = shapely.box(*self.box)
        return shape


class ReviewArea(_Frozen):
    """An area that was drawn to be reviewed as a whole.

    Attributes:
        number: from 1.
        scene: its raster's name.
        wkt: its polygon, px of the raster as delivered.
        prob: with which it was drawn.
    """

    number: int
    scene: str
    wkt: str
    prob: float

    @property
    def shape(self) -> BaseGeometry:
        """Its polygon, px."""
        return shapely.from_wkt(self.wkt)


class ReviewLabel(_Frozen):
    """A label as it was when the file was made.

    Attributes:
        id: of the label.
        scene: its raster's name.
        class_name: as the map shows it.
        wkt: its shape, px of the raster as delivered.
        is_ignored: counts neither way.
    """

    id: str
    scene: str
    class_name: str
    wkt: str
    is_ignored: bool = False

    @property
    def shape(self) -> BaseGeometry:
        """Its shape, px."""
        return shapely.from_wkt(self.wkt)


class ReviewRecord(_Frozen):
    """How a review was made.

    Attributes:
        format: version of this record.
        id: of the review, from what it asks.
        model: name of the model whose detections are reviewed, "" for none.
        run: name of the search.
        order: by which rows were chosen.
        seed: of the draws.
        crs: coordinate system of the layers, None for local grids.
        thresholds: score that each class had to reach.
        classes: that a label may have.
        window_m: side of the ground around a detection that a person has seen with it.
        n_detections: all of them.
        stratum_sizes: detections of each stratum of the score.
        scenes: rasters.
        rows: detections under review.
        areas: areas under review.
        labels: before the review.
        empty_ground: raster -> polygon (WKT, px) where a deep search found nothing.
    """

    format: int = 1
    id: str
    model: str
    run: str
    order: str
    seed: int
    crs: str | None
    thresholds: dict[str, float]
    classes: tuple[str, ...]
    window_m: float
    n_detections: int
    stratum_sizes: tuple[int, ...]
    scenes: tuple[ReviewScene, ...]
    rows: tuple[ReviewRow, ...]
    areas: tuple[ReviewArea, ...]
    labels: tuple[ReviewLabel, ...]
    empty_ground: dict[str, str] = {}

    @property
    def scenes_by_name(self) -> dict[str, ReviewScene]:
        """Name -> raster."""
        return {scene.scene: scene for scene in self.scenes}


def write_record(path: Path, record: ReviewRecord) -> None:
    """Write a record into a GeoPackage as a table of its own; all of it or nothing."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            f"CREATE TABLE {RECORD_TABLE} (id INTEGER PRIMARY KEY NOT NULL, record TEXT NOT NULL)"
        )
        database.execute(f"INSERT INTO {RECORD_TABLE} VALUES (1, ?)", (record.model_dump_json(),))
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, "
            "last_change) VALUES (?, 'attributes', ?, 'how the review was made: do not edit', ?)",
            (RECORD_TABLE, RECORD_TABLE, STAMP),
        )


def read_record(path: Path) -> ReviewRecord:
    """Return the record that a review file holds.

    Raises:
        MissingFileError: no such file.
        FormatError: the file is no GeoPackage, or holds no such record.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Name a review file, such as review.gpkg.")
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            text = database.execute(f"SELECT record FROM {RECORD_TABLE} WHERE id = 1").fetchone()
    except sqlite3.Error as error:
        if LOCKED in str(error):
            raise locked_error(path) from None
        raise FormatError(
            f"{path}: is no file of `windhover review` ({error}). Layers that were exported from "
            "it lack the table of what was asked: apply the file itself."
        ) from None
    if text is None:
        raise FormatError(f"{path}: its table {RECORD_TABLE} is empty. {AGAIN}")
    try:
        return ReviewRecord.model_validate_json(text[0])
    except (ValidationError, TypeError) as error:
        fault = describe_fault(error) if isinstance(error, ValidationError) else "no text."
        raise FormatError(f"{path}: its table {RECORD_TABLE} is damaged: {fault} {AGAIN}") from None


def locked_error(path: Path) -> FormatError:
    """Return the error of a review file that another program has not finished writing."""
    return FormatError(
        f"{path}: another program is writing it. Save the edits there and close the file (in QGIS, "
        "end the editing of its layers), then apply it again."
    )
