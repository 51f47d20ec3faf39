"""The search of the labelled scenes of val and test, and the detections matched with the labels.

Scores are raw logits here; `windhover.evaluation.fit_calibration` turns them into probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import geopandas
import numpy as np
import pandas as pd
import shapely

from windhover.dataset.catalog import Catalog, SceneRow, open_catalog_scene
from windhover.errors import DataError
from windhover.geometry.windows import STRIDE_PX
from windhover.imagery.acquisition_time import acquisition_time
from windhover.imagery.rasters import open_raster
from windhover.imagery.scenes import Scene
from windhover.inference.candidates import Candidates
from windhover.inference.detection_columns import DetectionColumns, scene_columns
from windhover.inference.result_table import empty_result_table, table_of_columns
from windhover.inference.runtimes import make_scorers
from windhover.inference.scene_search import Progress, search_scene
from windhover.inference.scorer import Scorer
from windhover.inference.search_settings import SearchSettings
from windhover.metrics.evaluation_result import EVALUATED_SPLITS, match_rule_of
from windhover.metrics.ground_truth import GroundTruth, ground_truth_of
from windhover.metrics.match_detections import match_detections
from windhover.metrics.matching_table import empty_matching_table, matching_table
from windhover.models.bundle import Bundle
from windhover.params.evaluate import EvaluateParams
from windhover.progress import progress_bar


@dataclass(frozen=True)
class SearchedSplit:
    """Ground truth and detections of one split's scenes.

    Attributes:
        ground_truth: of the labelled scenes.
        matches: the detections, from `match_detections`; their scores are raw logits, and
            `found_row` is the row of each in `found`.
        inference_precision: number type of the search's arithmetic.
        found: the same detections in the schema of results, model and thresholds not filled in.
    """

    ground_truth: GroundTruth
    matches: pd.DataFrame
    inference_precision: str
    found: geopandas.GeoDataFrame = field(default_factory=empty_result_table)


@dataclass(frozen=True)
class SceneSearcher:
    """Searches scenes of a catalog with one model.

    Attributes:
        bundle: the model.
        scorer: of its network.
        second_stage: scorer of its second stage; None where it has none.
        settings: of the search.
        min_logit: lowest raw logit of a detection.
    """

    bundle: Bundle
    scorer: Scorer
    second_stage: Scorer | None
    settings: SearchSettings
    min_logit: float

    def detections(
        self, rows: Sequence[SceneRow], progress: Progress | None = None
    ) -> tuple[pd.DataFrame, geopandas.GeoDataFrame]:
        """Return the detections of scenes, their raw logits as scores.

        Returns:
            In metres as `match_detections` takes them, with `found_row`; and in the schema of
            results, in the same order.
        """
        tables = [empty_matching_table(has_scores=True)]
        parts = []
        card = self.bundle.card
        for row in rows:
            with open_catalog_scene(row, card.gsd_m, list(card.bands)) as scene:
                result = search_scene(
                    self.scorer,
                    scene,
                    self.settings,
                    min_logit=self.min_logit,
                    second_stage=self.second_stage,
                    progress=progress,
                )
                detections = detections_in_meters(
                    result.candidates, row.scene, scene.gsd_m, classes=card.classes
                )
                tables.append(detections)
                parts.append(self._columns(result.candidates, scene, row))
        table = pd.concat(tables, ignore_index=True)
        return table.assign(found_row=np.arange(len(table))), table_of_columns(parts)

    def _columns(self, candidates: Candidates, scene: Scene, row: SceneRow) -> DetectionColumns:
        """Return the detections of a scene in the schema of results, raw logits as scores."""
        columns = scene_columns(
            candidates,
            candidates.logits,
            scene,
            classes=self.bundle.card.classes,
            model="",
            has_sizes=self.bundle.card.sized,
            split=row.split,
        )
        with open_raster(row.path) as dataset:  # a catalog does not hold the time
            columns["acquired"][:] = acquisition_time(dataset)
        return columns

    def mpx(self, row: SceneRow) -> float:
        """Return the px of all passes over a scene, in millions."""
        gsd_m = self.bundle.card.gsd_m
        total_px = sum(row.area_m2 / (gsd_m * scale) ** 2 for scale in self.settings.scales)
        return float(total_px / 1e6)


def split_for_fitting(catalog: Catalog) -> str:
    """Return the split that calibration and thresholds are fitted on.

    It is val; train where val has no labelled scene and train has.
    """
    labeled = catalog.scenes["labeled"].astype(bool)
    splits = set(catalog.scenes.loc[labeled, "split"])
    return "train" if "train" in splits and "val" not in splits else "val"


def search_splits(
    bundle: Bundle, catalog: Catalog, params: EvaluateParams, *, device: str
) -> dict[str, SearchedSplit]:
    """Search every labelled scene of val and test down to a low logit, and match the detections.

    Where val has none, those of train are searched too.

    Raises:
        DataError: no scene is labelled, though the patches were cut from scenes.
    """
    rows = {}
    for split in dict.fromkeys([*EVALUATED_SPLITS, split_for_fitting(catalog)]):
        rows[split] = [row for row in catalog.split(split) if row.labeled]
    if not any(rows.values()) and bundle.card.true_prior is not None:
        raise DataError(
            "no scene of val or test is labelled, so nothing can be measured. "
            "Label one, or change the splits."
        )
    settings = search_settings_of(params)
    # as `detect` searches
    scorer, second_stage = make_scorers(
        bundle, device=device, inference_precision="auto", stride_px=settings.stride_px
    )
    searcher = SceneSearcher(bundle, scorer, second_stage, settings, min_logit=params.min_logit)
    total_mpx = sum(searcher.mpx(row) for part in rows.values() for row in part)
    searched = {}
    rule = match_rule_of(params, bundle.card.gsd_m)
    with progress_bar("searching labelled scenes", total_mpx, "Mpx") as advance:
        for split, part in rows.items():
            ground_truth = ground_truth_of(catalog.split(split))
            detections, found = searcher.detections(part, advance)
            matches = match_detections(detections, ground_truth, rule)
            searched[split] = SearchedSplit(
                ground_truth, matches, scorer.inference_precision, found
            )
    return searched


def search_training_ground(
    bundle: Bundle, catalog: Catalog, params: EvaluateParams, *, max_mpx: float, device: str
) -> SearchedSplit:
    """Search a sample of the labelled training scenes as those of val and test are searched.

    Args:
        bundle: the model.
        catalog: of all scenes.
        params: of the stage.
        max_mpx: px of all passes to search at most at stride 8, in millions; at stride 4, which
            takes four times as long, a quarter of it. Larger scenes are left out.
        device: such as cpu.
    """
    train = catalog.split("train")
    settings = search_settings_of(params)
    scorer, second_stage = make_scorers(
        bundle, device=device, inference_precision="auto", stride_px=settings.stride_px
    )
    searcher = SceneSearcher(bundle, scorer, second_stage, settings, min_logit=params.min_logit)
    labeled = [row for row in train if row.labeled]
    rows = []
    max_mpx *= (settings.stride_px / STRIDE_PX) ** 2
    total_mpx = 0.0
    for number in np.random.default_rng(params.seed).permutation(len(labeled)):
        mpx = searcher.mpx(labeled[number])
        if total_mpx + mpx <= max_mpx:
            rows.append(labeled[number])
            total_mpx += mpx
    rows.sort(key=lambda row: row.scene)
    is_chosen = train.scenes["scene"].isin([row.scene for row in rows])
    sample = replace(train, scenes=train.scenes[is_chosen].reset_index(drop=True))
    ground_truth = ground_truth_of(sample)
    with progress_bar("searching training ground", total_mpx, "Mpx") as advance:
        detections, found = searcher.detections(rows, advance)
    matches = match_detections(detections, ground_truth, match_rule_of(params, bundle.card.gsd_m))
    return SearchedSplit(ground_truth, matches, scorer.inference_precision, found)


def search_settings_of(params: EvaluateParams) -> SearchSettings:
    """Return the search settings among the stage's parameters."""
    return SearchSettings(
        stride_px=params.stride_px,
        scales=tuple(params.scales),
        merge_distance=params.merge_distance,
        merge_iou=params.merge_iou,
        peak_tta=params.peak_tta,
        rescore_min_logit=params.rescore_min_logit,
    )


def detections_in_meters(
    candidates: Candidates, scene: str, gsd_m: tuple[float, float], *, classes: Sequence[str]
) -> pd.DataFrame:
    """Return candidates (scene px) in the scene's plane in metres, the raw logit as their score."""
    objects = candidates.objects.scaled(gsd_m)
    return matching_table(
        objects,
        scene=scene,
        class_name=np.asarray(classes, object)[objects.class_index],
        shapes=shapely.box(*objects.to_xyxy().T),
    )


def second_stage_notes(bundle: Bundle, params: EvaluateParams) -> list[str]:
    """Return a sentence about the second stage, if there is one."""
    if bundle.second_stage is None:
        return []
    card = bundle.second_stage.card
    note = (
        f"peaks from a logit of {params.rescore_min_logit:g} carry the mean of two logits, this "
        f"network's and that of {card.network.name} ({card.name}); metrics on windows, and "
        "explanations, are of this network alone."
    )
    return [note]
