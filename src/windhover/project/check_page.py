"""The check page of a project: what the training will see, before any training.

Fills a template. The pictures and numbers come from the catalog that the stage `scenes` would build
now, the reasons from `setup.json`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from windhover.dataset.block_plan import BlockPlan
from windhover.dataset.catalog import Catalog
from windhover.dataset.spatial_blocks import BLOCK_SEPARATOR
from windhover.params import value_at
from windhover.progress import counted
from windhover.project.check_findings import findings_of, split_rows
from windhover.project.check_pictures import extreme_sheet, scene_pictures, window_sheet
from windhover.project.objects_in_px import objects_in_px
from windhover.project.proposal import Finding, Proposal
from windhover.project.setup_record import ProjectSetup
from windhover.project.split_map import map_of_places, place_panels
from windhover.rendering.html_page import Card, render_page, table_of
from windhover.rendering.text import capitalized

N_LEFT_OUT = 100  # rasters that the page lists


class ShownFinding(NamedTuple):
    """A finding, as the page shows it."""

    kind: str
    sentence: str
    command: str


class ShownValue(NamedTuple):
    """A proposed value: the command that sets it, why, and what it is now where that differs."""

    command: str
    reason: str
    now: str


def check_page(
    catalog: Catalog,
    setup: ProjectSetup,
    *,
    name: str,
    params: Mapping[str, Any],
    folds: BlockPlan | None,
) -> str:
    """Return the page as HTML.

    Args:
        catalog: as the stage `scenes` builds it; its rasters can be read.
        setup: what `windhover init` measured and proposed.
        name: of the project.
        params: content of params.yaml.
        folds: blocks of a cross-validation next to the model that learns from all.
    """
    objects = objects_in_px(catalog)
    panels, n_more = place_panels(catalog, folds)
    pictures = None
    if len(objects):
        pictures = (window_sheet(catalog, objects), extreme_sheet(catalog, objects))
    left_out: tuple[Any, ...] = ()
    if setup.measurements is not None:
        left_out = setup.measurements.left_out
    return render_page(
        "check_page.html.j2",
        title=f"Before the training: {name}",
        cards=_cards(catalog, setup, len(objects), params=params),
        findings=[_shown(one) for one in findings_of(catalog, objects, setup)],
        scenes=scene_pictures(catalog, objects),
        pictures=pictures,
        split_table=table_of(split_rows(catalog, objects), ("split",)),
        map=map_of_places(catalog),
        panels=panels,
        n_more=n_more,
        left_out=left_out[:N_LEFT_OUT],
        n_more_left_out=max(len(left_out) - N_LEFT_OUT, 0),
        values=shown_values(setup.proposal, params),
    )


def _cards(
    catalog: Catalog, setup: ProjectSetup, n_objects: int, *, params: Mapping[str, Any]
) -> list[Card]:
    """Return the headline numbers."""
    names = ", ".join(catalog.classes[:4])
    return [
        _scenes_card(catalog),
        Card("objects", str(n_objects), names),
        Card("metres per pixel of the search", f"{catalog.gsd_m:g}", ", ".join(catalog.bands)),
        *_minutes_card(setup, params),
    ]


def _scenes_card(catalog: Catalog) -> Card:
    """Return how many scenes there are, of how many places or parts."""
    names = {name.split(BLOCK_SEPARATOR)[0] for name in catalog.scenes["scene"]}
    report = catalog.report
    of = f"of {counted(report.places, 'place')}"
    if len(names) < report.scenes:
        of = f"cut into {counted(report.scenes, 'part')}"
    return Card("scenes", str(len(names)), of)


def _minutes_card(setup: ProjectSetup, params: Mapping[str, Any]) -> list[Card]:
    """Return the expected time; nothing for a project made by hand."""
    minutes = setup.proposal.minutes
    if not minutes:
        return []
    # the minutes of training may have been changed since; the rest of the estimate stays
    proposed = setup.proposal.value_of("train.max_minutes")
    now = value_at(params, "train.max_minutes")
    if proposed is not None and now is not None:
        minutes += now - proposed
    how = "on two cores; change: windhover set train.max_minutes=60"
    return [Card("minutes until the map", f"{minutes:.0f}", how)]


def _shown(finding: Finding) -> ShownFinding:
    sentence = capitalized(finding.sentence).rstrip(".")
    command = finding.command
    if command.startswith("--"):
        command = f"windhover init ... {command}"
    return ShownFinding(finding.kind, f"{sentence}.", command)


def shown_values(proposal: Proposal, params: Mapping[str, Any]) -> list[ShownValue]:
    """Return the proposed values as commands, the last of each name, where they are of use."""
    shown = []
    for one in {value.name: value for value in proposal.values}.values():
        now = value_at(params, one.name)
        differs = ""
        if now != one.value:
            differs = _as_text(now)
        command = f"windhover set {shlex.quote(f'{one.name}={_as_text(one.value)}')}"
        reason = one.reason
        if reason.startswith("--"):
            reason = f"as asked: {reason}"
        shown.append(ShownValue(command, reason, differs))
    return shown


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
