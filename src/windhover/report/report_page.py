"""The report's page: what an evaluation found, in the order in which a person decides from it
whether to deploy.

Lays out sections of `windhover.report.html_page`. Computes no figure, and draws none: pictures are
files already.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from windhover.metrics.detection_metrics import place_table, size_name, size_table
from windhover.params import flatten
from windhover.report import html_page
from windhover.report.evaluation_result import Findings, describe, match_of, thresholds_of

CAPTIONS = {
    "pr_scenes": "Whole scenes after merging. The point is where the map is cut; its arms are 95 % intervals.",
    "froc_scenes": "How much is found for so many false alarms in a square kilometre.",
    "operating_point": "What the threshold trades on validation, where it was chosen.",
    "size_bands": "Objects of test by their longer side, found and missed at the threshold.",
    "reliability": "A score of 0.8 should be true in 80 % of the cases.",
    "windows": "The classifier on windows, as sampled and when objects are as rare as they are.",
}
WIDE = ("reliability", "windows")
PATCHES = "Contact sheet: patches of each split as cut; in green those with an object, in red the background."
WHY = "Why: what the network looked at in the worst of them. Windows of its own size."
GALLERY = (
    "A sure false alarm is often a missing label: look at these first. "
    "Orange: reported, the one in question unbroken. Green: what is there."
)
SCENES = "Most errors first. Expected: how many objects the scores promise, whatever the threshold, with its 95 % interval."
NEARNESS = (
    "AP when a detection must be nearer, or its box must overlap more, to count. No intervals."
)
NO_SCENES = (
    "No labelled scene was searched, so nothing is said of whole scenes: no recall, precision or false alarms per km2 "
    "of objects on a map. The figures below are of patches."
)
WINDOWS = "Patches of one window; the threshold is that of the best F1 on val at the true prior."


def html(findings: Findings, folder: Path, near: pd.DataFrame) -> str:
    """Return the report as one page; the pictures are those in `folder`."""
    test = findings.scenes["test"]
    rule = f"{findings.params.threshold_rule} {findings.params.threshold_rule_value:g}"
    found = "what counts as found: " + str(match_of(findings.params))
    curves = "".join(
        html_page.picture(folder / f"{name}.png", text, name in WIDE)
        for name, text in CAPTIONS.items()
    )
    errors = html_page.picture(folder / "errors.png", GALLERY, wide=True)
    why = html_page.picture(folder / "explained.png", WHY, wide=True)
    sheet = html_page.picture(folder / "patches.png", PATCHES, wide=True)
    learnt = [(path, text) for path, text in findings.training if path.is_file()]
    kinds = near.groupby("nearness", sort=False)
    names = ", ".join(findings.classes)
    title, subtitle = (
        "Windhover: how good is this model?",
        f"Model {findings.model}; finds {names}.",
    )
    point = html_page.section(
        "The operating point",
        html_page.table(
            html_page.point_table(findings.points, test, rule), ("class", "rule", "on")
        ),
    )
    on_windows = html_page.section(
        "On windows",
        html_page.words(WINDOWS),
        html_page.table(html_page.window_rows(findings.windows), ("split", "class")),
    )
    data = html_page.section(
        "The data", html_page.table(data_rows(findings), ("split",)), html_page.figures(sheet)
    )
    training = html_page.section(
        "The training", html_page.figures(*(html_page.picture(*one, wide=True) for one in learnt))
    )
    about = html_page.section(
        "The model and the parameters", html_page.table(settings(findings), ("of", "name", "value"))
    )
    if not findings.has_scenes:
        curve = html_page.figures(
            html_page.picture(folder / "windows.png", CAPTIONS["windows"], wide=True)
        )
        notes = html_page.notes((NO_SCENES, *findings.notes))
        sheets = html_page.section("The patches", html_page.figures(sheet))
        return html_page.page(
            title, subtitle, (notes, on_windows, curve, point, sheets, training, about)
        )
    parts = (
        html_page.cards(test.figures),
        *map(html_page.words, verdict(findings)),
        html_page.words(f"{describe(test)}; {found}."),
        html_page.notes(findings.notes),
        point,
        html_page.section("Curves", html_page.figures(curves)),
        html_page.section(
            "The worst errors, and some that are right",
            html_page.figures(errors, *([why] if findings.explained else [])),
        ),
        html_page.section(
            "By size",
            html_page.words("Longer side of the object."),
            html_page.table(size_rows(findings), ("longer side",)),
        ),
        html_page.section(
            "By place (test)",
            html_page.table(place_table(test).rename(columns=html_page.HEADS), ("place",)),
        ),
        html_page.section(
            "By scene (test)",
            html_page.words(SCENES),
            html_page.table(html_page.scene_rows(test), ("scene", "place", "expected")),
        ),
        html_page.section(
            "By how near is near enough (test)",
            html_page.words(NEARNESS),
            html_page.columns(
                *(
                    html_page.table(part[["at", "AP"]].rename(columns={"at": kind}))
                    for kind, part in kinds
                )
            ),
        ),
        on_windows,
        data,
        training,
        about,
    )
    return html_page.page(title, subtitle, parts)


def data_rows(findings: Findings) -> pd.DataFrame:
    """Return what each split's labelled scenes are."""
    grounds = {
        "train": findings.learnt,
        **{split: made.ground for split, made in findings.scenes.items()},
    }
    rows = []
    for split, ground in grounds.items():
        if ground is None:
            continue
        km2, number = float(ground.scenes["km2"].sum()), len(ground.objects)
        row = {
            "split": split,
            "scenes": len(ground.scenes),
            "places": int(ground.scenes["place"].nunique()),
        }
        row["without objects"] = len(ground.scenes) - int(ground.objects["scene"].nunique())
        rows.append(
            row | {"km²": km2, "objects": number, "objects per km²": number / km2 if km2 else None}
        )
    return pd.DataFrame(rows)


def size_rows(findings: Findings) -> pd.DataFrame:
    """Return how many objects of each size there are and are found, test beside val."""
    parts: dict[str, pd.Series[Any]] = {}
    for split in ("test", "val"):
        table = size_table(
            findings.scenes[split], thresholds_of(findings), findings.params.size_bands_m
        )
        table.index = pd.Index(
            [size_name(*borders) for borders in table[["from_m", "to_m"]].itertuples(index=False)]
        )
        parts |= {f"{name}, {split}": table[name] for name in ("objects", "found", "recall")}
    rows = pd.DataFrame(parts)  # a band that only one split has
    rows = rows.astype({name: "Int64" for name in rows if not str(name).startswith("recall")})
    return rows.rename_axis("longer side").reset_index()


def verdict(findings: Findings) -> list[str]:
    """Say for each class what a map cut at its threshold would hold, as test tells it."""
    said = []
    for name, point in findings.points.items():
        figures = findings.scenes["test"].per_class[name]
        recall, precision = figures["recall"].value, figures["precision"].value
        if recall is None or precision is None:
            continue
        alarms = figures["false_alarms_per_km2"].value
        rate = (
            ""
            if alarms is None
            else f", and every square kilometre holds {html_page.number(alarms)} false ones"
        )
        said.append(
            f"At the threshold {point.threshold:.3f}, chosen on val: of 100 objects of the class {name} about "
            f"{100 * recall:.0f} are found; of 100 on the map about {100 * precision:.0f} are real{rate}."
        )
    return said


def settings(findings: Findings) -> pd.DataFrame:
    """Return the model's card, its calibration and the stage's parameters as words."""
    card = flatten(
        {key: value for key, value in findings.card.items() if key not in ("training", "format")}
    )
    training = flatten(findings.card.get("training", {}))
    return html_page.setting_rows(
        ("model", card),
        ("training", training),
        ("calibration", {key: _short(value) for key, value in findings.calibration.items()}),
        ("evaluate", flatten(findings.params.model_dump(mode="json"))),
    )


def _short(value: float | tuple[float, ...]) -> str:
    return ", ".join(
        f"{number:.5g}" for number in (value if isinstance(value, tuple) else (value,))
    )
