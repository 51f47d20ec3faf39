"""The report as one page that opens anywhere, offline: figures with intervals, curves, tables,
errors as pictures.

A page of text and tables with its pictures inside: no script, nothing fetched. Computes nothing:
the figures come from `windhover.report.write_report`. The same findings give the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from windhover.metrics.detection_metrics import Assessment, Figure, Point
from windhover.metrics.window_metrics import WindowFigures

STYLE = """
:root{--ink:#1c2733;--soft:#5f6b7a;--line:#e3e8ee;--wash:#f6f8fa;--blue:#0b6e99;--warn:#b35309}
*{box-sizing:border-box}
body{margin:0;color:var(--ink);background:#fff;
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:20px 20px 60px}
h1{font-size:26px;line-height:1.2;margin:10px 0 4px}
h2{font-size:19px;margin:38px 0 8px;padding-top:12px;border-top:1px solid var(--line)}
p{margin:6px 0;max-width:75ch}
.soft{color:var(--soft);font-size:13.5px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(max(150px,22%),1fr));gap:12px;margin:16px 0}
.card{border:1px solid var(--line);border-radius:8px;padding:12px 14px;background:var(--wash)}
.card b{display:block;font-size:27px;line-height:1.2;font-variant-numeric:tabular-nums}
.card .name{color:var(--soft);font-size:13px}
.card .span{font-size:12.5px;color:var(--soft);font-variant-numeric:tabular-nums}
.note{border-left:4px solid var(--warn);background:#fff7ed;padding:8px 12px;margin:8px 0;border-radius:0 6px 6px 0}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:16px}
figure{margin:0;min-width:0;border:1px solid var(--line);border-radius:8px;padding:10px;background:#fff}
figure.wide{grid-column:1/-1}
figure img{display:block;width:100%;height:auto}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,220px),1fr));gap:16px;align-items:start}
.columns .scroll{max-height:none}
@media(max-width:700px){figure.wide{overflow-x:auto}figure.wide img{width:820px;max-width:none}
  figure.wide figcaption{position:sticky;left:0;max-width:330px}}
figcaption{font-size:13px;color:var(--soft);padding-top:6px}
.scroll{overflow-x:auto;max-height:420px;overflow-y:auto;border:1px solid var(--line);border-radius:8px;margin:8px 0}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th{background:var(--wash);color:var(--soft);font-weight:600;position:sticky;top:0}
td.word,th.word{text-align:left}
tr:last-child td{border-bottom:0}
"""
CARDS = (
    ("ap", "average precision"), ("recall", "recall"), ("precision", "precision"), ("f1", "F1"),
    ("false_alarms_per_km2", "false alarms per km²"), ("recall_at_1_per_km2", "recall at 1 false alarm per km²"),
    ("recall_at_5_per_km2", "recall at 5 false alarms per km²"),
    ("count_error", "count error per scene"),
)  # fmt: skip
HEADS = {"km2": "km²", "false_alarms": "false alarms", "false_alarms_per_km2": "false alarms/km²"}


def cards(figures: Mapping[str, Figure]) -> str:
    """Return the headline figures as cards."""
    made = []
    for key, label in CARDS:
        figure = figures.get(key, Figure(None, None, None))
        span = (
            "no interval"
            if figure.low is None
            else f"95 %: {number(figure.low)} to {number(figure.high)}"
        )
        body = f'<span class="name">{label}</span><b>{number(figure.value)}</b><span class="span">{span}</span>'
        made.append(f'<div class="card">{body}</div>')
    return f'<div class="cards">{"".join(made)}</div>'


def table(frame: pd.DataFrame, words: Sequence[str] = ()) -> str:
    """Return a table; columns named in `words` stand to the left."""
    heads = "".join(f"<th{_side(name, words)}>{escape(str(name))}</th>" for name in frame.columns)
    rows = []
    for row in frame.itertuples(index=False):
        cells = (
            f"<td{_side(name, words)}>{_cell(value)}</td>"
            for name, value in zip(frame.columns, row, strict=True)
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def picture(path: Path, caption: str, wide: bool = False) -> str:
    """Return a PNG inside the page, with what it shows in words."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    kind = ' class="wide"' if wide else ""
    return (
        f'<figure{kind}><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def section(title: str, *parts: str) -> str:
    """Return a heading and what belongs to it."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def figures(*pictures: str) -> str:
    """Return pictures side by side where there is room."""
    return f'<div class="figures">{"".join(pictures)}</div>'


def columns(*tables: str) -> str:
    """Return tables side by side where there is room."""
    return f'<div class="columns">{"".join(tables)}</div>'


def words(text: str) -> str:
    """Return a paragraph of plain text."""
    return f'<p class="soft">{escape(text)}</p>'


def notes(sentences: Iterable[str]) -> str:
    """Return sentences that a reader must not miss."""
    return "".join(f'<div class="note">{escape(sentence)}</div>' for sentence in sentences)


def page(title: str, subtitle: str, parts: Iterable[str]) -> str:
    """Return the whole page."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1>{words(subtitle)}{''.join(parts)}</main></body></html>\n"
    )


def point_table(points: Mapping[str, Point], test: Assessment, rule: str) -> pd.DataFrame:
    """Return each class's operating point, as chosen on val and as it turned out on test."""
    rows = []
    for name, point in points.items():
        figures = test.per_class[name]
        head = {
            "class": name, "rule": rule + ("" if point.met else " (not met)"), "threshold": point.threshold,
            "its 95 %": span(Figure(point.threshold, point.low, point.high)),
        }  # fmt: skip
        val = (point.precision, point.recall, point.f1, point.false_alarms_per_km2)
        on_test = (
            figures[key].value for key in ("precision", "recall", "f1", "false_alarms_per_km2")
        )
        columns = ("precision", "recall", "F1", "false alarms/km²")
        rows.append({**head, "on": "val", **dict(zip(columns, val, strict=True))})
        rows.append({**head, "on": "test", **dict(zip(columns, on_test, strict=True))})
    return pd.DataFrame(rows)


def scene_rows(made: Assessment) -> pd.DataFrame:
    """Return the scenes, those with most errors first."""
    worst = made.per_scene.assign(missed=made.per_scene["objects"] - made.per_scene["found"])
    worst = worst.assign(errors=worst["missed"] + worst["false_alarms"])
    worst = worst.sort_values(["errors", "scene"], ascending=[False, True], kind="stable")
    worst["expected"] = [
        f"{mean:.1f} ({low:.1f} to {high:.1f})"
        for mean, low, high in worst[["expected", "expected_low", "expected_high"]].itertuples(
            index=False
        )
    ]
    columns = [
        "scene",
        "place",
        "km2",
        "objects",
        "reported",
        "found",
        "missed",
        "false_alarms",
        "precision",
        "recall",
        "expected",
    ]
    return worst[columns].rename(columns=HEADS)


def window_rows(windows: Mapping[str, Mapping[str, WindowFigures]]) -> pd.DataFrame:
    """Return the figures on windows by split and class."""
    rows = []
    for split, classes in windows.items():
        for name, made in classes.items():
            true_hit, false_alarm, missed, rest = made.confusion
            rows.append({
                "split": split, "class": name, "threshold": made.threshold,
                "found": true_hit, "false alarms": false_alarm, "missed": missed, "rest": rest,
                "precision": made.precision, "precision at true prior": made.precision_true, "recall": made.recall,
                "AUC": made.auc, "AP as sampled": made.ap_sampled, "AP at true prior": made.ap_true,
            })  # fmt: skip
    return pd.DataFrame(rows)


def setting_rows(*groups: tuple[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return parameters by group, as words."""
    rows = [
        (group, str(key), _plain(value))
        for group, values in groups
        for key, value in values.items()
    ]
    return pd.DataFrame(rows, columns=["of", "name", "value"])


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def number(value: Any) -> str:
    """Return a figure with three digits that matter; a dash where there is none."""
    if value is None or value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    if isinstance(value, (int, np.integer)):
        return str(value)
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def span(figure: Figure) -> str:
    """Return an interval in words."""
    return "–" if figure.low is None else f"{number(figure.low)} to {number(figure.high)}"


def _cell(value: Any) -> str:
    return escape(value) if isinstance(value, str) else number(value)


def _side(name: Any, words: Sequence[str]) -> str:
    return ' class="word"' if name in words else ""
