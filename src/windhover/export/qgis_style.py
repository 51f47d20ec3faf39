"""The QGIS style of a layer of detections: outlines coloured by score, inside the GeoPackage.

On scenes that were trained or tuned on, outlines are dotted: what is found there proves little.

QGIS reads a layer's default style from the table `layer_styles`, as if it had been saved there by
QGIS itself. Other readers list that table after the layer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from windhover.export.map_files import SCENES_LAYER, SEARCHED_LAYER

QML = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.28" styleCategories="Symbology">
 <renderer-v2 type="singleSymbol" enableorderby="0" forceraster="0" symbollevels="0">
  <symbols>
   <symbol name="0" type="fill" alpha="1" clip_to_extent="1" force_rhr="0">
    <layer class="SimpleFill" enabled="1" locked="0" pass="0">
     <Option type="Map">
      <Option name="style" value="no" type="QString"/>
      <Option name="outline_color" value="255,190,0,255" type="QString"/>
      <Option name="outline_style" value="solid" type="QString"/>
      <Option name="outline_width" value="0.5" type="QString"/>
      <Option name="outline_width_unit" value="MM" type="QString"/>
     </Option>
     <data_defined_properties>
      <Option type="Map">
       <Option name="name" value="" type="QString"/>
       <Option name="properties" type="Map">
        <Option name="outlineColor" type="Map">
         <Option name="active" value="true" type="bool"/>
         <Option name="expression" value="ramp_color('Plasma', coalesce(&quot;score&quot;, 0))" type="QString"/>
         <Option name="type" value="3" type="int"/>
        </Option>{outline_style}
       </Option>
       <Option name="type" value="collection" type="QString"/>
      </Option>
     </data_defined_properties>
    </layer>
   </symbol>
  </symbols>
 </renderer-v2>
</qgis>
"""  # noqa: E501

# of layers with a column `split`
DOTTED_UNLESS_TEST = """
        <Option name="outlineStyle" type="Map">
         <Option name="active" value="true" type="bool"/>
         <Option name="expression" value="if(&quot;split&quot; = 'test', 'solid', 'dot')" type="QString"/>
         <Option name="type" value="3" type="int"/>
        </Option>"""  # noqa: E501

STAMP = "2000-01-01T00:00:00.000Z"  # equal tables give equal files
# the columns that QGIS makes (3.x, QgsOgrProvider::saveStyle)
TABLE = """CREATE TABLE layer_styles (
 id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
 f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
 useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME)"""  # noqa: E501
ENTRY = """INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change)
 VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?)"""
STYLE = """INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,
 styleQML, styleSLD, useAsDefault, description, owner, ui, update_time)
 SELECT '', '', table_name, column_name, 'windhover', ?, '', 1, '', '', NULL, ?
 FROM gpkg_geometry_columns WHERE table_name = ?"""  # noqa: E501


# outlines of scenes with their number of objects, and the ground searched as a pale surface
SCENES_QML = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.28" styleCategories="Symbology|Labeling" labelsEnabled="{labels}">
 <renderer-v2 type="singleSymbol" enableorderby="0" forceraster="0" symbollevels="0">
  <symbols>
   <symbol name="0" type="fill" alpha="1" clip_to_extent="1" force_rhr="0">
    <layer class="SimpleFill" enabled="1" locked="0" pass="0">
     <Option type="Map">
      <Option name="style" value="{fill}" type="QString"/>
      <Option name="color" value="42,111,151,28" type="QString"/>
      <Option name="outline_color" value="42,111,151,255" type="QString"/>
      <Option name="outline_style" value="{outline}" type="QString"/>
      <Option name="outline_width" value="0.4" type="QString"/>
      <Option name="outline_width_unit" value="MM" type="QString"/>
     </Option>
    </layer>
   </symbol>
  </symbols>
 </renderer-v2>
 <labeling type="simple">
  <settings>
   <text-style fieldName="&quot;scene&quot; || ': ' || &quot;objects&quot;" isExpression="1" fontSize="9" fontSizeUnit="Point" textColor="20,60,90,255">
    <text-buffer bufferDraw="1" bufferSize="0.8" bufferSizeUnits="MM" bufferColor="255,255,255,255"/>
   </text-style>
   <placement placement="1" polygonPlacementFlags="2"/>
  </settings>
 </labeling>
</qgis>
"""  # noqa: E501


def add_style(geopackage: str | Path, layers: Sequence[str]) -> None:
    """Write the styles of layers into their GeoPackage, as their defaults; all of it or nothing."""
    styles = {}
    with closing(sqlite3.connect(geopackage)) as database:
        for layer in layers:
            columns = {row[1] for row in database.execute(f'PRAGMA table_info("{layer}")')}
            styles[layer] = _style_of(layer, columns)
    add_styles(geopackage, styles)


def add_styles(geopackage: str | Path, styles: Mapping[str, str]) -> None:
    """Write a QML for each layer into their GeoPackage, as its default; all of it or nothing."""
    with closing(sqlite3.connect(geopackage)) as database, database:
        database.execute(TABLE)
        database.execute(ENTRY, (STAMP,))
        for layer, qml in styles.items():
            database.execute(STYLE, (qml, STAMP, layer))


def _style_of(layer: str, columns: Collection[str]) -> str:
    """Return the QML of a layer with some columns."""
    if layer == SCENES_LAYER:
        return _filled(SCENES_QML, labels="1", fill="no", outline="solid")
    if layer == SEARCHED_LAYER:
        return _filled(SCENES_QML, labels="0", fill="solid", outline="no")
    return _filled(QML, outline_style=DOTTED_UNLESS_TEST if "split" in columns else "")


def _filled(template: str, **values: str) -> str:
    """Return a template with `{name}` replaced by values."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template
