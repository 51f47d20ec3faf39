"""The patches stage's flow: windows chosen on every labeled scene, cut at the training GSD.

Scenes are cut one by one in the catalog's order, every draw has a seed of its own, each pixel
pattern is written once, and memory holds one scene at a time.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import shapely

from windhover.dataset.catalog import Catalog, SceneRow
from windhover.dataset.label_coverage import LabelCoverage
from windhover.dataset.label_rule import LabelRule
from windhover.dataset.splits import SPLITS
from windhover.errors import DataError, ParameterError
from windhover.geometry.lattice import outside_scene
from windhover.geometry.windows import HALF_WINDOW_PX, STRIDE_PX, WINDOW_PX
from windhover.params.patches import CoveragePatchesParams, PatchesParams
from windhover.patches.coverage_patches import cut_coverage_patches
from windhover.patches.cut_statistics import (
    CutStatistics,
    padding_value_of,
    rounded_mean,
    rounded_std,
)
from windhover.patches.leakage import check_leakage, measure_leakage
from windhover.patches.npz_patches import NpzContent, import_npz
from windhover.patches.patch_store import (
    INDEX_COLUMNS,
    KINDS,
    PatchWriter,
    index_table,
    write_index,
)
from windhover.patches.patch_summary import SUMMARY_FILE, Leakage, PatchSummary, ShareRule
from windhover.patches.scene_cutter import CutBatch, CutSettings, SceneCutter
from windhover.progress import track

RGB = ["red", "green", "blue"]
MAPPED_PATCHES = 4096  # of an array file that are in memory at once
# a labeled window of a large patch of coverage is that window alone, not its neighbors
WINDOW_ALONE = LabelRule(3.0, 5.0, "square")


def cut_patches(catalog: Catalog, params: PatchesParams, folder: Path) -> PatchSummary:
    """Write the patches of every labeled scene into an existing folder; return their summary.

    Args:
        catalog: scenes and labels.
        params: of the stage.
        folder: where the arrays, the index and the summary are written.

    Raises:
        DataError: there is nothing to cut, or patches of two splits overlap or are the same.
        ParameterError: a radius of the labels does not fit the stride or the window.
        FormatError: a raster cannot be read.
    """
    if params.npz is not None:
        return _import_ready_made(Path(params.npz), catalog, params, folder=folder)
    if catalog.is_coverage and len(catalog.scenes):
        return _cut_coverage(catalog, params, folder)
    if catalog.scenes.empty or not catalog.classes:
        raise DataError(
            "The catalog holds no object to learn. Bring labels (`scenes.labels`), or correct "
            "`scenes.classes`."
        )
    rule = label_rule_of(params, catalog.gsd_m)
    settings = CutSettings(params, rule, catalog.gsd_m, catalog.bands, catalog.classes)
    statistics = CutStatistics()
    index, shapes = _cut_scenes(catalog, settings, statistics, folder=folder)
    write_index(index, folder)
    _check_training_objects(index, statistics)
    mean, _ = statistics.training_pixels.mean_and_std()
    padding_value = padding_value_of(mean, np.dtype(catalog.dtype))
    _pad_patches(index, shapes, padding_value, folder=folder)
    facts = _cut_facts(index, rule, statistics) | {"padding_value": padding_value}
    return _write_summary(catalog, index, statistics, facts, folder=folder)


def _cut_coverage(catalog: Catalog, params: PatchesParams, folder: Path) -> PatchSummary:
    """Write the patches of classes without boxes; return their summary."""
    cut = cut_coverage_patches(catalog, params, folder)
    write_index(cut.index, folder)
    facts = _cut_facts(cut.index, WINDOW_ALONE, cut.statistics)
    facts["coverage"] = share_rule_of(params.coverage)
    # ground goes on beyond a border: its mirror image stands for it
    facts["padding_value"] = None
    return _write_summary(catalog, cut.index, cut.statistics, facts, folder=folder)


def _write_summary(
    catalog: Catalog,
    index: pd.DataFrame,
    statistics: CutStatistics,
    facts: dict[str, Any],
    *,
    folder: Path,
) -> PatchSummary:
    """Write the summary of patches, and return it.

    Args:
        catalog: that they were cut from.
        index: of the patches.
        statistics: of the cutting.
        facts: further fields of the summary.
        folder: of the patches.
    """
    leakage = measure_leakage(index, catalog.scenes, statistics.identical_across_splits)
    mean, std = statistics.training_pixels.mean_and_std()
    summary = PatchSummary(
        **facts,
        gsd_m=catalog.gsd_m,
        bands=catalog.bands,
        leakage=leakage,
        dtype=catalog.dtype,
        classes=catalog.classes,
        mean=rounded_mean(mean),
        std=rounded_std(std),
    )
    summary.save(folder / SUMMARY_FILE)
    check_leakage(leakage)
    return summary


def share_rule_of(params: CoveragePatchesParams) -> ShareRule:
    """Return by which shares patches are labeled."""
    return ShareRule(
        label_px=params.label_px, min_share=params.min_share, max_share=params.max_share
    )


def label_rule_of(params: PatchesParams, gsd_m: float) -> LabelRule:
    """Return when a window shows an object, in px at a GSD.

    Raises:
        ParameterError: a radius does not fit the stride or the window.
    """
    positive = _radius(
        "positive_radius", params.positive_radius_px, params.positive_radius_m, gsd_m=gsd_m
    )
    ignore = _radius("ignore_radius", params.ignore_radius_px, params.ignore_radius_m, gsd_m=gsd_m)
    _require(positive, positive.px >= STRIDE_PX / 2, "at least half a stride", STRIDE_PX / 2)
    _require(positive, positive.px <= HALF_WINDOW_PX, "at most half a window", HALF_WINDOW_PX)
    _require(ignore, ignore.px >= positive.px, f"at least `patches.{positive.key}`", positive.px)
    _require(ignore, ignore.px <= WINDOW_PX, "at most a window", WINDOW_PX)
    return LabelRule(positive.px, ignore.px, params.radius_shape)


class _Radius(NamedTuple):
    """A radius of the label rule, and the key of `patches` that it comes from."""

    key: str
    px: float
    gsd_m: float


def _radius(name: str, px: float, meters: float | None, *, gsd_m: float) -> _Radius:
    """Return a radius, px: from metres where they are given."""
    if meters is None:
        return _Radius(f"{name}_px", px, gsd_m)
    return _Radius(f"{name}_m", meters / gsd_m, gsd_m)


def _require(radius: _Radius, holds: bool, rule: str, limit_px: float) -> None:
    """Raise if a radius breaks a rule.

    Raises:
        ParameterError: it does; with the limit and the value in px and in m.
    """
    if holds:
        return
    gsd_m = radius.gsd_m
    raise ParameterError(
        f"`patches.{radius.key}`: must be {rule} ({_both_units(limit_px, gsd_m)}), got "
        f"{_both_units(radius.px, gsd_m)} at the training GSD of {gsd_m:g} m. Change it, or "
        "`scenes.gsd_m`; null for a radius in m takes the one in px, which follows the GSD."
    )


def _both_units(length_px: float, gsd_m: float) -> str:
    """Return a length in px and in m, such as `8 px = 10 m`."""
    return f"{length_px:g} px = {length_px * gsd_m:g} m"


def _cut_scenes(
    catalog: Catalog, settings: CutSettings, statistics: CutStatistics, *, folder: Path
) -> tuple[pd.DataFrame, dict[str, tuple[int, int]]]:
    """Write the arrays of all splits; return the index of the patches, and the scenes' shapes.

    What patches beyond a scene's border are padded with is known in the end.
    """
    labeled = [row for row in catalog if row.labeled]
    n_negatives = negatives_by_scene(catalog, settings.params)
    shape_hwc = (WINDOW_PX, WINDOW_PX, len(settings.bands))
    tables = []
    shapes: dict[str, tuple[int, int]] = {}
    with ExitStack() as stack:
        writers = {}
        for split in SPLITS:
            writer = PatchWriter(folder / f"{split}.npy", shape_hwc, np.dtype(catalog.dtype))
            writers[split] = stack.enter_context(writer)
        for row in track(labeled, "cutting patches", len(labeled)):
            cutter = SceneCutter(
                row,
                catalog,
                settings,
                n_negatives=n_negatives[row.scene],
                statistics=statistics,
            )
            records: list[dict[str, Any]] = []
            for batch in cutter.cut():
                is_new = statistics.select_new(batch.images, row.split)
                new = CutBatch(batch.images[is_new], batch.rows[is_new], batch.scene_hw)
                records += _write_batch(new, writers[row.split])
                shapes[row.scene] = batch.scene_hw
            if records:
                tables.append(index_table(records))
    index = pd.concat(tables, ignore_index=True) if tables else index_table([])
    return index, shapes


def _write_batch(batch: CutBatch, writer: PatchWriter) -> list[dict[str, Any]]:
    """Write patches; return their index rows with the patch numbers."""
    first = writer.count
    writer.append(batch.images)
    index = batch.rows.assign(patch=np.arange(first, writer.count))
    records: list[dict[str, Any]] = index[list(INDEX_COLUMNS)].to_dict("records")  # type: ignore[assignment]
    return records


def _pad_patches(
    index: pd.DataFrame,
    shapes: dict[str, tuple[int, int]],
    padding_value: tuple[float, ...],
    *,
    folder: Path,
) -> None:
    """Write the padding value into the pixels of patches beyond their scene's border.

    Args:
        index: of all patches.
        shapes: rows and columns of each scene, px of the training GSD.
        padding_value: of each band.
        folder: of the arrays.
    """
    for split, rows in index.groupby("split", sort=False):
        path = folder / f"{split}.npy"
        for start in range(0, len(rows), MAPPED_PATCHES):
            # mapped anew, since the pages of a map stay in memory until it is closed
            images = np.load(path, mmap_mode="r+", allow_pickle=False)
            value = np.asarray(padding_value).astype(images.dtype)
            part = rows.iloc[start : start + MAPPED_PATCHES]
            columns = (part[name].tolist() for name in ("patch", "scene", "top_px", "left_px"))
            for patch, scene, top, left in zip(*columns, strict=True):
                window = (top, top + WINDOW_PX, left, left + WINDOW_PX)
                outside = outside_scene(shapes[scene], window)
                if outside.any():
                    images[patch][outside] = value
            images.flush()
            del images


def negatives_by_scene(catalog: Catalog, params: PatchesParams) -> dict[str, dict[str, int]]:
    """Return how many negatives of each kind every labeled scene gives.

    Random and lookalike ones are divided by the ground where background is known, so that empty
    scenes give some too and a crowded scene gives no more than its area; off-center ones by
    objects.
    """
    scenes = catalog.scenes[catalog.scenes["labeled"]].copy()
    is_object = catalog.labels["role"] == "object"
    n_objects = scenes["scene"].map(catalog.labels[is_object]["scene"].value_counts()).fillna(0)
    if params.max_objects_per_scene is not None:
        n_objects = n_objects.clip(upper=params.max_objects_per_scene)
    scenes["positives"] = n_objects * params.positives_per_object
    scenes["known"] = [_known_m2(row, catalog) for row in catalog if row.labeled]
    totals = scenes.groupby("split")[["positives", "known"]].transform("sum")
    by_known = (scenes["known"] / totals["known"] * totals["positives"]).fillna(0)
    ratio = params.negatives_per_positive
    table = pd.DataFrame(
        {
            "random": np.ceil(by_known * ratio.random),
            "lookalike": np.ceil(by_known * ratio.lookalike),
            "offcenter": np.ceil(scenes["positives"] * ratio.offcenter),
        }
    ).astype(int)
    counts = {}
    for scene, row in zip(scenes["scene"], table.to_dict("records"), strict=True):
        counts[scene] = {str(kind): int(number) for kind, number in row.items()}
    return counts


def _known_m2(row: SceneRow, catalog: Catalog) -> float:
    """Return the ground of a scene where background is known, m2."""
    coverage = LabelCoverage.in_meters(catalog.areas_of(row.scene), row.gsd_m)
    extent = shapely.box(0, 0, row.width_px * row.gsd_x_m, row.height_px * row.gsd_y_m)
    return float(coverage.known_region(extent).area)


def _check_training_objects(index: pd.DataFrame, statistics: CutStatistics) -> None:
    """Check that the training split shows an object.

    Raises:
        DataError: it shows none.
    """
    in_training = (index["split"] == "train") & (index["kind"] == "positive")
    if statistics.training_pixels.is_empty or not in_training.any():
        raise DataError(
            "The training split holds no object. Bring more places, or change "
            "`scenes.split_fractions` or `scenes.seed`."
        )


def _cut_facts(index: pd.DataFrame, rule: LabelRule, statistics: CutStatistics) -> dict[str, Any]:
    """Return the fields of a summary that are counted alike for cut and ready-made patches."""
    counts = {}
    prior = {}
    for split in SPLITS:
        kinds = index.loc[index["split"] == split, "kind"].value_counts()
        counts[split] = {kind: int(kinds.get(kind, 0)) for kind in KINDS}
        n_patches = sum(counts[split].values())
        sampled = counts[split]["positive"] / n_patches if n_patches else None
        prior[split] = statistics.windows[split].to_prior(sampled)
    return {
        "window_px": WINDOW_PX,
        "stride_px": STRIDE_PX,
        "positive_radius_px": rule.positive_px,
        "ignore_radius_px": rule.ignore_px,
        "radius_shape": rule.shape,
        "counts": counts,
        "prior": prior,
        "skipped": dict(sorted(statistics.skipped.items())),
    }


def _import_ready_made(
    path: Path, catalog: Catalog, params: PatchesParams, *, folder: Path
) -> PatchSummary:
    """Write ready-made patches into a folder; return their summary.

    Raises:
        DataError: they do not fit the bands or the scenes of the catalog.
    """
    gsd_m = catalog.gsd_m
    content = import_npz(
        path, folder, class_names=catalog.report.class_names, gsd_m=gsd_m, seed=params.seed
    )
    bands = _bands_of(path, catalog, content.n_bands)
    _check_scenes_fit(path, catalog, content)
    statistics = CutStatistics()
    if content.n_repeated:
        statistics.skipped["same pixels as another patch"] = content.n_repeated
    leakage: Leakage = measure_leakage(content.index, catalog.scenes, 0)
    summary = PatchSummary(
        **_cut_facts(content.index, label_rule_of(params, gsd_m), statistics),
        gsd_m=gsd_m,
        bands=bands,
        leakage=leakage,
        dtype="uint8",
        classes=content.classes,
        mean=rounded_mean(content.mean),
        std=rounded_std(content.std),
        padding_value=padding_value_of(content.mean, np.dtype(np.uint8)),
        coverage=share_rule_of(params.coverage) if catalog.is_coverage else None,
        source=f"{path.name}: ready-made patches, places unknown: a leak between splits cannot be "
        "excluded",
    )
    summary.save(folder / SUMMARY_FILE)
    return summary


def _bands_of(path: Path, catalog: Catalog, n_bands: int) -> list[str]:
    """Return the names of the bands of ready-made patches.

    Raises:
        DataError: they are not named, or others are.
    """
    bands = catalog.bands
    if not bands and n_bands == len(RGB):
        bands = RGB
    if len(bands) != n_bands:
        raise DataError(
            f"{path}: its patches have {n_bands} bands. Name them in `scenes.bands`, in order."
        )
    return bands


def _check_scenes_fit(path: Path, catalog: Catalog, content: NpzContent) -> None:
    """Check that one model can learn ready-made patches together with the scenes.

    Raises:
        DataError: the scenes are not 8-bit, or hold objects of a class that the patches lack.
    """
    other = sorted(set(catalog.classes) - set(content.classes))
    if other:
        raise DataError(
            f"{path}: its patches show {', '.join(content.classes)}, but scenes beside them hold "
            f"{other[0]!r}. Give both the same names in `scenes.classes`, or name it in "
            "`scenes.ignore_classes`."
        )
    if len(catalog.scenes) and catalog.dtype != "uint8":
        raise DataError(
            f"{path}: its patches are uint8, but scenes beside them are {catalog.dtype}. Convert "
            "them."
        )


def summary_lines(summary: PatchSummary) -> list[str]:
    """Return what was cut, for the terminal."""
    lines = [_rule_line(summary)]
    lines += [_split_line(summary, split) for split in SPLITS]
    lines += [f"  left out, {reason}: {number}" for reason, number in summary.skipped.items()]
    if summary.source is not None:
        return [*lines, f"  {summary.source}"]
    filled = [split for split in SPLITS if sum(summary.counts[split].values())]
    if len(filled) < 2:
        return [*lines, f"  all patches are in {' and '.join(filled) or 'no split'}"]
    distance = summary.leakage.smallest_distance_m
    if distance is None:
        apart = "distance not known (no georeference)"
    else:
        apart = f"{distance:.0f} m at least"
    lines.append(f"  between splits: {apart}, no patch overlaps or is repeated")
    return lines


def _rule_line(summary: PatchSummary) -> str:
    """Return the radii of the labels in px and in m, as one line."""
    if summary.coverage is not None:
        rule = summary.coverage
        return (
            f"  patches show a class that covers at least {rule.min_share:.0%} of their middle "
            f"{rule.label_px} px, background where all classes cover at most {rule.max_share:.0%}; "
            f"a window is {_both_units(summary.window_px, summary.gsd_m)}"
        )
    positive = _both_units(summary.positive_radius_px, summary.gsd_m)
    ignore = _both_units(summary.ignore_radius_px, summary.gsd_m)
    return (
        f"  windows show an object within {positive} ({summary.radius_shape}), background begins "
        f"beyond {ignore}; a window is {_both_units(summary.window_px, summary.gsd_m)}"
    )


def _split_line(summary: PatchSummary, split: str) -> str:
    """Return how many patches a split has and how rare its objects are, as one line."""
    counts = summary.counts[split]
    prior = summary.prior[split]
    kinds = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    if summary.coverage is not None:
        return (
            f"  {split:5} {sum(counts.values()):6} patches: {counts['positive']} of a class, "
            f"{counts['random']} of background; {prior.windows} windows in all"
        )
    rate = "not known"
    if prior.true:
        rate = f"1 in {1 / prior.true:.0f} of {prior.windows}"
    share = "none"
    if prior.sampled is not None:
        share = f"{prior.sampled:.1%}"
    return (
        f"  {split:5} {sum(counts.values()):6} patches: {kinds}; "
        f"windows with an object: {rate}, {share} as cut"
    )
