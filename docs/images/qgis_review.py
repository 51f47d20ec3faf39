"""Open a review file in QGIS, answer its first row as a person does, and draw the form.

    /usr/bin/python3 docs/images/qgis_review.py review.gpkg form.png [--answer] [--move]

With the Python that QGIS is installed for. `--answer` writes the verdict `object` into the first
row and deletes none, adds a shape to the layer of labels and declares the first area complete, all
saved by QGIS itself. `--map map.png RASTER` also draws the layers over a raster, around the first
area. Prints what QGIS made of the layers as JSON.
"""

import json
import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("GDAL_PAM_ENABLED", "NO")

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateTransform,
    QgsGeometry,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)
from qgis.gui import QgsAttributeForm, QgsGui
from qgis.PyQt.QtCore import QEventLoop, QSize, QTimer

GEOPACKAGE, PICTURE, *OPTIONS = sys.argv[1:]
QgsApplication.setPrefixPath("/usr", True)
app = QgsApplication([], True)
app.initQgis()
QgsGui.editorWidgetRegistry().initEditors()


def wait(milliseconds):
    """Let QGIS draw what it has to."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec_()


def first(layer):
    """Return the feature of the smallest id."""
    return min(layer.getFeatures(), key=lambda feature: feature.id())


layers = {}
for name in ("review", "labels", "areas", "scenes"):
    layers[name] = QgsVectorLayer(f"{GEOPACKAGE}|layername={name}", name, "ogr")
QgsProject.instance().addMapLayers(layers.values())
review = layers["review"]
if "--answer" in OPTIONS:
    review.startEditing()
    row = first(review)
    review.changeAttributeValue(row.id(), review.fields().indexOf("verdict"), "object")
    if "--move" in OPTIONS:
        shape = QgsGeometry(row.geometry())
        shape.translate(5.0, -2.5)
        review.changeGeometry(row.id(), shape)
    saved = [review.commitChanges()]
    labels = layers["labels"]
    labels.startEditing()
    center = first(layers["scenes"]).geometry().boundingBox().center()
    drawn = QgsGeometry.fromPointXY(center).buffer(8.0, 1).boundingBox()
    feature = QgsVectorLayerUtils.createFeature(labels, QgsGeometry.fromRect(drawn))
    feature["class"] = row["class"]
    labels.addFeature(feature)
    saved.append(labels.commitChanges())
    areas = layers["areas"]
    if areas.featureCount():
        areas.startEditing()
        areas.changeAttributeValue(first(areas).id(), areas.fields().indexOf("state"), "complete")
        saved.append(areas.commitChanges())
else:
    saved = []

review.startEditing()  # as a person sees the form, its choices enabled
form = QgsAttributeForm(review, first(review))
form.resize(560, 760)
form.show()
wait(2500)
form.grab().save(PICTURE)
if "--map" in OPTIONS:
    picture, raster_path = OPTIONS[OPTIONS.index("--map") + 1 :][:2]
    raster = QgsRasterLayer(raster_path)
    settings = QgsMapSettings()
    settings.setLayers([review, layers["labels"], layers["areas"], raster])
    settings.setDestinationCrs(raster.crs())
    settings.setTransformContext(QgsProject.instance().transformContext())
    area = next(
        feature.geometry()
        for feature in layers["areas"].getFeatures()
        if feature["scene"] == os.path.splitext(os.path.basename(raster_path))[0]
    )
    to_raster = QgsCoordinateTransform(review.crs(), raster.crs(), QgsProject.instance())
    extent = to_raster.transformBoundingBox(area.boundingBox())
    extent.scale(1.15)
    settings.setExtent(extent)
    settings.setOutputSize(QSize(1000, 760))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(picture)
setup = review.editorWidgetSetup(review.fields().indexOf("verdict"))
project = QgsProject()
is_read = project.read(os.path.splitext(GEOPACKAGE)[0] + ".qgs")
in_tree = [node.layer() for node in project.layerTreeRoot().findLayers()]
found = {
    "project": [layer is not None and layer.isValid() for layer in in_tree],
    "project_read": is_read,
    "qgis": Qgis.QGIS_VERSION,
    "valid": [layer.isValid() for layer in layers.values()],
    "rows": {name: layer.featureCount() for name, layer in layers.items()},
    "widget": setup.type(),
    "form": review.editFormConfig().layout(),
    "read_only": [
        field.name()
        for number, field in enumerate(review.fields())
        if review.editFormConfig().readOnly(number)
    ],
    "renderer": review.renderer().type(),
    "saved": saved,
}
print(json.dumps(found))
