"""Models: networks, their normalization, int8 quantization and calibration, and the saved bundle.

A model scores one picture at a time; training and the search of scenes are other rooms.
"""
