"""Rules of the proposal, each against what was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from windhover.project.measure_objects import MERGE_SETTINGS, merge_key
from windhover.project.measurements import ColorMeasure, MeasuredScene, Measurements, Quantiles
from windhover.project.proposal import ProposedValue
from windhover.project.propose import (
    LARGE_PX,
    TYPICAL_PX,
    propose_amounts,
    propose_augmentation,
    propose_classes,
    propose_duplicates,
    propose_gsd,
    propose_labels,
    propose_measures,
    propose_search,
)


def record(length_m: Any = (20.0, 30.0, 40.0), **changes: Any) -> Measurements:
    values: dict[str, Any] = {
        "raw": "/scenes",
        "rasters": None,
        "labels": "auto",
        "scenes": (),
        "left_out": (),
        "stack": None,
        "bands": ("red", "green", "blue"),
        "all_bands": True,
        "dtype": "uint8",
        "native_gsd_m": 1.0,
        "stated_gsd_m": None,
        "megapixels": 4.0,
        "classes": {"ship": 100},
        "ignored": 0,
        "geometry": {"boxes": 100},
        "length_m": Quantiles.of(np.array(length_m)),
        "width_m": Quantiles.of(np.array(length_m)),
        "nearest_m": Quantiles.of([200.0, 300.0]),
        "nearest_sizes": Quantiles.of([7.0, 9.0]),
        "merged": dict.fromkeys((merge_key(*one) for one in MERGE_SETTINGS), 0.0),
        "marked_twice": 0.0,
        "color": None,
        "notes": (),
    }
    return Measurements.model_validate(values | changes)


def by_name(values: Any) -> dict[str, ProposedValue]:
    return {one.name: one for one in values}


def test_objects_that_fit_keep_the_scenes_own_gsd() -> None:
    assert propose_gsd(record((20.0, 30.0, 40.0))).value == 1.0


@pytest.mark.parametrize("scale", [3.0, 10.0, 80.0])
def test_large_objects_get_a_coarser_gsd_in_which_they_fit(scale: float) -> None:
    measured = record(tuple(scale * size for size in (20.0, 30.0, 40.0)))
    gsd_m = propose_gsd(measured).value
    assert measured.length_m is not None
    assert gsd_m > 1.0
    assert measured.length_m.p95 / gsd_m <= LARGE_PX + 1
    assert measured.length_m.p50 / gsd_m <= TYPICAL_PX + 1
    assert measured.length_m.p10 / gsd_m >= 8


def test_aircraft_get_the_gsd_that_was_best_by_hand() -> None:
    """Quantiles of 1815 aircraft at 0.5 m; 1.25 m was the best of those tried."""
    lengths = np.interp(
        np.linspace(0, 1, 1815),
        [0, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 1],
        [20, 25, 30, 34, 40.5, 56, 75.2, 92, 98, 104, 115],
    )
    measured = record(lengths.tolist(), native_gsd_m=0.5)
    assert propose_gsd(measured).value == pytest.approx(1.25, rel=0.03)
    assert "evaluate.scales" not in by_name(propose_search(measured, 1.25))


def test_where_sizes_spread_small_objects_decide_and_a_coarser_pass_finds_the_large() -> None:
    measured = record([9.0] * 45 + [11.0] * 45 + [300.0] * 10)
    gsd_m = propose_gsd(measured).value
    assert 9.0 / gsd_m >= 7.9
    scales = by_name(propose_search(measured, gsd_m))["evaluate.scales"].value
    assert 300.0 / gsd_m / max(scales) <= 57


def test_points_keep_the_gsd_and_are_matched_nearer_than_half_the_way_to_the_next() -> None:
    measured = record(length_m=[], geometry={"points": 100}, nearest_m=Quantiles.of([12.0] * 9))
    assert propose_gsd(measured).value == 1.0
    chosen = by_name(propose_measures(measured, 1.0))
    assert chosen["evaluate.point_match_radius_m"].value == pytest.approx(6.0)


def test_roomy_objects_keep_the_default_radii_stride_and_merging() -> None:
    measured = record()
    assert "patches.positive_radius_px" not in by_name(propose_labels(measured, 1.0))
    assert set(by_name(propose_search(measured, 1.0))) == {"evaluate.peak_tta"}


def test_crowded_objects_get_smaller_radii_a_finer_stride_and_less_merging() -> None:
    merged = {merge_key(*one): 0.5 / 10**step for step, one in enumerate(MERGE_SETTINGS)}
    measured = record((14.0, 16.0, 18.0), nearest_m=Quantiles.of([11.0, 12.0, 13.0]), merged=merged)
    labels = by_name(propose_labels(measured, 1.0))
    positive = labels["patches.positive_radius_px"].value
    assert 4.0 < positive <= 11.5 / 2
    assert labels["patches.ignore_radius_px"].value == positive
    wider = record((14.0, 16.0, 18.0), nearest_m=Quantiles.of([15.0, 16.0, 17.0]), merged=merged)
    labels = by_name(propose_labels(wider, 1.0))
    assert positive < labels["patches.ignore_radius_px"].value < 15
    search = by_name(propose_search(measured, 1.0))
    assert search["evaluate.stride_px"].value == 4
    pair = search["evaluate.merge_distance"].value, search["evaluate.merge_iou"].value
    assert pair == MERGE_SETTINGS[2]


def test_transforms_of_three_bands_are_left_out_for_others() -> None:
    for bands in (("pan",), ("a", "b", "c", "d")):
        chosen = by_name(propose_augmentation(record(bands=bands), 1.0))
        names = [one["name"] for one in chosen["augment.transforms"].value]
        assert "HueSaturationValue" not in names
        assert "D4" in names
    assert "augment.transforms" not in by_name(propose_augmentation(record(), 1.0))


def test_colour_is_kept_where_it_tells_the_class() -> None:
    green = ColorMeasure(hue=1.8, brightness=-0.5, objects=60)
    key = "train.batch_augment.per_band_contrast"
    assert by_name(propose_augmentation(record(color=green), 1.0))[key].value < 0.8
    grey = ColorMeasure(hue=0.2, brightness=2.5, objects=60)
    assert key not in by_name(propose_augmentation(record(color=grey), 1.0))


def test_classes_that_are_unsure_or_rare_are_ignored_but_never_all() -> None:
    classes = {"plane": 60, "Truncated_plane": 12, "glider": 2}
    chosen = by_name(propose_classes(record(classes=classes)))
    assert chosen["scenes.ignore_classes"].value == ["Truncated_plane", "glider"]
    assert not by_name(propose_classes(record(classes={"truncated": 3, "unsure": 4})))
    assert not by_name(propose_classes(record(classes={"glider": 3})))


def test_labels_that_mark_an_object_twice_are_named() -> None:
    assert not by_name(propose_duplicates(record()))
    chosen = by_name(propose_duplicates(record(marked_twice=0.1)))
    assert chosen["scenes.duplicate_iou"].value == 0.6
    assert "10.0%" in chosen["scenes.duplicate_iou"].reason


@pytest.mark.parametrize("n_training", [3, 61, 900])
def test_fewer_minutes_are_given_no_more_windows(n_training: int) -> None:
    amounts = [
        by_name(propose_amounts(record(), n_training, minutes)) for minutes in (0.5, 3.0, 30.0)
    ]
    counts = [one["patches.positives_per_object"].value for one in amounts]
    assert counts == sorted(counts)
    assert n_training * counts[-1] <= 4 * 1500
    large = [one["train.large_patches.count"].value for one in amounts[:2]]
    assert large == [120, 720]
    assert "train.large_patches.count" not in amounts[-1]


def test_tiny_objects_get_a_gsd_at_which_half_are_twelve_px_at_most_twice_as_fine() -> None:
    value = propose_gsd(record((6.0, 8.0, 20.0)))
    assert value.value == pytest.approx(8 / 12, abs=5e-4)
    assert "half of the objects are under 8 px" in value.reason
    assert propose_gsd(record((2.0, 3.0, 5.0))).value == 0.5
    assert propose_gsd(record((6.0, 11.5, 20.0))).value == 1.0  # too little to gain
    # the largest stay inside the window
    assert propose_gsd(record((6.0, 8.0, 70.0))).value > 8 / 12
    small = record((6.0, 8.0, 20.0))
    assert "train.batch_augment.blur_px" in by_name(propose_augmentation(small, 8 / 12))
    assert by_name(propose_search(small, 8 / 12))["evaluate.stride_px"].value == 4


def test_small_objects_side_by_side_get_a_finer_gsd_than_the_scenes() -> None:
    crowded = {"nearest_m": Quantiles.of([5.0, 8.0, 9.0]), "nearest_sizes": Quantiles.of([0.6])}
    value = propose_gsd(record((9.0, 15.0, 23.0), **crowded))
    assert value.value == pytest.approx(5.6 / 12, abs=5e-4)  # a tenth are then 12 px apart
    assert "px apart" in value.reason
    tight = {"nearest_m": Quantiles.of([2.0, 2.0, 2.0]), "nearest_sizes": Quantiles.of([0.2])}
    assert propose_gsd(record((9.0, 15.0, 23.0), **tight)).value == pytest.approx(1 / 3, abs=5e-4)
    # large objects side by side stay well inside the window
    assert propose_gsd(record((40.0, 42.0, 44.0), **crowded)).value == 1.0
    assert propose_gsd(record((9.0, 15.0, 23.0))).value == 1.0


def test_ground_between_neighbours_stays_background() -> None:
    crowns = record((31.0, 40.0, 59.0), nearest_m=Quantiles.of([29.0, 34.0, 34.0, 37.0, 49.0]))
    radii = by_name(propose_labels(crowns, 1.0))
    assert radii["patches.ignore_radius_px"].value <= 0.31 * 34
    assert "background" in radii["patches.positive_radius_px"].reason
    apart = record((31.0, 40.0, 59.0), nearest_m=Quantiles.of([55.0, 60.0, 70.0]))
    assert not by_name(propose_labels(apart, 1.0))


def test_of_very_many_objects_some_give_patches() -> None:
    scenes = tuple(
        MeasuredScene(
            scene=f"s{number}",
            path="s",
            width_px=800,
            height_px=800,
            gsd_m=1.0,
            crs=None,
            place=f"s{number}",
            labeled=True,
            objects=900,
        )
        for number in range(10)
    )
    crowd = record(scenes=scenes, classes={"car": 9000})
    values = by_name(propose_amounts(crowd, 5400, 3.0))
    limit = values["patches.max_objects_per_scene"].value
    n_patches = limit * 6 * values["patches.positives_per_object"].value
    assert 1500 < n_patches < 4000
    assert "patches.max_objects_per_scene" not in by_name(propose_amounts(record(), 60, 3.0))


def test_small_scenes_are_searched_with_more_views() -> None:
    assert by_name(propose_search(record(), 1.0))["evaluate.peak_tta"].value == "d4"
    large = by_name(propose_search(record(megapixels=900.0), 1.0))
    assert "evaluate.peak_tta" not in large
    stated = by_name(propose_search(record(stated_gsd_m=0.5), 1.0))
    assert stated["evaluate.scales"].value == [0.8, 1.25]


def test_nothing_is_pasted_where_objects_are_side_by_side() -> None:
    name = "train.large_patches.copy_paste_prob"
    full = record(nearest_sizes=Quantiles.of([1.1, 1.2, 1.3]))
    assert by_name(propose_augmentation(full, 1.0))[name].value == 0.0
    assert name not in by_name(propose_augmentation(record(), 1.0))
