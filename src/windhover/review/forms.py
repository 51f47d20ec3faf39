"""How QGIS shows a review file: forms, pictures, colors and tables, inside the GeoPackage.

QGIS reads a layer's default style from the table `layer_styles` (as `export.qgis_style` writes it);
the forms are of the kind that QGIS calls drag and drop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from windhover.export.qgis_style import ENTRY, STYLE, TABLE
from windhover.review.review_record import STAMP

REVIEW_LAYER = "review"
LABELS_LAYER = "labels"
AREAS_LAYER = "areas"
SCENES_LAYER = "scenes"
OBJECT = "object"
NOT_OBJECT = "not an object"
OTHER_CLASS = "other class"
UNSURE = "unsure"
VERDICTS = (OBJECT, NOT_OBJECT, OTHER_CLASS, UNSURE)
# what a person can declare of an area; the roles are those of `scenes.areas`
STATES = {
    "complete: every object in it has a shape": "complete",
    "positive_only: some objects have no shape": "positive_only",
    "ignore: it does not count": "ignore",
}
CHIP = "chip"
WAITING_COLOR = "255,190,0,255"
VERDICT_COLORS = {
    OBJECT: "47,158,68,255",
    NOT_OBJECT: "224,49,49,255",
    OTHER_CLASS: "112,72,232,255",
    UNSURE: "134,142,150,255",
}
# an expression of QGIS; without quotes around values, since it is in quotes itself
PICTURE = "coalesce('<img width=384 src=data:image/jpeg;base64,' || to_base64(chip) || '>', '')"
FORM_PICTURE = f'<script>document.write(expression.evaluate("{PICTURE}"));</script>'
MAP_TIP = f"<b>[% question %]</b><br/>[% {PICTURE} %]"
ALIASES = {"other_class": "other class", "selected_by": "chosen by"}


def add_forms(geopackage: Path, classes: Sequence[str], layers: Sequence[str]) -> None:
    """Write the styles and forms of the layers into their GeoPackage; all of it or nothing."""
    with closing(sqlite3.connect(geopackage)) as database, database:
        database.execute(TABLE)
        database.execute(ENTRY, (STAMP,))
        for layer in layers:
            columns = [row[1] for row in database.execute(f'PRAGMA table_info("{layer}")')]
            fields = [name for name in columns if name != "geom"]
            database.execute(STYLE, (layer_style(layer, fields, classes), STAMP, layer))


def layer_style(layer: str, fields: Sequence[str], classes: Sequence[str]) -> str:
    """Return the QML of a layer with some fields, its form included.

    Args:
        layer: its name.
        fields: in the order of the table.
        classes: that a label may have.
    """
    if layer == REVIEW_LAYER:
        return _review_style(fields, classes)
    if layer == LABELS_LAYER:
        return _labels_style(fields, classes)
    if layer == AREAS_LAYER:
        return _areas_style(fields)
    outline = _single("42,111,151,255", style="dash")
    return _qml(outline, fields, {}, form=fields, shown=fields, title='"scene"')


def _review_style(fields: Sequence[str], classes: Sequence[str]) -> str:
    """Return the QML of the layer of detections."""
    editable = {
        "verdict": _choice({verdict: verdict for verdict in VERDICTS}),
        "other_class": _choice({name: name for name in classes}),
        "reviewer": _text(),
        "comment": _text(),
    }
    return _qml(
        _categories("verdict", VERDICT_COLORS),
        fields,
        editable,
        form=["question", CHIP, *editable, "class", "scene", "score", "selected_by"],
        shown=["rank", "question", *editable],
        title='"rank"',
        tip=MAP_TIP,
    )


def _labels_style(fields: Sequence[str], classes: Sequence[str]) -> str:
    """Return the QML of the layer of labels."""
    editable = {
        "class": _choice({name: name for name in classes}),
        "ignored": _flag(),
        "reviewer": _text(),
        "comment": _text(),
    }
    return _qml(
        _single("0,145,255,255", style="solid"),
        fields,
        editable,
        form=[*editable, "scene", "label_id"],
        shown=[*editable, "scene"],
        title='"class"',
    )


def _areas_style(fields: Sequence[str]) -> str:
    """Return the QML of the layer of areas."""
    editable = {"state": _choice(STATES), "reviewer": _text(), "comment": _text()}
    return _qml(
        _categories("state", {"complete": VERDICT_COLORS[OBJECT]}),
        fields,
        editable,
        form=["question", *editable, "scene"],
        shown=["number", "question", *editable, "scene"],
        title='"number"',
    )


def _qml(
    renderer: str,
    fields: Sequence[str],
    editable: Mapping[str, str],
    *,
    form: Sequence[str],
    shown: Sequence[str],
    title: str,
    tip: str = "",
) -> str:
    """Return the QML of a layer.

    Args:
        renderer: XML of the symbols.
        fields: of the table.
        editable: field -> XML of its widget; all others are shown and cannot be edited.
        form: fields of the form, from the top; `CHIP` is shown as a picture.
        shown: columns of the attribute table, the others are hidden.
        title: expression of a row's name.
        tip: HTML of the map tip.
    """
    widgets = []
    for name in fields:
        hidden = '<editWidget type="Hidden"><config><Option/></config></editWidget>'
        widget = editable.get(name, hidden if name == CHIP else _text())
        widgets.append(f"<field name={quoteattr(name)}>{widget}</field>")
    locked = [
        f'<field name={quoteattr(name)} editable="{int(name in editable)}"/>' for name in fields
    ]
    columns = [*shown, *(name for name in fields if name not in shown)]
    table = [
        f'<column type="field" name={quoteattr(name)} hidden="{int(name not in shown)}"/>'
        for name in columns
    ]
    aliases = [
        f'<alias field={quoteattr(name)} index="{number}" name={quoteattr(ALIASES.get(name, ""))}/>'
        for number, name in enumerate(fields)
    ]
    elements = [_form_element(name, fields) for name in form if name in fields]
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="AllStyleCategories" labelsEnabled="0">
 {renderer}
 <fieldConfiguration>{"".join(widgets)}</fieldConfiguration>
 <aliases>{"".join(aliases)}</aliases>
 <editable>{"".join(locked)}</editable>
 <attributetableconfig sortExpression="{escape(shown[0])}" sortOrder="0">
  <columns>{"".join(table)}</columns>
 </attributetableconfig>
 <editorlayout>tablayout</editorlayout>
 <featformsuppress>0</featformsuppress>
 <attributeEditorForm>{"".join(elements)}</attributeEditorForm>
 <previewExpression>{escape(title)}</previewExpression>
 <mapTip>{escape(tip)}</mapTip>
</qgis>
"""


def _form_element(name: str, fields: Sequence[str]) -> str:
    """Return the XML of one element of a form."""
    if name == CHIP:
        return (
            '<attributeEditorHtmlElement name="picture" showLabel="0">'
            f"{escape(FORM_PICTURE)}</attributeEditorHtmlElement>"
        )
    return (
        f'<attributeEditorField name={quoteattr(name)} index="{fields.index(name)}" showLabel="1"/>'
    )


def _choice(values: Mapping[str, str]) -> str:
    """Return a widget that offers values; the shown words are the keys."""
    rows = [
        f'<Option type="Map"><Option name={quoteattr(words)} type="QString" '
        f"value={quoteattr(value)}/></Option>"
        for words, value in {"": "", **values}.items()
    ]
    return (
        '<editWidget type="ValueMap"><config><Option type="Map"><Option name="map" type="List">'
        f"{''.join(rows)}</Option></Option></config></editWidget>"
    )


def _text() -> str:
    return '<editWidget type="TextEdit"><config><Option/></config></editWidget>'


def _flag() -> str:
    return '<editWidget type="CheckBox"><config><Option/></config></editWidget>'


def _categories(field: str, colors: Mapping[str, str]) -> str:
    """Return symbols by the value of a field: outlines, and one for all other values."""
    categories = []
    symbols = []
    for number, (value, color) in enumerate({**colors, "": WAITING_COLOR}.items()):
        label = value or "to do"
        categories.append(
            f'<category value={quoteattr(value)} symbol="{number}" label={quoteattr(label)} '
            'render="true"/>'
        )
        symbols.append(_symbol(str(number), color, "solid"))
    return (
        f'<renderer-v2 type="categorizedSymbol" attr="{field}" enableorderby="0" forceraster="0" '
        f'symbollevels="0"><categories>{"".join(categories)}</categories>'
        f"<symbols>{''.join(symbols)}</symbols></renderer-v2>"
    )


def _single(color: str, *, style: str) -> str:
    return (
        '<renderer-v2 type="singleSymbol" enableorderby="0" forceraster="0" symbollevels="0">'
        f"<symbols>{_symbol('0', color, style)}</symbols></renderer-v2>"
    )


def _symbol(name: str, color: str, style: str) -> str:
    """Return an outline."""
    return f"""<symbol name="{name}" type="fill" alpha="1" clip_to_extent="1" force_rhr="0">
<layer class="SimpleFill" enabled="1" locked="0" pass="0"><Option type="Map">
<Option name="style" value="no" type="QString"/>
<Option name="outline_color" value="{color}" type="QString"/>
<Option name="outline_style" value="{style}" type="QString"/>
<Option name="outline_width" value="0.5" type="QString"/>
<Option name="outline_width_unit" value="MM" type="QString"/>
</Option></layer></symbol>"""
