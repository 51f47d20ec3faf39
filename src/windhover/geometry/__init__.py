"""Geometry of the pixel grid and of the ground: windows, boxes, matching, georeference.

Holds arithmetic on arrays and shapes alone; it opens no file and knows no network.
"""
