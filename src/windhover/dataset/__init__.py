"""From a folder of rasters and labels to a catalog.

Scenes are found and checked, labels placed on them in px, places divided between the splits.

Holds what is known of the scenes before any patch is cut; chooses no windows and trains nothing.
"""
