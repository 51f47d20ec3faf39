"""The finished model described: card, README and STAC item written into its folder.

Describes what other steps measured; measures nothing. No name of a scene or place leaves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import geopandas
import pandas as pd

from windhover.dataset.catalog import Catalog
from windhover.files import atomic_file, sha256_file, write_json
from windhover.metrics.bootstrap import Estimate
from windhover.metrics.evaluation_result import EVALUATED_SPLITS, EvaluationResult, match_rule_of
from windhover.metrics.nan_safe import rounded_or_none
from windhover.models.bundle import load_bundle
from windhover.models.card import CARD
from windhover.models.model_description import (
    HASH_DIGITS,
    Accuracy,
    Figure,
    ModelDescription,
    place_hashes,
)
from windhover.models.model_readme import FIGURE_TITLES, README, model_readme
from windhover.models.stac_item import ITEM, model_item
from windhover.params.evaluate import ModelCardParams

# columns of where files are, not of what they hold
PLACE_COLUMNS = ["path", "source"]


def describe_model(
    folder: Path, result: EvaluationResult, catalog: Catalog, *, patches: Path
) -> None:
    """Write the description of a finished model: into its card, as a page and as a STAC item.

    Args:
        folder: of the model, complete otherwise.
        result: of its evaluation.
        catalog: that it was trained and measured on.
        patches: folder of the patches.
    """
    description = description_of(result, catalog, data_version=data_version(catalog, patches))
    write_description(folder, description)


def write_description(folder: Path, description: ModelDescription) -> None:
    """Write a description into a model's card, and the page and the STAC item made of both."""
    bundle = load_bundle(folder)
    card = bundle.card.model_copy(update={"description": description})
    write_json(folder / CARD, card.model_dump(mode="json"))
    with atomic_file(folder / README) as temporary:
        temporary.write_text(model_readme(card, bundle.operating_point), encoding="utf-8")
    thresholds = bundle.thresholds() if bundle.operating_point is not None else None
    write_json(folder / ITEM, model_item(folder, card, bundle.weights, thresholds=thresholds))


def description_of(
    result: EvaluationResult, catalog: Catalog, *, data_version: str
) -> ModelDescription:
    """Return the description of an evaluated model."""
    texts: ModelCardParams = result.params.model_card
    train = catalog.split("train")
    is_object = train.labels["role"] == "object"
    places = {}
    for split in ("train", *EVALUATED_SPLITS):
        places[split] = place_hashes(map(str, catalog.split(split).scenes["place"]))
    return ModelDescription(
        sensor=texts.sensor,
        native_gsd_m=native_gsd_of(train.scenes),
        places=places,
        scenes=len(train.scenes),
        objects=int(is_object.sum()),
        data_version=data_version,
        license=texts.license,
        data_license=texts.data_license,
        limits=(*texts.limits, *nameless(result.notes, catalog.scenes)),
        accuracy=_accuracy(result),
    )


def native_gsd_of(scenes: pd.DataFrame) -> tuple[float, float] | None:
    """Return the finest and the coarsest GSD of scenes as delivered, m; None without scenes."""
    if scenes.empty:
        return None
    gsd_m = scenes[["gsd_x_m", "gsd_y_m"]].to_numpy(float)
    return float(gsd_m.min()), float(gsd_m.max())


def nameless(notes: Sequence[str], scenes: pd.DataFrame) -> list[str]:
    """Return the notes that name no scene and no place, and how many do."""
    names = {str(name) for column in ("scene", "place") for name in scenes[column]}
    kept = [note for note in notes if not any(name in note for name in names)]
    left_out = len(notes) - len(kept)
    if left_out:
        kept.append(f"The report of the evaluation has {left_out} more, which name scenes.")
    return kept


def _accuracy(result: EvaluationResult) -> Accuracy | None:
    """Return the figures on test; None where nothing labelled was kept from the training."""
    test = result.scenes["test"]
    if test.ground_truth.scenes.empty:
        return None
    scenes = test.ground_truth.scenes
    return Accuracy(
        scenes=len(scenes),
        places=int(scenes["place"].nunique()),
        objects=len(test.ground_truth.objects),
        km2=rounded_or_none(float(scenes["km2"].sum())) or 0.0,
        match=str(match_rule_of(result.params, result.gsd_m)),
        figures={name: _figure(test.estimates[name]) for name in FIGURE_TITLES},
    )


def _figure(estimate: Estimate) -> Figure:
    """Return an estimate as a figure of the card."""
    return Figure(
        value=rounded_or_none(estimate.value),
        low=rounded_or_none(estimate.low),
        high=rounded_or_none(estimate.high),
    )


def data_version(catalog: Catalog, patches: Path) -> str:
    """Return 16 digits of a SHA-256 over scenes, labels, areas and the pixels of the patches.

    It does not change where the project's folder is moved.
    """
    digest = hashlib.sha256()
    for table in (catalog.scenes, catalog.labels, catalog.areas):
        digest.update(_table_text(table).encode())
    for path in sorted(patches.glob("*.npy")):
        digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()[:HASH_DIGITS]


def _table_text(table: pd.DataFrame) -> str:
    """Return a table as text, without the columns of where its files are."""
    plain = pd.DataFrame(table.drop(columns=PLACE_COLUMNS, errors="ignore"))
    if isinstance(table, geopandas.GeoDataFrame):
        plain["geometry"] = table.geometry.to_wkb(hex=True)
    for column in plain.columns:
        if plain[column].map(lambda value: hasattr(value, "__len__")).any():
            plain[column] = plain[column].map(_flat_text)
    return plain.to_csv(index=False)


def _flat_text(value: object) -> str:
    """Return a list of a table's cell as text; numpy would shorten it."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return str(value)
    return " ".join(str(item) for item in value)
