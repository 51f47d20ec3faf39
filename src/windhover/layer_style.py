"""The look of a layer of detections in QGIS: outlines coloured by score, in a file that QGIS loads by itself.

A style file stands beside the GeoPackage, of the same name; inside, it would be a second layer to every other reader.
"""

from __future__ import annotations

from pathlib import Path

from windhover.files import atomic_file

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
        </Option>
       </Option>
       <Option name="type" value="collection" type="QString"/>
      </Option>
     </data_defined_properties>
    </layer>
   </symbol>
  </symbols>
 </renderer-v2>
</qgis>
"""


def write_style(layer_path: str | Path) -> None:
    """Write the style of a file of detections beside it, as `<name>.qml`."""
    with atomic_file(Path(layer_path).with_suffix(".qml")) as temporary:
        temporary.write_text(QML, encoding="utf-8")
