"""How good detections and scores are, in figures with intervals, and where to cut them.

Holds the truth on the ground, curves, calibration and rules of thresholds; refuses to search, draw
and write.
"""
