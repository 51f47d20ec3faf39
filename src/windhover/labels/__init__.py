"""Reading label files into one table, whatever their format; one module per family of formats.

A reader returns what the file says and where: in pixels of a named image, or on the map. It does
not look at rasters, decides no class and drops nothing but what has no geometry, which it counts.
"""

from __future__ import annotations

from windhover.labels.formats import find_labels, read_labels
from windhover.labels.table import RawLabels

__all__ = ["RawLabels", "find_labels", "read_labels"]
