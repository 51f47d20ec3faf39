"""The built-in world: invented airports, drawn, labeled and written as georeferenced tiles.

It reads no file.
"""
