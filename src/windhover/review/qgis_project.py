"""A QGIS project next to a review file: its layers in order, the rasters below them.

Scenes without georeference have a place of their own in the review file; a virtual raster in the
folder next to it puts each picture there.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import geopandas
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from windhover.files import atomic_file, file_stem
from windhover.review.forms import layer_style
from windhover.review.review_record import ReviewRecord, ReviewScene

RASTERS = "_rasters"  # ending of the folder of virtual rasters
VRT = """<VRTDataset rasterXSize="{width}" rasterYSize="{height}">
<GeoTransform>{transform}</GeoTransform>
{bands}</VRTDataset>
"""
BAND = """<VRTRasterBand dataType="{dtype}" band="{band}"><SimpleSource>
<SourceFilename relativeToVRT="0">{path}</SourceFilename><SourceBand>{band}</SourceBand>
</SimpleSource></VRTRasterBand>
"""
DTYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}
N_BANDS = 3  # of a picture without georeference that are shown, the first ones
LAYER_ID = "windhover_"  # QGIS takes no id of 10 letters or less


def project_path(review: Path) -> Path:
    """Return the path of the project of a review file."""
    return review.with_suffix(".qgs")


def write_project(
    review: Path, record: ReviewRecord, layers: Mapping[str, geopandas.GeoDataFrame]
) -> None:
    """Write the project of a review file, and its virtual rasters.

    Args:
        review: the file.
        record: what is asked.
        layers: name -> layer, from the top.
    """
    vectors = [_vector_entry(review, name, table, record) for name, table in layers.items()]
    rasters = []
    names = []
    for number, scene in enumerate(record.scenes):
        path = _raster_of(scene, review)
        if path is None:
            continue
        names.append((f"raster{number}", scene.scene))
        rasters.append(
            f'<maplayer type="raster"><id>{LAYER_ID}raster{number}</id>'
            f"<datasource>{escape(str(path))}</datasource>"
            f"<layername>{escape(scene.scene)}</layername>{_srs(scene.crs)}"
            "<provider>gdal</provider></maplayer>"
        )
    below = _tree_entries(names)
    tree = _tree_entries([(name, name) for name in layers])
    tree += f'<layer-tree-group name="rasters" checked="Qt::Checked">{below}</layer-tree-group>'
    text = (
        '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">\n'
        f'<qgis version="3.22.0" projectname={quoteattr(review.stem)}>'
        f"<projectCrs>{_spatialrefsys(record.crs)}</projectCrs>"
        f"<layer-tree-group>{tree}</layer-tree-group>"
        f"<projectlayers>{''.join(vectors + rasters)}</projectlayers></qgis>\n"
    )
    with atomic_file(project_path(review)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _vector_entry(
    review: Path, name: str, table: geopandas.GeoDataFrame, record: ReviewRecord
) -> str:
    """Return the XML of a layer of the review file, with its form."""
    fields = ["fid", *(column for column in table.columns if column != "geometry")]
    style = layer_style(name, fields, record.classes)
    inner = style[style.index(">", style.index("<qgis")) + 1 : style.rindex("</qgis>")]
    return (
        f'<maplayer type="vector" geometry="Polygon"><id>{LAYER_ID}{name}</id>'
        f"<datasource>./{escape(review.name)}|layername={name}</datasource>"
        f"<layername>{name}</layername>{_srs(record.crs)}"
        f'<provider encoding="UTF-8">ogr</provider>{inner}</maplayer>'
    )


def _tree_entries(names: Sequence[tuple[str, str]]) -> str:
    """Return the entries of layers, id and name of each, in the list of layers."""
    return "".join(
        f'<layer-tree-layer id="{LAYER_ID}{layer}" name={quoteattr(shown)} checked="Qt::Checked"/>'
        for layer, shown in names
    )


def _srs(crs: str | None) -> str:
    return f"<srs>{_spatialrefsys(crs)}</srs>"


def _spatialrefsys(crs: str | None) -> str:
    """Return a coordinate system as QGIS writes it, empty for local grids."""
    if crs is None:
        return "<spatialrefsys/>"
    if ":" in crs and len(crs) < 20:
        return f"<spatialrefsys><authid>{escape(crs)}</authid></spatialrefsys>"
    return f"<spatialrefsys><wkt>{escape(crs)}</wkt></spatialrefsys>"


def _raster_of(scene: ReviewScene, review: Path) -> Path | None:
    """Return the raster of a scene where it is in the review file; None where it is gone."""
    path = Path(scene.path).absolute()
    if not path.is_file():
        return None
    if scene.crs is not None:
        return path
    return _write_placed(scene, path, review)


def _write_placed(scene: ReviewScene, path: Path, review: Path) -> Path:
    """Write a virtual raster that puts a picture to its place; return its path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            dtypes = dataset.dtypes[:N_BANDS]
    gsd_x, skew_x, left, skew_y, gsd_y, top = scene.transform
    transform = ", ".join(repr(value) for value in (left, gsd_x, skew_x, top, skew_y, gsd_y))
    bands = "".join(
        BAND.format(dtype=DTYPES.get(dtype, "Float32"), band=band, path=escape(str(path)))
        for band, dtype in enumerate(dtypes, 1)
    )
    target = review.with_name(review.stem + RASTERS) / f"{file_stem(scene.scene)}.vrt"
    with atomic_file(target) as temporary:
        temporary.write_text(
            VRT.format(
                width=scene.width_px, height=scene.height_px, transform=transform, bands=bands
            ),
            encoding="utf-8",
        )
    return target.absolute()
