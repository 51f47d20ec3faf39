"""Models: networks, their normalization, graphs and calibration, and the saved bundle.

A model scores one picture at a time; training and the search of scenes are other rooms.
"""
