"""Searching scenes of any size: every window scored once, candidates merged into detections.

`Detector` is the entry; `scene_search` is the one loop; `Scorer` is what a runtime must offer.
Writes no file, measures no accuracy and never changes a model.
"""
