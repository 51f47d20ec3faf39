"""Open a GeoPackage of detections over its scenes in QGIS and draw the map as QGIS would show it.

    /usr/bin/python3 docs/images/qgis_map.py data/map/detections.gpkg map.png data/raw/iris-0*.tif

With the Python that QGIS is installed for. Prints what QGIS made of the layer as JSON; sets no
style of its own.
"""

import json
import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("GDAL_PAM_ENABLED", "NO")  # no statistics files beside the scenes

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateTransform,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize

GEOPACKAGE, PICTURE, *RASTERS = sys.argv[1:]
QgsApplication.setPrefixPath("/usr", True)
app = QgsApplication([], False)
app.initQgis()

layer = QgsVectorLayer(GEOPACKAGE, "detections", "ogr")
rasters = [QgsRasterLayer(path) for path in RASTERS]
shown = rasters[0] if rasters else layer
settings = QgsMapSettings()
settings.setLayers([layer, *rasters])
settings.setDestinationCrs(shown.crs())
settings.setTransformContext(QgsProject.instance().transformContext())
extent = shown.extent()
for raster in rasters[1:]:
    to_first = QgsCoordinateTransform(raster.crs(), shown.crs(), QgsProject.instance())
    extent.combineExtentWith(to_first.transformBoundingBox(raster.extent()))
settings.setExtent(extent)
settings.setOutputSize(QSize(1000, max(int(1000 * extent.height() / max(extent.width(), 1e-9)), 1)))
settings.setOutputDpi(96)
job = QgsMapRendererParallelJob(settings)
job.start()
job.waitForFinished()
job.renderedImage().save(PICTURE)

symbol_layer = layer.renderer().symbol().symbolLayer(0)
properties = symbol_layer.dataDefinedProperties()
found = {
    "qgis": Qgis.QGIS_VERSION,
    "valid": layer.isValid(),
    "crs": layer.crs().authid(),
    "objects": layer.featureCount(),
    "fields": [field.name() for field in layer.fields()],
    "sub_layers": len(layer.dataProvider().subLayers()),
    "fill": symbol_layer.properties().get("style"),
    "colour_by": [properties.property(key).expressionString() for key in properties.propertyKeys()],
    "rasters": [raster.isValid() for raster in rasters],
}
print(json.dumps(found))
