"""The flows behind the detect stage and `windhover detect`: from rasters to files of detections.

Search scenes with `windhover.inference` and write with `windhover.export`; a killed run can be
resumed. Decide neither thresholds nor search settings: these come with the model.
"""
