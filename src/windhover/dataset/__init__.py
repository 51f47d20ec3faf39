"""From a folder of rasters and labels to a catalog: found, checked, placed in px, divided by place,
shown on a page.

Holds what is known of the scenes before any patch is cut; refuses to choose windows and to learn.
"""
