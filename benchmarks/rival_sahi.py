"""SAHI slicing the same network: run by bench_rivals.py inside .venv-rivals. Prints seconds and
boxes as JSON.

`python benchmarks/rival_sahi.py MODEL RASTER LOGIT STRIDE`: windows as slices, batched natively,
boxes from the network's own heads, duplicates removed by SAHI (NMS by IoU).
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import rasterio
import sahi
import torch
from sahi.models.base import DetectionModel
from sahi.predict import get_sliced_prediction
from sahi.prediction import ObjectPrediction

from windhover.models.input_normalization import Normalizer
from windhover.models.networks import build_network


class WindowModel(DetectionModel):
    """A classifier of 64 px windows with offset and size heads, as SAHI takes a model."""

    min_logit = 0.0
    normalizer: Normalizer

    def set_model(self, model: torch.nn.Module, **_: object) -> None:
        self.model = model
        self.category_mapping = {"0": "aircraft"}

    def perform_inference(self, image: np.ndarray) -> None:
        self.perform_batch_inference([image])

    @torch.inference_mode()
    def perform_batch_inference(self, images: list[np.ndarray]) -> None:
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # (B, C, 64, 64)
        outputs = self.model(self.normalizer(pixels))
        self._original_predictions = torch.cat(
            [part.flatten(1) for part in outputs], dim=1
        ).numpy()  # (B, 5)

    def _create_object_prediction_list_from_original_predictions(
        self, shift_amount_list=None, full_shape_list=None
    ) -> None:
        self._object_prediction_list_per_image = []
        for (logit, dx, dy, log_w, log_h), shift, shape in zip(
            self._original_predictions, shift_amount_list, full_shape_list, strict=True
        ):
            found = []
            if logit >= self.min_logit:
                x, y, w, h = 32 + dx, 32 + dy, math.exp(log_w), math.exp(log_h)
                box = [float(x - w / 2), float(y - h / 2), float(x + w / 2), float(y + h / 2)]
                score = 1 / (1 + math.exp(-float(logit)))
                found.append(
                    ObjectPrediction(
                        bbox=box,
                        category_id=0,
                        category_name="aircraft",
                        score=score,
                        shift_amount=shift,
                        full_shape=shape,
                    )
                )
            self._object_prediction_list_per_image.append(found)


def main() -> None:
    model, raster, logit, stride = sys.argv[1:]
    torch.set_num_threads(2)
    card = json.loads((Path(model) / "model.json").read_text())
    network = build_network(
        card["network"]["name"],
        card["network"]["n_bands"],
        card["network"]["n_classes"],
        **card["network"]["options"],
    )
    network.load_state_dict(torch.load(Path(model) / "weights.pt", weights_only=True))
    detector = WindowModel(model=network.eval(), confidence_threshold=0.0, device="cpu")
    detector.min_logit, detector.normalizer = float(logit), Normalizer(card["mean"], card["std"])
    started = time.perf_counter()
    with rasterio.open(raster) as dataset:
        image = np.ascontiguousarray(dataset.read().transpose(1, 2, 0))
    overlap = 1 - int(stride) / 64
    result = get_sliced_prediction(
        image,
        detector,
        slice_height=64,
        slice_width=64,
        overlap_height_ratio=overlap,
        overlap_width_ratio=overlap,
        perform_standard_pred=False,
        postprocess_type="NMS",
        postprocess_match_metric="IOU",
        postprocess_match_threshold=0.3,
        batch_size=128,
        verbose=0,
        force_postprocess_type=True,
    )
    seconds = time.perf_counter() - started
    boxes = [[*found.bbox.to_xyxy(), found.score.value] for found in result.object_prediction_list]
    print(json.dumps({"sahi": sahi.__version__, "seconds": seconds, "boxes": boxes}))


if __name__ == "__main__":
    main()
