"""Detections of many rasters as one collection, in which each object on the ground is there once.

Searches nothing and reads no model; `windhover.detection` finds, this room merges, counts and
writes.
"""
