"""Names of networks: of earlier versions, of unpadded ones, and of those that map every pixel."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

DENSE_NETWORKS = ("valid64", "baseline_cnn")  # unpadded, at their own stride or half of it
SEGMENTATION_NETWORKS = ("unet",)  # give every px logits of its own
RENAMED_NETWORKS = {"course": "baseline_cnn"}


def current_name(name: str) -> str:
    """Return the name of a network today, and log it where an earlier version had another one."""
    if name not in RENAMED_NETWORKS:
        return name
    renamed = RENAMED_NETWORKS[name]
    logger.warning("network `%s` of an earlier version is read as `%s`.", name, renamed)
    return renamed
