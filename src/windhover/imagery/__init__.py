"""Rasters as they lie in files, seen at any ground sample distance; and the layers of shapes that
are laid over them.

Holds what opens, checks and reads them; refuses to say what they show.
"""
