"""Augment the values of views, in the type that the pixels have on disk.

Every transform draws from ``results['rng']``. Those that mean color need three bands (RGB) and say so; their
counterpart for any number of bands is :class:`SpectralJitter`. The others give a band the same values whatever number
of bands follows it, and draw as often.
"""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmrs_ssl.datasets.transforms.bands import in_threes
from mmrs_ssl.rasters.arrays import LUMINANCE
from mmrs_ssl.registry import TRANSFORMS

_LUMINANCE = np.array(LUMINANCE, np.float32)
_IDENTITY = np.eye(3, dtype=np.float32)


class Photometric(BaseTransform):
    """With probability ``prob`` replace ``img`` by :meth:`apply` of it; a base class.

    Of several modalities (a dict) only one is replaced. For several dates (a list) it is decided once whether to apply
    the transform, and its parameters are drawn for each date, as if haze and light had changed between them.

    Args:
        prob: probability in [0, 1].
        max_value: the value of white. Default: 255 for 8-bit images, else the data set's ``max_value``.
        modality: which one to apply it to, where a sample has several.

    Raises:
        ValueError: if a sample has several modalities and ``modality`` is none of them, or has only an image.
    """

    def __init__(self, prob: float = 1.0, max_value: float | None = None, modality: str | None = None) -> None:
        self.prob = prob
        self.max_value = max_value
        self.modality = modality

    def transform(self, results: dict) -> dict:
        """Replace ``img``, or leave the sample as it is."""
        self.check_modality(results['img'])
        if results['rng'].random() < self.prob:
            results['img'] = self.augment(results['img'], results['rng'], results.get('max_value'))
        return results

    def augment(self, img: Any, rng: np.random.Generator, max_value: float | None) -> Any:
        """Apply to an image, to every one of a list, or to this transform's own of a dict, which is copied."""
        if isinstance(img, list):
            return [self.augment(member, rng, max_value) for member in img]
        if isinstance(img, dict):
            return {**img, self.modality: self.augment(img[self.modality], rng, max_value)}
        return self.apply(img, rng, max_value)

    def apply(self, image: np.ndarray, rng: np.random.Generator, max_value: float | None) -> np.ndarray:
        """Augment an image; shape (H, W, C) and type stay the same.

        Args:
            image: (H, W, C), not to be written into.
            rng: the sample's generator, to be drawn from equally often for any number of bands.
            max_value: the data set's value of white, if it gives one; see :meth:`white`.
        """
        raise NotImplementedError

    def check_modality(self, img: Any) -> None:
        """Raise if ``modality`` does not say which image to augment, or says it of a sample without modalities."""
        member = img[0] if isinstance(img, list) else img
        names = list(member) if isinstance(member, dict) else [None]
        if self.modality not in names:
            found = f'the modalities {names}' if isinstance(member, dict) else 'one modality without a name'
            mend = f'set modality to one of them, e.g. {names[0]!r}' if isinstance(member, dict) else 'leave it out'
            raise ValueError(f'{type(self).__name__}(modality={self.modality!r}), but the sample has {found}: {mend}')

    def white(self, image: np.ndarray, max_value: float | None) -> float:
        """Return the value of white for this image.

        Args:
            image: (H, W, C).
            max_value: the data set's, for an image that is not 8 bits and a transform without one of its own.

        Raises:
            ValueError: if the image is not 8 bits and neither is given, or has negative values.
        """
        if image.dtype != np.uint8 and image.min() < 0:
            raise ValueError(
                f'{type(self).__name__} expects values from 0 to max_value, found {image.min()}: shift the raster, or '
                'leave this transform out'
            )
        if self.max_value is not None:
            return self.max_value
        if image.dtype == np.uint8:
            return 255.0
        if max_value is None:
            raise ValueError(
                f'{type(self).__name__} on {image.dtype} needs max_value, the value that counts as white (e.g. 10000 '
                'for Sentinel-2 reflectance), from the data set or its own; only 8-bit images have a natural one'
            )
        return max_value

    def need_rgb(self, image: np.ndarray) -> None:
        """Raise for anything but 8-bit RGB."""
        if image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f'{type(self).__name__} is defined for 8-bit RGB, not for {image.shape[2]} bands of {image.dtype}; use '
                "dict(type='mmrs_ssl.SpectralJitter') for other bands and leave color operations out"
            )


def affine(image: np.ndarray, gain: np.ndarray | float, offset: np.ndarray | float, white: float) -> np.ndarray:
    """Compute ``clip(image * gain + offset, 0, white)`` in the image's type; gain and offset are (C,) or one number."""
    if image.dtype == np.uint8:
        levels = np.arange(256, dtype=np.float32)[:, None]
        table = np.clip(levels * gain + offset, 0, white).round().astype(np.uint8)  # (256, 1) or (256, C)
        return cv2.LUT(image, table[None]).reshape(image.shape)
    out = np.clip(image * np.asarray(gain, np.float32) + np.asarray(offset, np.float32), 0, white)
    return (out.round() if np.issubdtype(image.dtype, np.integer) else out).astype(image.dtype)


@TRANSFORMS.register_module()
class ColorJitter(Photometric):
    """Change brightness, contrast, saturation and hue of an 8-bit RGB image, in random order.

    Factors are uniform in [1 - x, 1 + x]; the hue turns by a uniform share of the color circle in [-hue, hue].

    The distribution is that of torchvision's ``ColorJitter``, rounded to 8 bits after each operation.
    mmpretrain's works on BGR and draws from the global generator.
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.2,
        hue: float = 0.1,
        prob: float = 0.8,
        modality: str | None = None,
    ) -> None:
        super().__init__(prob, modality=modality)
        self.low = np.array([1 - brightness, 1 - contrast, 1 - saturation, -hue])
        self.range = 2 * np.array([brightness, contrast, saturation, hue])

    def apply(self, image: np.ndarray, rng: np.random.Generator, max_value: float | None) -> np.ndarray:
        """Change (H, W, 3) uint8 by drawn factors, in a drawn order."""
        self.need_rgb(image)
        brightness, contrast, saturation, hue = (self.low + self.range * rng.random(4)).tolist()
        for operation in rng.permutation(4):
            if operation == 0:
                image = cv2.transform(image, brightness * _IDENTITY)
            elif operation == 1:
                gray = float(np.dot(cv2.mean(image)[:3], _LUMINANCE))
                matrix = np.full((3, 4), (1 - contrast) * gray, np.float32)  # the last column is added
                matrix[:, :3] = contrast * _IDENTITY
                image = cv2.transform(image, matrix)
            elif operation == 2:
                image = cv2.transform(image, saturation * _IDENTITY + (1 - saturation) * _LUMINANCE)
            else:
                image = turn_hue(image, hue)
        return image


def turn_hue(image: np.ndarray, turn: float) -> np.ndarray:
    """Turn the hue of (H, W, 3) uint8 RGB by a share of the circle in [-0.5, 0.5]."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # OpenCV's 8-bit hue counts 0-179
    table = ((np.arange(256) + round(turn * 180)) % 180).astype(np.uint8)
    cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, 0), table), hsv, 0)  # half the time of a table for all three
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


@TRANSFORMS.register_module()
class RandomGaussianBlur(Photometric):
    """Blur with a Gaussian of a random sigma, for any number of bands.

    Args:
        kernel: smallest and largest kernel width in pixels, both odd; the width is drawn. None: as wide as the sigma
            needs, three of it to either side.
        sigma: range of the standard deviation in pixels.
    """

    def __init__(
        self,
        kernel: Sequence[int] | None = (3, 7),
        sigma: Sequence[float] = (0.1, 2.0),
        prob: float = 1.0,
        modality: str | None = None,
    ) -> None:
        super().__init__(prob, modality=modality)
        self.kernel = kernel
        self.sigma = sigma

    def apply(self, image: np.ndarray, rng: np.random.Generator, max_value: float | None) -> np.ndarray:
        """Blur all bands of (H, W, C) with one drawn sigma."""
        if self.kernel is None:
            sigma = rng.uniform(self.sigma[0], self.sigma[1])
            line = cv2.getGaussianKernel(2 * math.ceil(3 * sigma) + 1, sigma)
            # Half the time of GaussianBlur for 8 bits, and it rounds once.
            return in_threes(lambda bands: cv2.sepFilter2D(bands, -1, line, line), image)
        width = int(rng.integers(self.kernel[0] // 2, self.kernel[1] // 2 + 1)) * 2 + 1
        sigma = rng.uniform(self.sigma[0], self.sigma[1])
        return in_threes(lambda bands: cv2.GaussianBlur(bands, (width, width), sigma), image)


@TRANSFORMS.register_module()
class RandomNoise(Photometric):
    """Add Gaussian noise of random strength, for any number of bands.

    Args:
        variance: range of the variance on the 0-255 scale; ``max_value`` brings it to the raster's own.
    """

    def __init__(
        self,
        variance: Sequence[float] = (10, 50),
        prob: float = 0.6,
        max_value: float | None = None,
        modality: str | None = None,
    ) -> None:
        super().__init__(prob, max_value, modality)
        self.variance = variance

    def apply(self, image: np.ndarray, rng: np.random.Generator, max_value: float | None) -> np.ndarray:
        """Add noise of one drawn strength to (H, W, C), relative to white."""
        white = self.white(image, max_value)
        sigma = float(rng.uniform(self.variance[0], self.variance[1]) ** 0.5 * white / 255)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        if image.dtype == np.uint8:
            noise = draw_noise(image.shape, sigma, np.int16)
            flat = np.ascontiguousarray(image).reshape(len(image), -1)
            return cv2.add(flat, noise.reshape(flat.shape), dtype=cv2.CV_8U).reshape(image.shape)
        noisy = np.clip(image + draw_noise(image.shape, sigma, np.float32), 0, white)
        return (noisy.round() if np.issubdtype(image.dtype, np.integer) else noisy).astype(image.dtype)


def draw_noise(shape: tuple[int, int, int], sigma: float, dtype: type) -> np.ndarray:
    """Draw Gaussian noise (H, W, C), band after band, from OpenCV's generator: three times as fast as numpy's."""
    height, width, bands = shape
    planes = [cv2.randn(np.empty((height, width), dtype), np.zeros(1), np.array([sigma])) for _ in range(bands)]
    return cv2.merge(planes).reshape(shape)


@TRANSFORMS.register_module()
class RandomSolarize(Photometric):
    """Invert values at or above ``threshold`` (a share of white), for any number of bands."""

    def __init__(
        self,
        threshold: float = 128 / 255,
        prob: float = 0.2,
        max_value: float | None = None,
        modality: str | None = None,
    ) -> None:
        super().__init__(prob, max_value, modality)
        self.threshold = threshold

    def apply(self, image: np.ndarray, rng: np.random.Generator, max_value: float | None) -> np.ndarray:
        """Invert what is at or above the threshold in (H, W, C)."""
        white = self.white(image, max_value)
        if image.dtype == np.uint8:
            levels = np.arange(256)
            table = np.where(levels < self.threshold * white, levels, white - levels).clip(0, 255).astype(np.uint8)
            return cv2.LUT(image, table).reshape(image.shape)
        inverted = np.maximum(white - image, 0)  # noise may have left values above white
        return np.where(image < self.threshold * white, image, inverted).astype(image.dtype)


@TRANSFORMS.register_module()
class RandomGrayscale(Photometric):
    """Replace 8-bit RGB by its luminance in all three bands."""

    def __init__(self, prob: float = 0.2, modality: str | None = None) -> None:
        super().__init__(prob, modality=modality)

    def apply(self, image: np.ndarray, rng: np.random.Generator, max_value: float | None) -> np.ndarray:
        """Put the luminance of (H, W, 3) uint8 in all three bands."""
        self.need_rgb(image)
        return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
