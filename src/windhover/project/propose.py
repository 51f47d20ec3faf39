"""Parameters proposed from measurements, each by one rule with its reason.

Works on the records alone; opens no file. docs/decisions/0028 gives the evidence of each rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from windhover.geometry.windows import WINDOW_PX
from windhover.params.augment import DEFAULT_TRANSFORMS
from windhover.project.measure_objects import MERGE_SETTINGS, TWICE_IOU, merge_key
from windhover.project.measurements import Measurements, Quantiles
from windhover.project.proposal import ProposedValue

TYPICAL_PX = 45.0  # most that the median object may have
LARGE_PX = 78.0  # most that 95 % of the objects may have: more than a window, centred in it
SMALL_PX = 8.0  # least that 90 % of the objects should have
APART_PX = 12.0  # least that 90 % of the objects should be apart: three windows at stride 4
MAX_ENLARGED = 3.0  # finer than the scenes by this at most: for windows between neighbours
MAX_ENLARGED_TINY = 2.0  # the same where objects are tiny and apart
CROWDED_PX = 20.0  # nearest neighbour at the training GSD, from which down stride 4 searches
TINY_PX = 12.0  # median object, up to which stride 4 searches and blur is weak
MAX_MERGED = 0.01  # share of the labelled objects that merging may take for duplicates
LARGE_SCALE_FROM = 1.15  # largest objects in windows, from which a coarser pass pays
POSITIVE_PX, IGNORE_PX = 8.0, 15.0  # radii of the label rule where nothing is crowded
IGNORED_OF_SPACING = 0.3  # ignore radius in distances to the next object: ground between is left
LEAST_POSITIVE_PX = 4.5  # half a stride and a margin: every object has a positive window
BACKGROUND_BETWEEN_PX = 13.5  # nearest neighbour, from which down no window is left out
STATED_SCALES = [0.8, 1.25]  # of pictures whose GSD is not exact
HUE_SPREADS = 1.0  # from which colour itself tells the class
WANTED_POSITIVES = 1500
LEAST_WANTED = 150
MANY_POSITIVES = 6.0  # times the wanted positives, from which only some objects give patches
MINUTES_FOR_ALL = 10.0  # of training, from which all of that is wanted
LARGE_PATCHES, LEAST_LARGE_PATCHES = 2400, 120
MOST_POSITIVES, LEAST_POSITIVES = 40, 4
FULL_SIZES = 1.4  # median distance of neighbours in sizes: nearer, there is no room to paste
SMALL_SEARCH_MPX = 30.0  # at the training GSD, up to which eight views of each peak take seconds
FEW_PEAKS = 2000  # objects, up to which they do
UNSURE_CLASSES = ("truncated", "partial", "difficult", "unsure", "uncertain", "unknown", "ignore")
MIN_OF_CLASS = 5
POINT_SIZE = 0.8  # assumed size of a point's object, in distances to its nearest neighbour
DEFAULT_POINT_PX = 20.0


def propose_gsd(record: Measurements) -> ProposedValue:
    """Return the GSD of training: the native one, coarser where objects fill the window.

    Finer where objects are tiny, and where small ones are side by side: neighbours in one window
    have one score.
    """
    native = record.native_gsd_m
    length = record.length_m
    if length is None:
        return ProposedValue(
            name="scenes.gsd_m", value=native, reason="the scenes' own: labels are points"
        )
    wanted = _fitting_gsd(length)
    # below 8 px small objects are lost; large ones then need a coarser pass
    wanted = min(wanted, max(length.p10 / SMALL_PX, length.p50 / TYPICAL_PX))
    gsd_m = max(native, wanted)
    if gsd_m < 1.1 * native:
        gsd_m = native
    finer = _crowded_gsd(record, gsd_m) or _tiny_gsd(record)
    gsd_m = _rounded(gsd_m, 3)
    if finer is not None:
        gsd_m = finer.value
    sizes = f"{length.p10 / gsd_m:.0f} to {length.p95 / gsd_m:.0f} px"
    if finer is not None:
        return finer.model_copy(update={"reason": f"{finer.reason}; most are then {sizes}"})
    whose = "the scenes' own" if gsd_m == _rounded(native, 3) else f"coarser than {native:g} m"
    return ProposedValue(
        name="scenes.gsd_m",
        value=gsd_m,
        reason=f"{whose}: most objects are then {sizes}, in windows of {WINDOW_PX} px",
        evidence="gsd",
    )


def _fitting_gsd(length: Quantiles) -> float:
    """Return the GSD from which on objects fit into a window."""
    return max(length.p50 / TYPICAL_PX, length.p95 / LARGE_PX)


def _crowded_gsd(record: Measurements, gsd_m: float) -> ProposedValue | None:
    """Return a GSD that keeps crowded objects apart, finer than one; None where they are."""
    nearest = record.nearest_m
    if nearest is None or nearest.p10 >= APART_PX * gsd_m:
        return None
    finest = max(nearest.p10 / APART_PX, record.native_gsd_m / MAX_ENLARGED)
    apart = f"a tenth of the objects are less than {nearest.p10 / gsd_m:.0f} px apart"
    return _finer_gsd(record, gsd_m, finest, reason=apart)


def _tiny_gsd(record: Measurements) -> ProposedValue | None:
    """Return a GSD at which tiny objects are a few px larger; None where they are not tiny."""
    length, native = record.length_m, record.native_gsd_m
    if length is None or length.p50 >= TINY_PX * native:
        return None
    finest = max(length.p50 / TINY_PX, native / MAX_ENLARGED_TINY)
    small = f"half of the objects are under {length.p50 / native:.0f} px"
    return _finer_gsd(record, native, finest, reason=small)


def _finer_gsd(
    record: Measurements, gsd_m: float, finest: float, *, reason: str
) -> ProposedValue | None:
    """Return a GSD as fine as asked and the largest objects allow; None for little gain."""
    if record.length_m is None:
        return None
    value = _rounded(max(finest, _fitting_gsd(record.length_m)), 3)
    if value > 0.9 * gsd_m:
        return None
    reason = f"finer than {gsd_m:.3g} m, where {reason}"
    return ProposedValue(name="scenes.gsd_m", value=value, reason=reason, evidence="gsd")


def _is_tiny(record: Measurements, gsd_m: float) -> bool:
    """Return whether half of the objects are tiny, also where they were enlarged to the limit."""
    return record.length_m is not None and record.length_m.p50 / gsd_m < 1.01 * TINY_PX


def propose_classes(record: Measurements) -> Iterator[ProposedValue]:
    """Yield which classes are ignored: unsure ones, and those too rare to learn."""
    total = record.n_objects
    ignored = []
    reasons = []
    for name, count in record.classes.items():
        if len(record.classes) == 1:
            break
        if any(word in name.lower() for word in UNSURE_CLASSES):
            ignored.append(name)
            reasons.append(f"{name} sounds like an object that is not whole or not sure")
        elif count < MIN_OF_CLASS and count < total / 2:
            ignored.append(name)
            reasons.append(f"{name} has {count} labels, too few to learn")
    if ignored and len(ignored) < len(record.classes):
        yield ProposedValue(name="scenes.ignore_classes", value=ignored, reason="; ".join(reasons))


def propose_labels(record: Measurements, gsd_m: float) -> Iterator[ProposedValue]:
    """Yield the radii of the label rule."""
    size_px = DEFAULT_POINT_PX
    if record.length_m is not None:
        size_px = record.length_m.p25 / gsd_m
    limits = [POSITIVE_PX, size_px / 2]
    reason = "objects are neither small nor crowded"
    if size_px / 2 < POSITIVE_PX:
        reason = f"small objects are {size_px:.0f} px: a window beside one does not show it"
    if record.nearest_m is not None:
        apart_px = record.nearest_m.p10 / gsd_m
        limits.append(apart_px / 2)
        if apart_px / 2 < min(POSITIVE_PX, size_px / 2):
            reason = f"a tenth of the objects are less than {apart_px:.0f} px apart"
        background_px = IGNORED_OF_SPACING * record.nearest_m.p25 / gsd_m
        limits.append(background_px * POSITIVE_PX / IGNORE_PX)
        if limits[-1] == min(limits) and limits[-1] < POSITIVE_PX:
            reason = (
                f"a quarter of the objects are less than {record.nearest_m.p25 / gsd_m:.0f} px "
                "apart: the ground between them is background"
            )
    positive = _rounded(max(min(limits), LEAST_POSITIVE_PX), 2)
    if positive < POSITIVE_PX:
        yield ProposedValue(
            name="patches.positive_radius_px", value=positive, reason=reason, evidence="radii"
        )
        yield _ignore_radius(record, gsd_m, positive)


def _ignore_radius(record: Measurements, gsd_m: float, positive: float) -> ProposedValue:
    """Return how far from an object a window is no background: not at all within crowds."""
    value = _rounded(positive * IGNORE_PX / POSITIVE_PX, 2)
    reason = "in proportion: the ground between two neighbours is background"
    nearest = record.nearest_m
    is_least = positive == LEAST_POSITIVE_PX
    if is_least and nearest is not None and nearest.p10 / gsd_m < BACKGROUND_BETWEEN_PX:
        value = positive
        reason = (
            "all ground between neighbours this near is background, or their peaks run together"
        )
    return ProposedValue(
        name="patches.ignore_radius_px", value=value, reason=reason, evidence="radii"
    )


def propose_amounts(
    record: Measurements, n_training: int, minutes: float
) -> Iterator[ProposedValue]:
    """Yield how many windows are cut: no more than the minutes of training can show.

    Args:
        record: the measurements.
        n_training: objects that the model learns from.
        minutes: of one training.
    """
    share = min(minutes / MINUTES_FOR_ALL, 1.0)
    wanted = max(round(WANTED_POSITIVES * share), LEAST_WANTED)
    count = min(max(round(wanted / max(n_training, 1)), LEAST_POSITIVES), MOST_POSITIVES)
    is_many = n_training * LEAST_POSITIVES > MANY_POSITIVES * wanted
    if is_many and any(scene.objects for scene in record.scenes):
        yield _fewer_objects(record, n_training, MANY_POSITIVES * wanted)
    yield ProposedValue(
        name="patches.positives_per_object",
        value=count,
        reason=f"{n_training} objects to learn from, about {wanted} positive patches wanted for "
        f"{minutes:g} minutes",
    )
    if share < 1:
        large = max(round(LARGE_PATCHES * share / 20) * 20, LEAST_LARGE_PATCHES)
        for name, value in (("count", large), ("per_epoch", large // 2)):
            yield ProposedValue(
                name=f"train.large_patches.{name}",
                value=value,
                reason=f"no more than {minutes:g} minutes can show",
            )


def _fewer_objects(record: Measurements, n_training: int, wanted: float) -> ProposedValue:
    """Return how many objects of a scene give patches, where all would be too many."""
    counts = [scene.objects for scene in record.scenes if scene.objects]
    share = n_training / max(sum(counts), 1)
    limit = 1
    while limit < max(counts) and wanted > share * LEAST_POSITIVES * sum(
        min(count, limit) for count in counts
    ):
        limit += 1
    return ProposedValue(
        name="patches.max_objects_per_scene",
        value=limit,
        reason=f"{n_training} objects are more than the minutes can show; large patches show the "
        "others",
    )


def propose_search(record: Measurements, gsd_m: float) -> Iterator[ProposedValue]:
    """Yield stride, scales and merging."""
    length = record.length_m
    apart_px = math.inf
    if record.nearest_m is not None:
        apart_px = record.nearest_m.p10 / gsd_m
    size_px = math.inf if length is None else length.p50 / gsd_m
    if apart_px < CROWDED_PX or _is_tiny(record, gsd_m):
        reason = f"half of the objects are under {size_px:.0f} px"
        if apart_px < CROWDED_PX:
            reason = f"a tenth of the objects are less than {apart_px:.0f} px apart"
        yield ProposedValue(
            name="evaluate.stride_px", value=4, reason=reason, evidence="stride and merging"
        )
    if length is not None and length.p95 / gsd_m > LARGE_SCALE_FROM * LARGE_PX:
        scale = _rounded(length.p95 / gsd_m / TYPICAL_PX, 2)
        yield ProposedValue(
            name="evaluate.scales",
            value=[1.0, scale],
            reason=f"sizes spread: the largest are {length.p95 / gsd_m:.0f} px, more than a window "
            "shows well",
        )
    elif record.stated_gsd_m is not None:
        yield ProposedValue(
            name="evaluate.scales",
            value=STATED_SCALES,
            reason="the GSD is stated, not measured: two views about it find more",
            evidence="scales",
        )
    megapixels = record.megapixels * (record.native_gsd_m / gsd_m) ** 2
    if megapixels <= SMALL_SEARCH_MPX and record.n_objects <= FEW_PEAKS:
        yield ProposedValue(
            name="evaluate.peak_tta",
            value="d4",
            reason="scenes are small: eight views of each peak take seconds",
        )
    yield from _propose_merging(record)


def _propose_merging(record: Measurements) -> Iterator[ProposedValue]:
    default = record.merged.get(merge_key(*MERGE_SETTINGS[0]), 0.0)
    if default <= MAX_MERGED:
        return
    for distance, overlap in MERGE_SETTINGS[1:]:
        chosen = distance, overlap
        if record.merged[merge_key(distance, overlap)] <= MAX_MERGED:
            break
    reason = (
        f"boxes of neighbours overlap: the default would take {default:.0%} of the labelled "
        f"objects for duplicates, this {record.merged[merge_key(*chosen)]:.1%}"
    )
    evidence = "stride and merging"
    yield ProposedValue(
        name="evaluate.merge_distance", value=chosen[0], reason=reason, evidence=evidence
    )
    yield ProposedValue(
        name="evaluate.merge_iou", value=chosen[1], reason=reason, evidence=evidence
    )


def propose_measures(record: Measurements, gsd_m: float) -> Iterator[ProposedValue]:
    """Yield how sizes are reported, and how points are matched."""
    length = record.length_m
    if length is not None:
        bands = sorted({_rounded(value, 2) for value in (length.p25, length.p50, length.p75)})
        yield ProposedValue(
            name="evaluate.size_bands_m",
            value=bands,
            reason="a quarter of the objects in each band",
        )
    if record.geometry.get("points"):
        radius = DEFAULT_POINT_PX / 2 * gsd_m
        if record.nearest_m is not None:
            radius = min(radius, record.nearest_m.p10 / 2)
        radius = _rounded(max(radius, 2 * gsd_m), 2)
        yield ProposedValue(
            name="evaluate.point_match_radius_m",
            value=radius,
            reason="labels are points: nearer than half the way to the next object",
        )


def propose_augmentation(record: Measurements, gsd_m: float) -> Iterator[ProposedValue]:
    """Yield augmentations that fit the bands, the sizes and the colours of the objects."""
    n_bands = len(record.bands)
    if n_bands != 3:
        transforms = [one for one in DEFAULT_TRANSFORMS if one["name"] != "HueSaturationValue"]
        yield ProposedValue(
            name="augment.transforms",
            value=transforms,
            reason=f"{n_bands} bands: those that take any number",
        )
    color = record.color
    is_tiny = _is_tiny(record, gsd_m)
    tells = color is not None and color.hue >= HUE_SPREADS
    if tells or is_tiny:
        reason = "objects are a few px, which darkening would hide"
        if tells and color is not None:
            reason = (
                f"colour tells objects from their surroundings ({color.hue:.1f} spreads over "
                f"{color.objects} objects), so it is kept"
            )
        for key, value in (("per_band_contrast", 0.2), ("highlight_darkening", 0.0)):
            yield ProposedValue(
                name=f"train.batch_augment.{key}", value=value, reason=reason, evidence="colour"
            )
    if is_tiny:
        yield ProposedValue(
            name="train.batch_augment.blur_px",
            value=0.5,
            reason="objects are a few px: a strong blur removes them",
        )
    if record.stated_gsd_m is not None:
        yield ProposedValue(
            name="patches.scale_jitter",
            value=[0.8, 1.25],
            reason="the GSD is stated, not measured: pictures may differ from it",
        )
    is_full = record.nearest_sizes is not None and record.nearest_sizes.p50 < FULL_SIZES
    if is_full and not is_tiny:
        yield ProposedValue(
            name="train.large_patches.copy_paste_prob",
            value=0.0,
            reason="objects are side by side already: there is no room for more",
        )
    if record.length_m is None or is_tiny:
        yield ProposedValue(
            name="train.large_patches.copy_paste_prob",
            value=0.0,
            reason="objects are points or a few px: there is nothing to cut out",
        )


def propose_duplicates(record: Measurements) -> Iterator[ProposedValue]:
    """Yield the IoU of labels that mark an object again."""
    if record.marked_twice > 0:
        yield ProposedValue(
            name="scenes.duplicate_iou",
            value=TWICE_IOU,
            reason=f"{record.marked_twice:.1%} of the labels mark an object a second time",
        )


def _rounded(value: float, digits: int) -> float:
    """Return a number with so many significant digits."""
    return float(f"{value:.{digits}g}")
