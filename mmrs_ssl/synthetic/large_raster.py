"""Write a raster too large for memory, for timing and for tests."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from mmrs_ssl.synthetic.canvas import SCENE_CLASSES
from mmrs_ssl.synthetic.scene import make_scene

SCENE_SIDE = 1024  # pixels a side of the generated scenes that are repeated


def large_scene_bytes(side: int, bands: int = 4) -> int:
    """Return an upper bound of the file's size: that of its pixels, uncompressed."""
    return side * side * bands * 2


def write_large_scene(path: str | Path, side: int = 30_000, bands: int = 4, gsd: float = 0.5) -> None:
    """Write a square uint16 GeoTIFF of generated scenes: 512-pixel tiles, compressed, four scenes taking turns.

    Memory stays constant; 30,000 pixels a side take about a minute and 4 GB.
    """
    scenes = [
        make_scene(name, seed, SCENE_SIDE, gsd).multispectral(bands) for seed, name in enumerate(SCENE_CLASSES[:4])
    ]
    blocks = [np.ascontiguousarray(scene.transpose(2, 0, 1)) for scene in scenes]
    profile = dict(driver='GTiff', dtype='uint16', count=bands, height=side, width=side, bigtiff='yes')
    tiling = dict(tiled=True, blockxsize=512, blockysize=512, compress='deflate', zlevel=1, num_threads='all_cpus')
    place = dict(crs='EPSG:32633', transform=rasterio.transform.from_origin(500_000, 5_000_000, gsd, gsd))
    with rasterio.open(path, 'w', **profile, **tiling, **place) as file:
        for row, top in enumerate(range(0, side, SCENE_SIDE)):
            for column, left in enumerate(range(0, side, SCENE_SIDE)):
                height, width = min(SCENE_SIDE, side - top), min(SCENE_SIDE, side - left)
                block = blocks[(row + 2 * column) % len(blocks)][:, :height, :width]
                file.write(block, window=Window(left, top, width, height))
