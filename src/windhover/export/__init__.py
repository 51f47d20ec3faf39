"""Files made of detections: tables and maps of them, their style, score maps, the stage's summary.

Holds how they are written; searches nothing.
"""
