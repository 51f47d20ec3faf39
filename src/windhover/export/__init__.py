"""What a search found, as files for a map: the table of detections, its formats and style, the map
of scores.

Holds how they are written; refuses to search.
"""
