"""Reading label files into one table, for every format; one module per format.

A reader returns the labels of a file in its own coordinates: px of a named image, or the map. It
reads no raster, assigns no class, and drops only labels without geometry, which it counts.
`formats.READERS` maps suffixes to readers: a new format is a module and an entry there.
"""
