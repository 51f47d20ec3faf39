"""Corrections of detections and labels by a person: a file for QGIS, and what comes back of it.

Rows and areas to review are chosen so that precision and recall of the whole can be estimated; the
corrections become a new version of the labels next to the old one.
"""
