"""Search a large scene for windows that hold data, with the loaders that read them for training."""

from collections.abc import Mapping
from copy import copy

import numpy as np

from mmrs_ssl.datasets.transforms.loading import LoadRaster
from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.rasters.reader import pool
from mmrs_ssl.scenes.index import Scene
from mmrs_ssl.scenes.usable import Read, usable_windows
from mmrs_ssl.scenes.window_plan import WindowPlan


def search_scene(
    plan: WindowPlan, number: int, scene: Scene, loaders: Mapping[str, LoadRaster], access: Access, max_nodata: float
) -> np.ndarray:
    """Tell which windows of a scene's grid hold enough data in every modality, on at least one date: (N,) bool.

    Args:
        plan: the windows of all scenes.
        number: which one the scene is.
        scene: its files.
        loaders: by modality, '' for one that takes whatever there is.
        access: where reading may go.
        max_nodata: largest share of empty pixels, in [0, 1].
    """
    usable = np.ones(plan.grid_shape(number), bool)
    for modality, dates in scene.layers.items():
        loader = copy(loaders.get(modality) or loaders[''])
        # Of windows that are resampled when loading, no more is known than whether they hold any data.
        share, loader.size = (1.0 if loader.size else max_nodata), None
        reads = [_reader(loader, files, scene, access, max_nodata) for files in dict.fromkeys(dates.values())]
        usable &= np.logical_or.reduce([usable_windows(plan, number, read, share) for read in reads])
    return usable.ravel()


def _reader(loader: LoadRaster, files: tuple[str, ...], scene: Scene, access: Access, max_nodata: float) -> Read:
    def read(window: Window) -> tuple[np.ndarray, np.ndarray | None] | None:
        if len(files) == 1:
            raster = pool().get(files[0], scene.grid, scene.shape, loader.resampling, access)
            # A block that is not there holds nodata if the file declares it, or else 0.
            zero_is_empty = not raster.by_mask and loader.nodata is None and not loader.unscale and max_nodata < 1
            if (raster.by_value or zero_is_empty) and not raster.has_blocks(window):
                return None
        place = dict(window=window, grid=scene.grid, shape=scene.shape, access=access)
        return loader.read_files(files, place)

    return read
