"""What a person should know before a training, of the scenes and labels as the stages will see
them.

One sentence each, with the command that changes it. Findings of `windhover init` come first; these
here follow from the current parameters.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from windhover.dataset.build_catalog import IN_GUARD_STRIPS
from windhover.dataset.catalog import Catalog
from windhover.dataset.splits import SPLITS
from windhover.geometry.windows import WINDOW_PX
from windhover.progress import counted
from windhover.project.proposal import Finding
from windhover.project.propose import LARGE_PX
from windhover.project.setup_record import ProjectSetup

SMALL_PX = 8.0  # objects below this are hard to tell from texture
NEARLY = 1.1  # times too long, up to which `propose_gsd` keeps the scenes' own GSD
FEW_OBJECTS = 30  # of train, below which a model is a first look
FEW_MEASURED = 10  # of test, below which a figure says little


def findings_of(catalog: Catalog, objects: pd.DataFrame, setup: ProjectSetup) -> list[Finding]:
    """Return what to know of a project, most important first.

    Args:
        catalog: as the stage `scenes` builds it.
        objects: from `objects_in_px`.
        setup: what `windhover init` measured and proposed.
    """
    found = [
        *_sizes(catalog, objects, setup),
        *_counts(catalog, objects),
        *_dropped(catalog),
    ]
    of_init = [one for one in setup.proposal.findings if one.kind != "time"]
    told = {one.sentence for one in of_init}
    return [*of_init, *(one for one in found if one.sentence not in told)]


def _sizes(catalog: Catalog, objects: pd.DataFrame, setup: ProjectSetup) -> Iterator[Finding]:
    sized = objects.loc[objects["length"] > 0, "length"]
    if sized.empty:
        return
    n_large = int((sized > LARGE_PX).sum())
    n_small = int((sized < SMALL_PX).sum())
    coarser = float(sized.quantile(0.95)) / LARGE_PX
    if coarser > NEARLY:
        command = f"windhover set scenes.gsd_m={catalog.gsd_m * coarser:.2g}"
        if float(sized.quantile(0.1)) < SMALL_PX * coarser:
            command = "windhover set 'evaluate.scales=[1,2]'"
        yield Finding(
            kind="limit",
            sentence=f"of {len(sized)} objects, {n_large} {_are(n_large)} longer than "
            f"{LARGE_PX:g} px: a window of {WINDOW_PX} px shows too little of each",
            command=command,
        )
    if n_small:
        command = ""
        if catalog.gsd_m > float(catalog.scenes["gsd_x_m"].min()) * 1.01:
            command = f"windhover set scenes.gsd_m={catalog.gsd_m / 2:.2g}"
        yield Finding(
            kind="limit",
            sentence=f"of {len(sized)} objects, {n_small} {_are(n_small)} shorter than "
            f"{SMALL_PX:g} px: expect more misses and false alarms among them",
            command=command,
        )


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _counts(catalog: Catalog, objects: pd.DataFrame) -> Iterator[Finding]:
    split_of = dict(zip(catalog.scenes["scene"], catalog.scenes["split"], strict=True))
    counts = objects["scene"].map(split_of).value_counts()
    n_train = int(counts.get("train", 0))
    if n_train < FEW_OBJECTS:
        yield Finding(
            kind="limit",
            sentence=f"{counted(n_train, 'object')} to learn from: a first look, not a detector; "
            f"{FEW_OBJECTS} or more are a start",
        )
    n_test = int(counts.get("test", 0))
    if 0 < n_test < FEW_MEASURED:
        yield Finding(
            kind="limit",
            sentence=f"{counted(n_test, 'object')} to test on: one more found or missed moves the "
            f"recall by {100 / n_test:.0f} percent",
        )


def _dropped(catalog: Catalog) -> Iterator[Finding]:
    for reason, count in catalog.report.dropped.items():
        if count and reason != IN_GUARD_STRIPS:  # a note has their share
            yield Finding(kind="left out", sentence=f"{counted(count, 'label')}: {reason}")
    for note in catalog.report.notes:
        yield Finding(kind="assumed", sentence=note)


def split_rows(catalog: Catalog, objects: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each split: its places, scenes, objects and ground in km2."""
    scenes = catalog.scenes
    area = scenes["width_px"] * scenes["gsd_x_m"] * scenes["height_px"] * scenes["gsd_y_m"] / 1e6
    labeled = scenes["labeled"].astype(bool)
    rows = []
    for split in (*SPLITS, "unlabeled"):
        chosen = labeled & (scenes["split"] == split)
        if split == "unlabeled":
            chosen = ~labeled
        names = set(scenes.loc[chosen, "scene"])
        if split == "unlabeled" and not names:
            continue
        rows.append(
            {
                "split": split,
                "places": int(scenes.loc[chosen, "place"].nunique()),
                "scenes": len(names),
                "objects": int(objects["scene"].isin(names).sum()),
                "km²": float(area[chosen].sum()),
            }
        )
    return pd.DataFrame(rows)
