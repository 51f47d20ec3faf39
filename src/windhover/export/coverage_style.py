"""QGIS styles of coverage: colours and names of a class map's values, and of polygons by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from windhover.export.coverage_mask import class_colors
from windhover.export.qgis_style import add_styles

RASTER_QML = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.28" styleCategories="Symbology">
 <pipe>
  <rasterrenderer type="paletted" band="1" opacity="0.7" alphaBand="-1" nodataColor="">
   <colorPalette>
{entries}
   </colorPalette>
  </rasterrenderer>
 </pipe>
</qgis>
"""
RASTER_ENTRY = '    <paletteEntry value="{value}" color="{color}" label={label} alpha="255"/>'

POLYGON_QML = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.28" styleCategories="Symbology">
 <renderer-v2 type="categorizedSymbol" attr="class" enableorderby="0" forceraster="0" symbollevels="0">
  <categories>
{categories}
  </categories>
  <symbols>
{symbols}
  </symbols>
 </renderer-v2>
</qgis>
"""  # noqa: E501
CATEGORY = '   <category render="true" value={name} symbol="{number}" label={name}/>'
SYMBOL = """   <symbol name="{number}" type="fill" alpha="1" clip_to_extent="1" force_rhr="0">
    <layer class="SimpleFill" enabled="1" locked="0" pass="0">
     <Option type="Map">
      <Option name="style" value="solid" type="QString"/>
      <Option name="color" value="{rgb},110" type="QString"/>
      <Option name="outline_color" value="{rgb},255" type="QString"/>
      <Option name="outline_style" value="solid" type="QString"/>
      <Option name="outline_width" value="0.3" type="QString"/>
      <Option name="outline_width_unit" value="MM" type="QString"/>
     </Option>
    </layer>
   </symbol>"""


def raster_style(classes: Sequence[str]) -> str:
    """Return the QML of a class map; the background stays clear."""
    entries = []
    for value, (name, color) in enumerate(class_colors(classes).items(), 1):
        hexadecimal = "#{:02x}{:02x}{:02x}".format(*color)
        entries.append(RASTER_ENTRY.format(value=value, color=hexadecimal, label=quoteattr(name)))
    return RASTER_QML.format(entries="\n".join(entries))


def polygon_style(classes: Sequence[str]) -> str:
    """Return the QML of a layer of polygons with the column `class`."""
    categories = []
    symbols = []
    for number, (name, color) in enumerate(class_colors(classes).items()):
        rgb = ",".join(map(str, color))
        categories.append(CATEGORY.format(number=number, name=quoteattr(name)))
        symbols.append(SYMBOL.format(number=number, rgb=rgb))
    return POLYGON_QML.format(categories="\n".join(categories), symbols="\n".join(symbols))


def write_polygon_style(geopackage: Path, layers: Sequence[str], classes: Sequence[str]) -> None:
    """Write the style of layers into their GeoPackage, as their default."""
    add_styles(geopackage, dict.fromkeys(layers, polygon_style(classes)))
