"""Scorers that find squares."""

from __future__ import annotations

from typing import Any

from fake_models import Identity, PlantedNetwork
from windhover.inference.torch_scorer import TorchScorer


def planted(**options: Any) -> TorchScorer:
    """Return a scorer whose logit is high where a square is in the middle of the window."""
    return TorchScorer(PlantedNetwork(), Identity(), **options)
