"""Reading label files into one table, for every format; one module per format.

A reader returns the labels of a file in its own coordinates: px of a named image, or the map. It
reads no raster, assigns no class, and drops only labels without geometry, which it counts.
`formats.READERS` maps suffixes to readers: a new format is a module and an entry there.
"""

from __future__ import annotations

from windhover.labels.formats import find_labels, read_labels
from windhover.labels.raster_names import RasterNames
from windhover.labels.table import RawLabels

__all__ = ["RasterNames", "RawLabels", "find_labels", "read_labels"]
