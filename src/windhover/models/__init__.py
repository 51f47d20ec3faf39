"""What a model is: its network, normalisation, faster arithmetic, its folder, and how outputs
become scores.

Holds one picture at a time; refuses to learn, and to read a raster.
"""
