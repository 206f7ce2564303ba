"""Cut crops that remember where they came from, and make views of them."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, Compose

from mmrs_ssl.datasets.transforms.geometric import common_size, map_images
from mmrs_ssl.options import AREA, COUNT, POSITIVE, SHARE, check_choice, check_numbers, check_ranges, refuse
from mmrs_ssl.rasters.band_by_band import in_threes
from mmrs_ssl.rasters.resizing import resize_by_averaging, smooth_before_shrinking, within_range_of
from mmrs_ssl.registry import TRANSFORMS

INTERPOLATION = dict(nearest=cv2.INTER_NEAREST, bilinear=cv2.INTER_LINEAR, bicubic=cv2.INTER_CUBIC, area=cv2.INTER_AREA)


def resize(
    image: np.ndarray, size: tuple[int, int], interpolation: int, mirror: bool = False, antialias: bool = False
) -> np.ndarray:
    """Resize (H, W, C) to (height, width) with OpenCV and mirror it left-right if asked, for any number of bands."""

    def function(bands: np.ndarray) -> np.ndarray:
        if antialias:
            bands = smooth_before_shrinking(bands, size)
        bands = cv2.resize(bands, size[::-1], interpolation=interpolation)
        # Not numpy's view with a negative stride, which OpenCV would copy slowly in every later step.
        return cv2.flip(bands, 1) if mirror else bands

    return in_threes(function, image)


def draw_crop(
    rng: np.random.Generator, height: int, width: int, scale: Sequence[float], ratio: Sequence[float]
) -> tuple[int, int, int, int]:
    """Draw the box of a random resized crop.

    Args:
        height, width: of the image, in pixels.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width / height, drawn log-uniformly.

    Returns:
        top, left, height, width in pixels, inside the image. After ten draws that do not fit: the largest centered box
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
class ResizeToSize(BaseTransform):
    """Bring ``img``, larger or smaller, to ``size`` x ``size`` pixels; what it shrinks is averaged, as Pillow does.

    ``img`` is an image, a list of dates or a dict of modalities, all of one size.
    """

    def __init__(self, size: int, interpolation: str = 'bicubic') -> None:
        check_numbers(self, COUNT, size=size)
        check_choice('ResizeToSize: interpolation', interpolation, tuple(INTERPOLATION))
        self.size, self.interpolation = size, interpolation

    def transform(self, results: dict) -> dict:
        """Replace ``img`` and ``img_shape``."""
        size = (self.size, self.size)
        if common_size(results) != size:
            resized = partial(resize_by_averaging, size=size, filtering=self.interpolation)
            results.update(img=map_images(results['img'], resized), img_shape=size)
        return results


@TRANSFORMS.register_module()
class RandomCropResize(BaseTransform):
    """Crop, resize and perhaps mirror at random, for any number of bands, and record the source.

    Of several dates (a list) or modalities (a dict) on one grid, all get the same crop and flip. Adds ``box`` (top,
    left, height, width in pixels of the image it was given) and ``flip``. Draws from ``results['rng']``.

    Args:
        size: side of the result in pixels.
        scale: range of the crop's share of the image's area.
        ratio: range of its width / height.
        flip_prob: probability of mirroring left-right.
        interpolation: ``'nearest'``, ``'bilinear'``, ``'bicubic'`` or ``'area'``.
        prob: probability of cropping; otherwise the box is the whole image, only resized (and perhaps mirrored).
        antialias: smooth what is shrunk: True, close to what Pillow and torchvision do (a gray level on average where a
            side is at most halved); ``'pillow'``, by Pillow itself, in several times the time; or False: not at all.

    Raises:
        ValueError: for an unknown interpolation; if dates or modalities differ in size.

    mmpretrain's ``RandomResizedCrop`` draws the same boxes but does not keep them, and does not smooth.
    """

    def __init__(
        self,
        size: int,
        scale: Sequence[float] = (0.3, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        flip_prob: float = 0.5,
        interpolation: str = 'bilinear',
        prob: float = 1.0,
        antialias: bool | Literal['pillow'] = True,
    ) -> None:
        check_numbers(self, COUNT, size=size)
        check_ranges(self, AREA, scale=scale)
        check_ranges(self, POSITIVE, ratio=ratio)
        check_numbers(self, SHARE, flip_prob=flip_prob, prob=prob)
        self.size, self.scale, self.ratio, self.flip_prob = size, scale, ratio, flip_prob
        if interpolation not in INTERPOLATION or antialias not in (True, False, 'pillow'):
            raise ValueError(
                f'RandomCropResize: interpolation={interpolation!r}, expected one of {", ".join(INTERPOLATION)}; '
                f"antialias={antialias!r}, expected True, False or 'pillow'"
            )
        self.interpolation, self.antialias = interpolation, antialias
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Replace ``img``; add ``box`` and ``flip``."""
        rng = results['rng']
        box = (0, 0, *common_size(results))
        if self.prob == 1 or rng.random() < self.prob:
            box = draw_crop(rng, box[2], box[3], self.scale, self.ratio)
        flip = bool(rng.random() < self.flip_prob)
        img = map_images(results['img'], lambda image: self.cut(image, box, flip))
        results.update(img=img, img_shape=(self.size, self.size), box=box, flip=flip)
        return results

    def cut(self, image: np.ndarray, box: tuple[int, int, int, int], flip: bool) -> np.ndarray:
        """Cut the box out of (H, W, C), resize it to (size, size, C) and mirror it if asked."""
        top, left, height, width = box
        crop, size = image[top : top + height, left : left + width], (self.size, self.size)
        if self.antialias == 'pillow':
            resized = resize_by_averaging(np.ascontiguousarray(crop), size, self.interpolation)
            return np.ascontiguousarray(resized[:, ::-1]) if flip else resized
        smooth = bool(self.antialias) and self.interpolation in ('bilinear', 'bicubic')  # the others keep or average
        resized = resize(crop, size, INTERPOLATION[self.interpolation], mirror=flip, antialias=smooth)
        return within_range_of(crop, resized) if self.interpolation == 'bicubic' else resized


@TRANSFORMS.register_module()
class Views(BaseTransform):
    """Make several views of one sample, each by a pipeline of its own.

    Unlike mmpretrain's ``MultiView`` the image is not copied per view (no transform here writes into its input) and the
    views' boxes and flips are kept.

    Of one image, or several modalities (a dict), every view is made. Of several dates (a list) each view is made of its
    own, in order; they lie on one grid, so that boxes of different dates can be compared.

    Args:
        views: one list of transforms per view; each must contain one that sets ``box`` and ``flip``.

    Raises:
        ValueError: if there are other than one date per view, or dates differ in size.
    """

    def __init__(self, views: Sequence[Sequence[dict | BaseTransform]]) -> None:
        if not isinstance(views, Sequence) or not views or not all(isinstance(each, Sequence) for each in views):
            refuse(self, 'views', views, 'a list of transforms for each view: [[dict(...), ...], [dict(...), ...]]')
        self.views = [Compose(transforms) for transforms in views]

    def transform(self, results: dict) -> dict:
        """Replace ``img`` by the list of views; add ``boxes`` (V, 4) and ``flips`` (V,)."""
        sources = self.sources(results)
        made = [view(dict(results, img=image)) for view, image in zip(self.views, sources, strict=True)]
        results['img'] = [view['img'] for view in made]
        results['boxes'] = np.array([view['box'] for view in made], np.float32)
        results['flips'] = np.array([view['flip'] for view in made])
        return results

    def sources(self, results: dict) -> list:
        """Return the image that each view is made of."""
        img, count = results['img'], len(self.views)
        if not isinstance(img, list):
            return [img] * count
        if len(img) != count:
            raise ValueError(
                f'{results.get("img_path")}: {len(img)} dates for {count} views; give the data set dates={count}, or '
                f'Views {len(img)} views'
            )
        common_size(results)
        return img
