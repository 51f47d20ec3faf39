"""Raster files read at any ground sample distance, and vector layers.

Holds what opens, checks and reads them; it knows nothing of what they show. Three ground sample
distances (metres per px) are distinguished everywhere:

- `native_gsd_m`: given by the user for a raster without georeference, as `scenes.native_gsd_m`;
- `SceneInfo.gsd_m`: of the raster's own px, along a row and down a column;
- `target_gsd_m`: of the grid at which a `Scene` is read.
"""
