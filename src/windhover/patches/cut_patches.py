"""The catalog -> patches: windows chosen on every labelled scene, cut at the training GSD, each
pixel pattern once.

Scenes are dealt with one by one in the catalog's order, every draw has a seed of its own, and
memory holds one scene at a time.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.dataset.catalog import Catalog, open_catalog_scene
from windhover.dataset.label_rule import (
    CENTRAL,
    HALF,
    Objects,
    Rule,
    count_positive_windows,
    objects_of,
)
from windhover.dataset.splits import SPLITS
from windhover.errors import DataError
from windhover.files import write_json
from windhover.geometry.lattice import read_mirrored
from windhover.geometry.windows import STRIDE_PX, WINDOW_PX, blocks
from windhover.imagery.scenes import Scene
from windhover.params.patches import PatchesParams
from windhover.patches import sampling
from windhover.patches.leakage import measure_leakage, refuse_leakage
from windhover.patches.npz_patches import take_over
from windhover.patches.patch_store import (
    INDEX_COLUMNS,
    KINDS,
    PatchWriter,
    index_table,
    write_index,
)
from windhover.progress import track

LEVELS = 9  # scales that a jitter range is cut into: one reading of the scene each
BLOCK_PX = 4096  # read at once from larger scenes; a multiple of 8
# a scene of at most this many px at the training GSD is held in memory while it is cut
HELD_PX = 64_000_000


@dataclass
class _Tally:
    """What was cut and what was left out, and the sums that give mean and standard deviation of the
    training pixels.
    """

    skipped: Counter[str] = field(default_factory=Counter)
    prior: dict[str, NDArray[np.int64]] = field(
        default_factory=lambda: {name: np.zeros(3, np.int64) for name in SPLITS}
    )
    class_hits: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in SPLITS}
    )
    seen: dict[bytes, str] = field(default_factory=dict)
    sums: NDArray[np.float64] | None = None
    identical_across_splits: int = 0


@dataclass(frozen=True)
class _Cut:
    """Windows of one kind at one scale on one scene."""

    kind: str
    corners: NDArray[np.int64]


def cut_patches(catalog: Catalog, params: PatchesParams, folder: Path) -> dict[str, Any]:
    """Cut patches of every labelled scene into a folder that is there; return what `summary.json`
    holds.

    Args:
        catalog: scenes and labels.
        params: of the stage.
        folder: where the arrays, the index and the summary are written.

    Raises:
        DataError: there is nothing to cut, or patches of two splits overlap or are the same.
        FormatError: a raster cannot be read.
    """
    if params.npz is not None:
        return _take_over(Path(params.npz), catalog, params, folder)
    if catalog.scenes.empty or not catalog.classes:
        raise DataError(
            "The catalog holds no object to learn. Bring labels (`scenes.labels`), or mend `scenes.classes`."
        )
    gsd_m, names = catalog.gsd_m, catalog.bands
    rule = Rule(
        params.positive_radius_m / gsd_m, params.ignore_radius_m / gsd_m, params.radius_shape
    )
    tally, rows = _Tally(), []
    labeled = [row for row in catalog if row.labeled]
    shares = _negative_shares(catalog, params)
    with ExitStack() as stack:
        shape = (WINDOW_PX, WINDOW_PX, len(names))
        writers = {
            name: stack.enter_context(
                PatchWriter(folder / f"{name}.npy", shape, np.dtype(catalog.dtype))
            )
            for name in SPLITS
        }
        for row in track(labeled, "cutting patches", len(labeled)):
            jobs = _Job(row, catalog, params, rule, gsd_m, names, shares[row.scene])
            for images, found in jobs.cut(tally):
                rows += _keep(images, found, row, writers[row.split], tally)
    index = index_table(rows)
    write_index(index, folder)
    leakage = measure_leakage(index, catalog.scenes, tally.identical_across_splits)
    if (
        tally.sums is None
        or not ((index["split"] == "train") & (index["kind"] == "positive")).any()
    ):
        raise DataError(
            "The training split holds no object. Bring more places, or change "
            "`scenes.split_fractions` or `scenes.seed`."
        )
    pixels, total, squares = tally.sums
    mean = total / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    summary = _summary(index, rule, gsd_m, names, tally, leakage)
    summary |= {
        "dtype": catalog.dtype,
        "classes": catalog.classes,
        "mean": _rounded(mean),
        "std": _rounded(std),
    }
    write_json(folder / "summary.json", summary)
    refuse_leakage(leakage)
    return summary


def _take_over(path: Path, catalog: Catalog, params: PatchesParams, folder: Path) -> dict[str, Any]:
    """Write ready-made patches; return what `summary.json` holds."""
    gsd_m = catalog.gsd_m
    index, facts = take_over(
        path, catalog.report.get("class_names", {}), gsd_m, params.seed, folder
    )
    bands = catalog.bands or (["red", "green", "blue"] if facts["n_bands"] == 3 else [])
    if len(bands) != facts["n_bands"]:
        raise DataError(
            f"{path}: its patches have {facts['n_bands']} bands. Name them in `scenes.bands`, in order."
        )
    _check_scenes_fit(path, catalog, facts["classes"])
    rule = Rule(
        params.positive_radius_m / gsd_m, params.ignore_radius_m / gsd_m, params.radius_shape
    )
    tally = _Tally(Counter(facts["skipped"]))
    leakage = measure_leakage(index, catalog.scenes, 0)
    summary = _summary(index, rule, gsd_m, bands, tally, leakage)
    summary |= {
        "dtype": "uint8",
        "classes": facts["classes"],
        "mean": _rounded(facts["mean"]),
        "std": _rounded(facts["std"]),
    }
    summary["source"] = (
        f"{path.name}: ready-made patches, places unknown: a leak between splits cannot be excluded"
    )
    write_json(folder / "summary.json", summary)
    return summary


def _check_scenes_fit(path: Path, catalog: Catalog, classes: list[str]) -> None:
    """Refuse scenes beside ready-made patches that one model could not learn together.

    Raises:
        DataError: they are no pictures of 8 bits, or hold objects of a class that the patches lack.
    """
    other = sorted(set(catalog.classes) - set(classes))
    if other:
        raise DataError(
            f"{path}: its patches show {', '.join(classes)}, but scenes beside them hold {other[0]!r}. Give both the "
            "same names in `scenes.classes`, or name it in `scenes.ignore_classes`."
        )
    if len(catalog.scenes) and catalog.dtype != "uint8":
        raise DataError(
            f"{path}: its patches are uint8, but scenes beside them are {catalog.dtype}. Convert these."
        )


def _rounded(values: NDArray[np.float64]) -> list[float]:
    """Return statistics of pixels to six digits; a band without any spread keeps a divisor above 0."""
    return [round(float(max(value, 1e-6)), 6) for value in values]


def _negative_shares(catalog: Catalog, params: PatchesParams) -> dict[str, dict[str, int]]:
    """Return for each scene how many negatives of each kind it gives: by area, and off-centre ones
    by objects.

    Negatives come from empty scenes too, and a crowded one does not give more background than its
    area.
    """
    counts = catalog.labels[catalog.labels["role"] == "object"]["scene"].value_counts()
    scenes = catalog.scenes[catalog.scenes["labeled"]].copy()
    objects = scenes["scene"].map(counts).fillna(0)
    if params.max_objects_per_scene is not None:
        objects = objects.clip(upper=params.max_objects_per_scene)
    scenes["positives"] = objects * params.positives_per_object
    scenes["area"] = (
        scenes["width_px"] * scenes["gsd_x_m"] * scenes["height_px"] * scenes["gsd_y_m"]
    )
    totals = scenes.groupby("split")[["positives", "area"]].transform("sum")
    by_area = scenes["area"] / totals["area"] * totals["positives"]
    wanted = params.negatives_per_positive
    table = pd.DataFrame(
        {
            "random": np.ceil(by_area * wanted.random),
            "lookalike": np.ceil(by_area * wanted.lookalike),
            "offcenter": np.ceil(scenes["positives"] * wanted.offcenter),
        }
    ).astype(int)
    return {
        scene: {str(kind): int(number) for kind, number in row.items()}
        for scene, row in zip(scenes["scene"], table.to_dict("records"), strict=True)
    }


class _Job:
    """Cutting one scene."""

    def __init__(
        self,
        row: Any,
        catalog: Catalog,
        params: PatchesParams,
        rule: Rule,
        gsd_m: float,
        bands: list[str],
        wanted: dict[str, int],
    ) -> None:
        self.row, self.params, self.rule, self.gsd_m, self.bands, self.wanted = (
            row,
            params,
            rule,
            gsd_m,
            bands,
            wanted,
        )
        self.labels = catalog.labels_of(row.scene)
        self.areas = catalog.areas[catalog.areas["scene"] == row.scene]
        digest = hashlib.sha256(f"{params.seed}/{row.scene}".encode()).digest()
        self.rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))

    def cut(self, tally: _Tally) -> Iterator[tuple[NDArray[Any], pd.DataFrame]]:
        """Yield patches and their index rows, scale by scale."""
        factors = self._factors()
        per_scale = _divide(self.wanted, len(factors))
        with open_catalog_scene(self.row, self.gsd_m, self.bands) as scene:
            scene.preload()
            whole = self._objects(scene)
            hits, windows = count_positive_windows(scene.shape_hw, whole, self.rule)
            course, _ = count_positive_windows(scene.shape_hw, whole, CENTRAL)
            tally.prior[self.row.split] += [hits, course, windows]
            for name in set(whole.classes):
                shown, _ = count_positive_windows(scene.shape_hw, whole.of_class(name), self.rule)
                tally.class_hits[self.row.split][str(name)] += shown
            used = self._used(len(whole.centers))
            shift_of = self.rng.integers(
                0, len(factors), len(used) * self.params.positives_per_object
            )
            for number, factor in enumerate(factors):
                with scene.seen_at(self.gsd_m * factor) as seen:
                    repeats = np.bincount(
                        np.repeat(used, self.params.positives_per_object)[shift_of == number],
                        minlength=len(whole.centers),
                    )
                    yield from self._cut_at(
                        seen, self.gsd_m * factor, repeats, per_scale[number], tally
                    )

    def _factors(self) -> NDArray[np.float64]:
        """Return the scales of this scene's patches: several for training when a jitter is asked
        for, one otherwise.
        """
        low, high = self.params.scale_jitter
        if self.row.split != "train" or low == high == 1.0:
            return np.ones(1)
        return np.exp(np.linspace(np.log(low), np.log(high), LEVELS))

    def _used(self, count: int) -> NDArray[np.int64]:
        limit = self.params.max_objects_per_scene
        everything = np.arange(count)
        return (
            everything
            if limit is None or count <= limit
            else np.sort(self.rng.permutation(count)[:limit])
        )

    def _objects(self, scene: Scene) -> Objects:
        """Return the labels in px of a scene's grid."""
        return objects_of(self.labels, self.areas, scene.ratio_xy)

    def _cut_at(
        self,
        seen: Scene,
        gsd_m: float,
        repeats: NDArray[np.int64],
        wanted: dict[str, int],
        tally: _Tally,
    ) -> Iterator[tuple[NDArray[Any], pd.DataFrame]]:
        objects = self._objects(seen)
        held = (
            seen.read(0, 0, *seen.shape_hw)
            if seen.shape_hw[0] * seen.shape_hw[1] <= HELD_PX
            else None
        )
        cuts = [_Cut("positive", sampling.positive_windows(objects, self.rule, repeats, self.rng))]
        cuts.append(
            _Cut(
                "offcenter",
                sampling.offcenter_windows(objects, self.rule, wanted["offcenter"], self.rng),
            )
        )
        cuts.append(
            _Cut(
                "random",
                sampling.random_windows(
                    seen.shape_hw, objects, self.rule, wanted["random"], self.rng
                ),
            )
        )
        if wanted["lookalike"]:
            structure = (
                sampling.structure_map(held[0]) if held is not None else _structure_by_blocks(seen)
            )
            corners = sampling.lookalike_windows(
                structure, objects, self.rule, wanted["lookalike"], self.rng
            )
            cuts.append(_Cut("lookalike", corners))
        for cut in cuts:
            if cut.kind != "positive" and len(cut.corners) < wanted[cut.kind]:
                tally.skipped[f"{cut.kind}: no room for as many as wanted"] += wanted[
                    cut.kind
                ] - len(cut.corners)
            if len(cut.corners):
                images, kept = _read_windows(
                    seen, held, cut.corners, tally, self.row.split == "train"
                )
                yield images, self._rows(cut.kind, cut.corners[kept], objects, gsd_m)

    def _rows(
        self, kind: str, corners: NDArray[np.int64], objects: Objects, gsd_m: float
    ) -> pd.DataFrame:
        centers = corners + np.float64(HALF)
        _, which = sampling.nearest(centers, objects, self.rule)
        told = kind in ("positive", "offcenter")
        unknown = np.full(centers.shape, np.nan)
        offset = objects.centers[which] - centers if told else unknown
        size = objects.sizes[which] if told else unknown
        table = pd.DataFrame(
            {"left_px": corners[:, 0], "top_px": corners[:, 1], "gsd_m": gsd_m, "kind": kind}
        )
        table["scene"], table["place"], table["split"] = (
            self.row.scene,
            self.row.place,
            self.row.split,
        )
        table["class"] = objects.classes[which] if kind == "positive" else ""
        table[["dx_px", "dy_px"]], table[["w_px", "h_px"]] = offset, size
        return table.assign(origin="cut")


def _structure_by_blocks(seen: Scene) -> NDArray[np.float32]:
    """Return the structure of a scene too large to hold, block by block."""
    rows, cols = (length // STRIDE_PX for length in seen.shape_hw)
    structure = np.zeros((rows, cols), np.float32)
    for block in blocks((rows * STRIDE_PX, cols * STRIDE_PX), (BLOCK_PX, BLOCK_PX)):
        part = sampling.structure_map(seen.read(*block)[0])
        top, left = block.row // STRIDE_PX, block.col // STRIDE_PX
        structure[top : top + part.shape[0], left : left + part.shape[1]] = part
    return structure


def _divide(wanted: dict[str, int], parts: int) -> list[dict[str, int]]:
    """Deal counts out evenly over the scales."""
    return [
        {kind: number // parts + (part < number % parts) for kind, number in wanted.items()}
        for part in range(parts)
    ]


def _read_windows(
    seen: Scene,
    held: tuple[NDArray[Any], NDArray[np.bool_]] | None,
    corners: NDArray[np.int64],
    tally: _Tally,
    training: bool,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return (k, 64, 64, C) patches and which of the (n, 2) windows they are.

    Beyond a scene's borders they are mirrored, as a search mirrors them. Windows without a valid
    pixel, or all of one colour, are left out and counted.
    """
    read = seen.read if held is None else partial(_part, held)
    images = np.zeros((len(corners), WINDOW_PX, WINDOW_PX, seen.n_bands), seen.dtype)
    kept = np.ones(len(corners), bool)
    for number, (left, top) in enumerate(corners.tolist()):
        array, valid = read_mirrored(
            read, seen.shape_hw, (top, top + WINDOW_PX, left, left + WINDOW_PX)
        )
        if not valid.any():
            tally.skipped["window without data"] += 1
            kept[number] = False
        elif (array == array[:, :1, :1]).all():
            tally.skipped["window of one colour"] += 1
            kept[number] = False
        else:
            images[number] = array.transpose(1, 2, 0)
            if training:
                pixels = array[:, valid].astype(np.float64)
                sums = np.stack(
                    [
                        np.full(len(pixels), pixels.shape[1]),
                        pixels.sum(axis=1),
                        (pixels**2).sum(axis=1),
                    ]
                )
                tally.sums = sums if tally.sums is None else tally.sums + sums
    return images[kept], kept


def _part(
    held: tuple[NDArray[Any], NDArray[np.bool_]], row: int, col: int, height: int, width: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return a part of a held scene, as `Scene.read` would."""
    array, valid = held
    return array[:, row : row + height, col : col + width], valid[
        row : row + height, col : col + width
    ]


def _keep(
    images: NDArray[Any], found: pd.DataFrame, row: Any, writer: PatchWriter, tally: _Tally
) -> list[dict[str, Any]]:
    """Write the patches whose pixels were not seen before; return their index rows."""
    fresh = np.ones(len(images), bool)
    for number, image in enumerate(images):
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        before = tally.seen.get(digest)
        if before is None:
            tally.seen[digest] = row.split
        elif before == row.split:
            tally.skipped["same pixels as another patch"] += 1
            fresh[number] = False
        else:
            tally.identical_across_splits += 1
    start = writer.count
    writer.append(images[fresh])
    table = found[fresh].assign(patch=np.arange(start, writer.count))
    records: list[dict[str, Any]] = table[list(INDEX_COLUMNS)].to_dict("records")  # type: ignore[assignment]
    return records


def _summary(
    index: pd.DataFrame,
    rule: Rule,
    gsd_m: float,
    bands: list[str],
    tally: _Tally,
    leakage: dict[str, Any],
) -> dict[str, Any]:
    """Return counts, priors and rules; priors are null where no scene tells them."""
    counts, prior = {}, {}
    for split in SPLITS:
        kinds = index.loc[index["split"] == split, "kind"].value_counts()
        counts[split] = {kind: int(kinds.get(kind, 0)) for kind in KINDS}
        taken = sum(counts[split].values())
        hits, course, windows = (int(number) for number in tally.prior[split])
        prior[split] = {
            "windows": windows,
            "true": hits / windows if windows else None,
            "true_central_32_px": course / windows if windows else None,
            "by_class": {
                name: shown / windows
                for name, shown in sorted(tally.class_hits[split].items())
                if windows
            },
            "sampled": counts[split]["positive"] / taken if taken else None,
        }
    return {
        "window_px": WINDOW_PX,
        "stride_px": STRIDE_PX,
        "gsd_m": gsd_m,
        "bands": bands,
        "positive_radius_px": rule.positive_px,
        "ignore_radius_px": rule.ignore_px,
        "radius_shape": rule.shape,
        "counts": counts,
        "prior": prior,
        "skipped": dict(sorted(tally.skipped.items())),
        "leakage": leakage,
    }


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """Return what was cut, for the terminal."""
    lines = []
    for split in SPLITS:
        counts, prior = summary["counts"][split], summary["prior"][split]
        kinds = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        rate = (
            f"1 in {1 / prior['true']:.0f} of {prior['windows']}" if prior["true"] else "not known"
        )
        share = f"{prior['sampled']:.1%}" if prior["sampled"] is not None else "none"
        lines.append(
            f"  {split:5} {sum(counts.values()):6} patches: {kinds}; windows with an object: {rate}, {share} as cut"
        )
    lines += [f"  left out, {reason}: {number}" for reason, number in summary["skipped"].items()]
    if "source" in summary:
        return [*lines, f"  {summary['source']}"]
    distance = summary["leakage"]["smallest_distance_m"]
    apart = (
        "distance not known (no georeference)" if distance is None else f"{distance:.0f} m at least"
    )
    lines.append(f"  between splits: {apart}, no patch overlaps or is repeated")
    return lines
