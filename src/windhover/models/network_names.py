"""Names of networks: those of earlier versions, and those that score all windows in one pass."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

DENSE_NETWORKS = ("valid64", "baseline_cnn")  # unpadded, at their own stride or half of it
RENAMED_NETWORKS = {"course": "baseline_cnn"}


def current_name(name: str) -> str:
    """Return the name of a network today, and log it where an earlier version had another one."""
    if name not in RENAMED_NETWORKS:
        return name
    renamed = RENAMED_NETWORKS[name]
    logger.warning("network `%s` of an earlier version is read as `%s`.", name, renamed)
    return renamed
