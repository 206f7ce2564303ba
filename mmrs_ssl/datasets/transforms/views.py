"""Crops that remember where they came from."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmpretrain.structures import DataSample

from mmrs_ssl.registry import TRANSFORMS

INTERPOLATION = dict(nearest=cv2.INTER_NEAREST, bilinear=cv2.INTER_LINEAR, bicubic=cv2.INTER_CUBIC, area=cv2.INTER_AREA)


def resize(image: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    """Resize (H, W, C) to (height, width) with OpenCV; C is kept, also where it is 1 or above 4."""
    if interpolation == cv2.INTER_AREA and image.shape[2] > 4:  # OpenCV averages at most four bands at once
        parts = [image[..., i : i + 4] for i in range(0, image.shape[2], 4)]
        return np.concatenate([resize(part, size, interpolation) for part in parts], axis=2)
    resized = cv2.resize(image, size[::-1], interpolation=interpolation)
    return resized[..., None] if resized.ndim == 2 else resized


def draw_crop(
    rng: np.random.Generator, height: int, width: int, scale: Sequence[float], ratio: Sequence[float]
) -> tuple[int, int, int, int]:
    """Draw the box of a random resized crop.

    Args:
        height, width: of the image, in pixels.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width / height, drawn log-uniformly.

    Returns:
        top, left, height, width in pixels, inside the image. After ten draws that do not fit: the largest centred box
        of an allowed ratio, as torchvision does.
    """
    log_ratio = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        area = height * width * rng.uniform(scale[0], scale[1])
        aspect = math.exp(rng.uniform(log_ratio[0], log_ratio[1]))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    return (height - h) // 2, (width - w) // 2, h, w


@TRANSFORMS.register_module()
class ShrinkToSize(BaseTransform):
    """Resize ``img`` to ``size`` x ``size`` pixels when either side is larger; a smaller image stays as it is."""

    def __init__(self, size: int, interpolation: str = 'bilinear') -> None:
        self.size = size
        self.interpolation = INTERPOLATION[interpolation]

    def transform(self, results: dict) -> dict:
        """Replace ``img`` and ``img_shape``."""
        if max(results['img'].shape[:2]) > self.size:
            results['img'] = resize(results['img'], (self.size, self.size), self.interpolation)
            results['img_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class RandomCropResize(BaseTransform):
    """Random resized crop and horizontal flip, for any number of bands, that records its source.

    Adds ``box`` (top, left, height, width in pixels of the image it was given) and ``flip``. Draws from
    ``results['rng']``.

    Args:
        size: side of the result in pixels.
        scale: range of the crop's share of the image's area.
        ratio: range of its width / height.
        flip_prob: probability of mirroring left-right.
        interpolation: ``'nearest'``, ``'bilinear'``, ``'bicubic'`` or ``'area'``.

    mmpretrain's ``RandomResizedCrop`` draws the same boxes but does not keep them.
    """

    def __init__(
        self,
        size: int,
        scale: Sequence[float] = (0.3, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        flip_prob: float = 0.5,
        interpolation: str = 'bilinear',
    ) -> None:
        self.size = size
        self.scale = scale
        self.ratio = ratio
        self.flip_prob = flip_prob
        self.interpolation = INTERPOLATION[interpolation]

    def transform(self, results: dict) -> dict:
        """Replace ``img``; add ``box`` and ``flip``."""
        rng, image = results['rng'], results['img']
        top, left, height, width = draw_crop(rng, image.shape[0], image.shape[1], self.scale, self.ratio)
        image = resize(image[top : top + height, left : left + width], (self.size, self.size), self.interpolation)
        flip = bool(rng.random() < self.flip_prob)
        if flip:
            image = image[:, ::-1]
        results.update(img=image, img_shape=image.shape[:2], box=(top, left, height, width), flip=flip)
        return results


@TRANSFORMS.register_module()
class Views(BaseTransform):
    """Make several views of one image, each by a pipeline of its own.

    Unlike mmpretrain's ``MultiView`` the image is not copied per view (no transform here writes into its input) and the
    views' boxes and flips are kept.

    Args:
        views: one list of transforms per view; each must contain one that sets ``box`` and ``flip``.
    """

    def __init__(self, views: list[list[dict]]) -> None:
        self.views = [Compose(transforms) for transforms in views]

    def transform(self, results: dict) -> dict:
        """Replace ``img`` by the list of views; add ``boxes`` (V, 4) and ``flips`` (V,)."""
        made = [view(dict(results)) for view in self.views]
        results['img'] = [view['img'] for view in made]
        results['boxes'] = np.array([view['box'] for view in made], np.float32)
        results['flips'] = np.array([view['flip'] for view in made])
        return results


@TRANSFORMS.register_module()
class PackViews(BaseTransform):
    """Turn views into ``inputs``, a list of tensors (C, H, W) of the image's own type, and ``data_samples``.

    The sample carries ``boxes`` (V, 4) float32 in pixels, ``flips`` (V,) boolean, and ``img_path`` and ``sample_idx``.
    Pixels stay as they are on disk (8 bits travel as 8 bits); the data preprocessor normalises on the device.
    """

    def transform(self, results: dict) -> dict:
        """Pack."""
        sample = DataSample(metainfo=dict(img_path=results.get('img_path'), sample_idx=results.get('sample_idx')))
        sample.boxes = torch.from_numpy(results['boxes'])
        sample.flips = torch.from_numpy(results['flips'])
        inputs = [torch.from_numpy(np.ascontiguousarray(view.transpose(2, 0, 1))) for view in results['img']]
        return dict(inputs=inputs, data_samples=sample)
