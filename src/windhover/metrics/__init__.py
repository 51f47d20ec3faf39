"""Metrics of detections and of windows, with intervals; calibration; choice of thresholds.

Holds the ground truth of scenes, the matching of detections with it, score curves, and the typed
record of all metrics. Searches nothing and draws nothing.
"""
