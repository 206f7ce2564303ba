"""End a pipeline: turn images into tensors, and what is known of the sample into ``data_samples``."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmpretrain.structures import DataSample

from mmrs_ssl.datasets.transforms.geometric import map_images
from mmrs_ssl.rasters.arrays import bands_first
from mmrs_ssl.registry import TRANSFORMS

_PLACE_AND_TIME = ('scene', 'window', 'date', 'dates')


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """Turn (H, W, C) into a tensor (C, H, W) of the same type."""
    return torch.from_numpy(bands_first(image))


def make_sample(results: dict) -> DataSample:
    """Make a data sample that names its image: ``img_path``, ``sample_idx`` and, where known, place and time."""
    known = {key: results[key] for key in _PLACE_AND_TIME if key in results}
    return DataSample(metainfo=dict(img_path=results.get('img_path'), sample_idx=results.get('sample_idx'), **known))


@TRANSFORMS.register_module()
class PackViews(BaseTransform):
    """Turn views into ``inputs``, a list of tensors (C, H, W) of the image's own type, and ``data_samples``.

    One view alone, or an image that :class:`RandomCropResize` has cut and no :class:`Views` has made views of, becomes
    one tensor, as methods of one view (MAE, SimMIM) want it. A view of several modalities becomes a dict of tensors.

    The sample carries ``boxes`` (V, 4) float32 in pixels, ``flips`` (V,) boolean, ``img_path`` and ``sample_idx``, and
    ``scene``, ``window``, ``date`` and ``dates`` where the data set gives them; also a ``mask``, as a tensor, that
    mmpretrain's ``SimMIMMaskGenerator`` has drawn.
    Pixels stay as they are on disk (8 bits travel as 8 bits); the data preprocessor normalizes on the device.
    """

    def transform(self, results: dict) -> dict:
        """Return ``inputs`` and ``data_samples`` alone, with the boxes and flips of the views."""
        sample, img = make_sample(results), results['img']
        views = 'boxes' in results
        sample.boxes = torch.from_numpy(results['boxes'] if views else np.array([results['box']], np.float32))
        sample.flips = torch.from_numpy(results['flips'] if views else np.array([results['flip']]))
        if 'mask' in results:
            sample.mask = torch.from_numpy(results['mask'])
        if views and len(img) == 1:
            (img,) = img
        return dict(inputs=map_images(img, to_tensor), data_samples=sample)


@TRANSFORMS.register_module()
class PackModalities(BaseTransform):
    """Turn modalities into ``inputs``, a dict of tensors (C, H, W) of each raster's own type, and ``data_samples``.

    The sample carries ``img_path`` and ``sample_idx``, ``scene``, ``window``, ``date`` and ``dates`` where the data set
    gives them, and after :class:`RandomCropResize` ``box`` (4,) float32 in pixels and ``flip``, a boolean tensor.

    Raises:
        ValueError: if ``img`` is no dict of modalities.
    """

    def transform(self, results: dict) -> dict:
        """Return ``inputs`` and ``data_samples`` alone, with the box and flip of a crop if there was one."""
        if not isinstance(results['img'], dict):
            raise ValueError(
                f'{results.get("img_path")}: PackModalities needs a dict of images, one per modality, found '
                f'{type(results["img"]).__name__}; load them with mmrs_ssl.LoadModalities, or pack with PackViews'
            )
        sample = make_sample(results)
        if 'box' in results:
            sample.box = torch.tensor(results['box'], dtype=torch.float32)
            sample.flip = torch.tensor(results['flip'])
        return dict(inputs=map_images(results['img'], to_tensor), data_samples=sample)
