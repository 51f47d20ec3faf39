"""The built-in world: invented airports, drawn, labelled and written as georeferenced tiles; it
reads nothing.
"""
