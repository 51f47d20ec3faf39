"""The whole detector as one graph: pixels of a tile to boxes with calibrated scores.

For programs that know tiles and boxes alone, such as the QGIS plugin Deepness. What `detect` does
within a block is in the graph: normalization, network, peaks and secondary peaks, votes, windows
scored again at the peaks, duplicates removed, calibration, thresholds.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from windhover.errors import UnsupportedError
from windhover.inference.candidates import secondary_peak_distance
from windhover.inference.peak_tta import SYMMETRIES
from windhover.inference.peaks import MAX_LOG_SIZE, margin_cells
from windhover.inference.search_settings import SearchSettings
from windhover.model_export.tile_peaks import NEVER, TilePeaks, find_tile_peaks
from windhover.models.bundle import Bundle
from windhover.models.layer_fusion import halve_stride
from windhover.models.score_graph import ScoreGraph

# Chains of duplicates of duplicates are resolved exactly up to this length.
MERGE_ROUNDS = 12
# Of one tile, the best; pairs of them are compared, so their number bounds time and memory.
MAX_CANDIDATES = 1024
# What programs divide pixels by before they give them to a graph.
PIXEL_SCALES = {"uint8": 255.0, "uint16": 65535.0, "int16": 32767.0, "float32": 1.0}


class TileCandidates(NamedTuple):
    """N candidates of a tile."""

    class_index: Tensor  # (N,)
    logit: Tensor  # (N,)
    xy: Tensor  # (N, 2) centers, px of the tile
    wh: Tensor  # (N, 2)
    is_secondary: Tensor  # (N,) bool


class DetectorGraph(nn.Module):
    """Tiles (1, C, H, W), pixels over the largest of their type, to boxes (1, 4 + K, N).

    Each column is x, y, width and height in px of the tile, then the score of each class: 0 but for
    the object's own. There is always one column more than objects, of score 0, since programs fail
    on none at all.
    """

    def __init__(self, bundle: Bundle, thresholds: dict[str, float] | None = None) -> None:
        """Build the graph of an evaluated model.

        Args:
            bundle: the model.
            thresholds: score that each class must reach; the model's own when None.

        Raises:
            UnsupportedError: the network, or that of its second stage, is padded, or the model
                has no boxes.
            MissingFileError: the model was never evaluated.
        """
        super().__init__()
        card = bundle.card
        if card.task == "coverage":
            raise UnsupportedError(
                f"model {card.name}: maps coverage and has no boxes, so there is no detector to "
                "export. Use its graphs (`graphs/`), which give scores."
            )
        thresholds = thresholds or bundle.thresholds()
        search = {} if bundle.operating_point is None else bundle.operating_point.search
        self.settings = SearchSettings.from_json({"stride_px": card.stride_px, **search})
        self.window_px = card.window_px
        self.pixel_scale = PIXEL_SCALES[card.dtype]
        self.scores = dense_score_graph(bundle, self.settings.stride_px)
        self.window_scores = self.scores
        if self.settings.stride_px != card.stride_px:
            self.window_scores = dense_score_graph(bundle, card.stride_px)
        self.second_stage: ScoreGraph | None = None
        if bundle.second_stage is not None:
            self.second_stage = dense_score_graph(
                bundle.second_stage, bundle.second_stage.card.stride_px
            )
        by_class = [bundle.calibration.of_class(k) for k in range(len(card.classes))]
        self.temperature: Tensor
        self.bias: Tensor
        self.thresholds: Tensor
        self.min_logits: Tensor
        for name, values in {
            "temperature": [one.detection_temperature for one in by_class],
            "bias": [one.detection_bias for one in by_class],
            "thresholds": [thresholds[name] for name in card.classes],
            "min_logits": [max(one, NEVER / 2) for one in bundle.min_logits(thresholds)],
        }.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the boxes of a tile (1, C, H, W) of pixels as read.

        Returns:
            (1, 4 + K, N + 1): center x, y, width and height, px, and the score of each class; the
            last box is empty.
        """
        tile = pixels[0] * self.pixel_scale
        tile = torch.where(torch.isnan(tile), torch.zeros(()), tile)  # (C, H, W)
        logits, offsets_px, log_sizes = (plane[0] for plane in self.scores(tile[None]))
        peaks = find_tile_peaks(
            logits,
            offsets_px,
            log_sizes,
            stride_px=self.settings.stride_px,
            window_px=self.window_px,
        )
        candidates = self._candidates(tile, logits, peaks)
        is_kept = self._is_kept(candidates)
        return self._to_boxes(candidates, is_kept)

    def _candidates(self, tile: Tensor, logits: Tensor, peaks: TilePeaks) -> TileCandidates:
        """Return the peaks that may reach the threshold, scored again by the settings."""
        lowest = self.min_logits
        if self.settings.peak_tta != "none":
            lowest = lowest.clamp(max=self.settings.rescore_min_logit)
        is_candidate = (peaks.is_peak | peaks.is_secondary) & (logits >= lowest[:, None, None])
        cells = is_candidate.nonzero()  # (N, 3): class, row, column
        best_first = logits[cells[:, 0], cells[:, 1], cells[:, 2]].argsort(descending=True)
        class_index, row, col = cells[best_first[:MAX_CANDIDATES]].unbind(dim=1)
        logit = logits[class_index, row, col]
        offset = peaks.offsets_px.permute(0, 2, 3, 1)[class_index, row, col]  # (N, 2)
        log_size = peaks.log_sizes.permute(0, 2, 3, 1)[class_index, row, col]
        is_secondary = peaks.is_secondary[class_index, row, col]
        corner = torch.stack([col, row], dim=1).to(logit.dtype) * self.settings.stride_px
        if self.settings.peak_tta != "none":
            last = torch.tensor(
                [(logits.shape[2] - 1), (logits.shape[1] - 1)], dtype=logit.dtype
            ) * float(self.settings.stride_px)
            reach = float(margin_cells(self.settings.stride_px) * self.settings.stride_px)
            shift = offset.round().clamp(-reach, reach)
            moved = torch.minimum((corner + shift).clamp(min=0.0), last)
            new_logit, new_offset, new_size = self._score_windows(tile, moved, class_index)
            is_chosen = logit >= self.settings.rescore_min_logit
            logit = torch.where(is_chosen, new_logit, logit)
            new_offset = moved - corner + new_offset
            offset = torch.where(is_chosen[:, None], new_offset, offset)
            log_size = torch.where(is_chosen[:, None], new_size, log_size)
        xy = corner + self.window_px / 2 + offset
        return TileCandidates(class_index, logit, xy, log_size.exp(), is_secondary)

    def _score_windows(
        self, tile: Tensor, corners: Tensor, class_index: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (N,), offsets and log sizes (N, 2) of the windows at corners (N, 2) x, y.

        One window more is scored, the tile's first, because an empty batch is no input.
        """
        corners = nn.functional.pad(corners, (0, 0, 0, 1))
        steps = torch.arange(self.window_px)
        rows = corners[:, 1].long()[:, None] + steps  # (N + 1, side)
        cols = corners[:, 0].long()[:, None] + steps
        windows = tile[:, rows[:, :, None], cols[:, None, :]].transpose(0, 1)
        outputs = self._mean_outputs(self.window_scores, windows)
        logits, offsets, log_sizes = outputs[:, :-4], outputs[:, -4:-2], outputs[:, -2:]
        if self.second_stage is not None:
            logits = (logits + self._mean_outputs(self.second_stage, windows)[:, :-4]) / 2
        limit = self.window_px / 2
        own_logit = logits[:-1].gather(1, class_index[:, None])[:, 0]
        return (
            own_logit,
            offsets[:-1].clamp(-limit, limit),
            log_sizes[:-1].clamp(0.0, MAX_LOG_SIZE),
        )

    def _mean_outputs(self, network: ScoreGraph, windows: Tensor) -> Tensor:
        """Return logits, offsets and log sizes side by side, (N, K + 4), over the symmetries."""
        total: Tensor | None = None
        symmetries = SYMMETRIES[self.settings.peak_tta]
        for mirrored_x, mirrored_y, transposed in symmetries:
            view = windows
            if mirrored_x:
                view = view.flip(3)
            if mirrored_y:
                view = view.flip(2)
            if transposed:
                view = view.transpose(2, 3)
            logits, offsets, log_sizes = (plane[:, :, 0, 0] for plane in network(view))
            if transposed:
                offsets = offsets.flip(1)
                log_sizes = log_sizes.flip(1)
            sign_x = -1.0 if mirrored_x else 1.0
            sign_y = -1.0 if mirrored_y else 1.0
            offsets = offsets * torch.tensor([[sign_x, sign_y]])
            outputs = torch.cat([logits, offsets, log_sizes], dim=1)
            total = outputs if total is None else total + outputs
        assert total is not None
        return total / float(len(symmetries))

    def _is_kept(self, candidates: TileCandidates) -> Tensor:
        """Return (N,) which candidates are no duplicates of better ones, as numbers 0 and 1.

        The greedy rule of `geometry.boxes.merge_duplicates`: a candidate stays unless a better one
        that stays is the same object. Repeated from "all stay", it settles after as many rounds as
        the longest chain of duplicates.
        """
        same = self._is_same_object(candidates)
        logit = candidates.logit
        order = torch.arange(logit.shape[0], device=logit.device)
        is_better = (logit[:, None] > logit[None, :]) | (
            (logit[:, None] == logit[None, :]) & (order[:, None] < order[None, :])
        )
        removes = (same & is_better).to(logit.dtype)  # (N, N): the first removes the second
        kept = (logit >= self.min_logits[candidates.class_index]).to(logit.dtype)
        eligible = kept
        for _ in range(MERGE_ROUNDS):
            removed = (kept[None, :] @ removes)[0] > 0.5
            kept = eligible * (~removed).to(logit.dtype)
        return kept

    def _is_same_object(self, candidates: TileCandidates) -> Tensor:
        """Return (N, N) which candidates are the same object."""
        xy, wh = candidates.xy, candidates.wh
        distance = (xy[:, None] - xy[None, :]).square().sum(dim=2).sqrt()
        size = wh.prod(dim=1).sqrt()
        merge_distance = float(self.settings.merge_distance)
        secondary_distance = secondary_peak_distance(merge_distance)
        is_secondary = candidates.is_secondary.to(xy.dtype)
        reach = merge_distance + is_secondary * (secondary_distance - merge_distance)
        factor = torch.maximum(reach[:, None], reach[None, :])
        is_near = distance < factor * torch.minimum(size[:, None], size[None, :])
        low, high = xy - wh / 2, xy + wh / 2
        inner = torch.minimum(high[:, None], high[None, :]) - torch.maximum(
            low[:, None], low[None, :]
        )
        common = inner.clamp(min=0.0).prod(dim=2)
        area = wh.prod(dim=1)
        union = area[:, None] + area[None, :] - common
        overlaps = common > self.settings.merge_iou * union
        same_class = candidates.class_index[:, None] == candidates.class_index[None, :]
        return (is_near | overlaps) & same_class

    def _to_boxes(self, candidates: TileCandidates, is_kept: Tensor) -> Tensor:
        """Return (1, 4 + K, N + 1): boxes and scores, the last column without an object."""
        index = candidates.class_index
        score = torch.sigmoid(candidates.logit / self.temperature[index] + self.bias[index])
        score = score * is_kept * (score >= self.thresholds[index]).to(score.dtype)
        classes = torch.arange(self.thresholds.shape[0])
        by_class = (index[:, None] == classes[None, :]).to(score.dtype) * score[:, None]
        rows = torch.cat([candidates.xy, candidates.wh, by_class], dim=1)  # (N, 4 + K)
        return nn.functional.pad(rows, (0, 0, 0, 1)).transpose(0, 1)[None]


def dense_score_graph(bundle: Bundle, stride_px: int) -> ScoreGraph:
    """Return the network of a bundle at a stride, pixels as read.

    Raises:
        UnsupportedError: the network is padded.
        ParameterError: it has no such stride.
    """
    network = bundle.network()
    if not network.dense:
        raise UnsupportedError(
            f"model {bundle.card.name}: network `{bundle.card.network.name}` is padded and scores "
            "single windows, so it cannot be written as one graph of a tile. Train `valid64` or "
            "`baseline_cnn`."
        )
    if stride_px * 2 == bundle.card.stride_px:
        halve_stride(network)
    return ScoreGraph(network, bundle.card)
