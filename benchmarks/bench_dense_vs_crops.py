"""Dense scoring against cropping every window: the same network, a 512x512 picture, stride 8 and
16.
"""

from __future__ import annotations

import numpy as np
import torch
from measuring import interleaved, picture, save
from scipy.special import expit

from fake_models import random_weights
from windhover.inference.torch_scorer import TorchScorer
from windhover.models.input_normalization import Normalizer
from windhover.models.networks import build_network


@torch.inference_mode()
def by_crops(
    network: torch.nn.Module,
    normalizer: Normalizer,
    block: np.ndarray,
    stride: int,
    batch: int = 128,
) -> np.ndarray:
    """Return the logits of every window, cropped and scored in batches: how windows are usually
    scanned.
    """
    pixels = torch.from_numpy(block)
    count = (block.shape[1] - 64) // stride + 1
    places = [(row * stride, col * stride) for row in range(count) for col in range(count)]
    parts = []
    for first in range(0, len(places), batch):
        crops = torch.stack(
            [
                pixels[:, row : row + 64, col : col + 64]
                for row, col in places[first : first + batch]
            ]
        )
        parts.append(network(normalizer(crops)).logits[:, 0, 0, 0])
    return torch.cat(parts).reshape(count, count).numpy()


def main() -> None:
    """Time both, in turns, and compare every score."""
    torch.set_num_threads(2)
    weights = random_weights(width=32)
    network = build_network("valid64", 3, 1, width=32)
    network.load_state_dict(weights)
    network.eval()
    normalizer, block = Normalizer([100.0] * 3, [60.0] * 3), picture(512, 512)
    figures = {}
    for stride, crops_stride in (("stride 8", 8), ("stride 16", 16)):
        scorer = TorchScorer(network, normalizer)
        dense = scorer.score(block).logits[0, :: crops_stride // 8, :: crops_stride // 8]
        crops = by_crops(network, normalizer, block, crops_stride)
        seconds = interleaved(
            {
                "dense": lambda scorer=scorer: scorer.score(block),
                "crops": lambda crops_stride=crops_stride: by_crops(
                    network, normalizer, block, crops_stride
                ),
            },
            3,
        )
        figures[stride] = {
            "windows": dense.size,
            "dense_s": round(seconds["dense"], 3),
            "crops_s": round(seconds["crops"], 2),
            "times_faster": round(seconds["crops"] / seconds["dense"], 1),
            "largest_score_difference": float(np.abs(expit(dense) - expit(crops)).max()),
            "largest_logit_difference": float(np.abs(dense - crops).max()),
            "spread_of_logits": round(float(dense.std()), 2),
        }
    save(
        "dense_vs_crops", figures, "stride 8: 60 times faster, largest score difference under 1e-5"
    )


if __name__ == "__main__":
    main()
