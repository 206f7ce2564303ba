"""Put the bands of further files of a place behind those of an image."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from mmrs_ssl.datasets.transforms.loading import LoadRaster
from mmrs_ssl.options import check_names, refuse
from mmrs_ssl.registry import TRANSFORMS


@TRANSFORMS.register_module()
class AppendRaster(LoadRaster):
    """Append the bands of a file of the same place to ``img``: (H, W, C) and (H, W, c) become (H, W, C + c).

    In a pipeline of any library: color operations go before it, what turns or cuts all bands alike after it. Of a list
    of images (two dates) each gets the bands of its own file.

    Args:
        folder: a folder in the images' paths, and what stands there in the other files', e.g. ``('img_dir',
            'ndsm_dir')``.
        suffix: how the other files' names end, e.g. ``'.tif'``; by default as the images'.
        **options: of :class:`LoadRaster`, for the other files.

    Raises:
        ValueError: if an image's path has no such folder, or its other file not its size.
    """

    def __init__(self, folder: Sequence[str], suffix: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        check_names(self, folder=folder)
        if len(folder) != 2:
            refuse(self, 'folder', folder, "two names, e.g. ['img_dir', 'ndsm_dir']")
        self.folder, self.other = folder
        self.suffix = suffix

    def transform(self, results: dict) -> dict:
        """Replace ``img``."""
        images, paths = results['img'], results['img_path']
        several = isinstance(images, list)
        pairs = zip(images, paths, strict=True) if several else [(images, paths)]
        joined = [self.joined(*pair, results) for pair in pairs]
        return {**results, 'img': joined if several else joined[0]}

    def joined(self, image: np.ndarray, path: str, results: dict) -> np.ndarray:
        """Return an image (H, W, C) with the bands of its other file."""
        parts = PurePath(path).parts
        if self.folder not in parts[:-1]:
            raise ValueError(f'{path} has no folder {self.folder!r}, in whose place {self.other!r} would be')
        at = len(parts) - 1 - parts[::-1].index(self.folder)
        other = PurePath(*parts[:at], self.other, *parts[at + 1 :])
        added = self.load_one((str(other.with_suffix(self.suffix or other.suffix)),), results)
        if added.shape[:2] != image.shape[:2]:
            sizes = [' x '.join(map(str, each.shape[:2])) for each in (added, image)]
            raise ValueError(f'{other} has {sizes[0]} pixels, its image {path} has {sizes[1]}: put both on one grid')
        return np.concatenate((image, added), axis=2)
