"""The peer of bench_clouds.py: `ukis-csmask`, run inside .venv-rivals. Prints its seconds as JSON.

`python benchmarks/rival_csmask.py SCENE.npz FOLDER THREADS`: masks of its four models (four or six
bands; level 1C or 2A), uint8: 0 clear, 1 cloud, 2 shadow; one FOLDER/NAME.npy each.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
from ukis_csmask.mask import CSmask

BANDS = ["blue", "green", "red", "nir", "swir16", "swir22"]


def main() -> None:
    """Write the masks of one scene."""
    folder = Path(sys.argv[2])
    threads = int(sys.argv[3])
    image = np.load(sys.argv[1])["img"]
    seconds = {}
    for n_bands, level in product((4, 6), ("l1c", "l2a")):
        bands = np.ascontiguousarray(image[..., :n_bands])
        began = time.perf_counter()
        mask = CSmask(bands, BANDS[:n_bands], level, intra_op_num_threads=threads).csm[..., 0]
        name = f"csmask, {n_bands} bands, {level}"
        seconds[name] = time.perf_counter() - began
        np.save(folder / f"{name}.npy", mask)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
