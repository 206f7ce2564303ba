"""Photometric augmentation of views, on the type the pixels have on disk.

Every transform draws from ``results['rng']``. Those that mean colour need three bands (RGB) and say so; their
counterpart for any number of bands is :class:`SpectralJitter`.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmrs_ssl.registry import TRANSFORMS

_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luminance, ITU-R BT.601


class Photometric(BaseTransform):
    """Base: with probability ``prob`` replace ``img`` by :meth:`apply` of it.

    Args:
        prob: probability in [0, 1].
        max_value: the value of white; 255 for 8-bit images, to be given for every other type.
    """

    def __init__(self, prob: float = 1.0, max_value: float | None = None) -> None:
        self.prob = prob
        self.max_value = max_value

    def transform(self, results: dict) -> dict:
        """Replace ``img``, or leave the sample as it is."""
        if results['rng'].random() < self.prob:
            results['img'] = self.apply(results['img'], results['rng'])
        return results

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The augmented image: same shape (H, W, C) and type."""
        raise NotImplementedError

    def white(self, image: np.ndarray) -> float:
        """The value of white for this image.

        Raises:
            ValueError: if the image is not 8 bits and ``max_value`` was not given, or has negative values.
        """
        if image.dtype != np.uint8 and image.min() < 0:
            raise ValueError(
                f'{type(self).__name__} expects values from 0 to max_value, found {image.min()}: shift the raster, or '
                'leave this transform out'
            )
        if self.max_value is not None:
            return self.max_value
        if image.dtype != np.uint8:
            raise ValueError(
                f'{type(self).__name__} on {image.dtype} needs max_value, the value that counts as white '
                '(e.g. 10000 for Sentinel-2 reflectance); only 8-bit images have a natural one'
            )
        return 255.0

    def need_rgb(self, image: np.ndarray) -> None:
        """Raise for anything but 8-bit RGB."""
        if image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f'{type(self).__name__} is defined for 8-bit RGB, not for {image.shape[2]} bands of {image.dtype}; use '
                "dict(type='mmrs_ssl.SpectralJitter') for other bands and leave colour operations out"
            )


def affine(image: np.ndarray, gain: np.ndarray | float, offset: np.ndarray | float, white: float) -> np.ndarray:
    """``clip(image * gain + offset, 0, white)`` in the image's own type; gains and offsets are (C,) or one number."""
    if image.dtype == np.uint8:
        levels = np.arange(256, dtype=np.float32)[:, None]
        table = np.clip(levels * gain + offset, 0, white).round().astype(np.uint8)  # (256, 1) or (256, C)
        return cv2.LUT(image, table[None]).reshape(image.shape)
    out = np.clip(image * np.asarray(gain, np.float32) + np.asarray(offset, np.float32), 0, white)
    return (out.round() if np.issubdtype(image.dtype, np.integer) else out).astype(image.dtype)


@TRANSFORMS.register_module()
class ColourJitter(Photometric):
    """Brightness, contrast, saturation and hue of an 8-bit RGB image, in random order.

    Factors are uniform in [1 - x, 1 + x]; the hue turns by a uniform share of the colour circle in [-hue, hue].

    The same distribution as torchvision's ``ColorJitter``, in 8-bit arithmetic with lookup tables.
    mmpretrain's works on BGR and draws from the global generator.
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.2,
        hue: float = 0.1,
        prob: float = 0.8,
    ) -> None:
        super().__init__(prob)
        self.strengths = (brightness, contrast, saturation, hue)

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Jitter (H, W, 3) uint8."""
        self.need_rgb(image)
        low = [1 - s for s in self.strengths[:3]] + [-self.strengths[3]]
        high = [1 + s for s in self.strengths[:3]] + [self.strengths[3]]
        brightness, contrast, saturation, hue = rng.uniform(low, high)
        for operation in rng.permutation(4):
            if operation == 0:
                image = affine(image, brightness, 0.0, 255)
            elif operation == 1:
                grey = float(np.dot(cv2.mean(image)[:3], _GREY))
                image = affine(image, contrast, (1 - contrast) * grey, 255)
            elif operation == 2:
                mix = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * _GREY
                image = cv2.transform(image, mix.astype(np.float32))
            else:
                image = turn_hue(image, hue)
        return image


def turn_hue(image: np.ndarray, turn: float) -> np.ndarray:
    """Turn the hue of (H, W, 3) uint8 RGB by a share of the circle in [-0.5, 0.5]."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # OpenCV's 8-bit hue counts 0-179
    table = np.tile(np.arange(256, dtype=np.uint8)[:, None], 3)
    table[:, 0] = (np.arange(256) + round(turn * 180)) % 180
    return cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2RGB)


@TRANSFORMS.register_module()
class SpectralJitter(Photometric):
    """Brightness and contrast per band, for any number of bands and any type.

    Each band gets its own gain in [1 - brightness, 1 + brightness] and contrast around its mean in
    [1 - contrast, 1 + contrast]: the N-band counterpart of :class:`ColourJitter`.
    """

    def __init__(
        self, brightness: float = 0.4, contrast: float = 0.4, prob: float = 0.8, max_value: float | None = None
    ) -> None:
        super().__init__(prob, max_value)
        self.brightness = brightness
        self.contrast = contrast

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Jitter (H, W, C)."""
        bands = image.shape[2]
        gain = 1 + self.brightness * rng.uniform(-1, 1, bands)
        contrast = 1 + self.contrast * rng.uniform(-1, 1, bands)
        mean = image.mean(axis=(0, 1)) * gain
        return affine(image, gain * contrast, mean * (1 - contrast), self.white(image))


@TRANSFORMS.register_module()
class RandomBlur(Photometric):
    """Gaussian blur with an odd kernel of random width and a random sigma, for any number of bands.

    Args:
        kernel: smallest and largest kernel width in pixels, both odd.
        sigma: range of the standard deviation in pixels.
    """

    def __init__(self, kernel: Sequence[int] = (3, 7), sigma: Sequence[float] = (0.1, 2.0), prob: float = 1.0) -> None:
        super().__init__(prob)
        self.kernel = kernel
        self.sigma = sigma

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Blur (H, W, C)."""
        width = int(rng.integers(self.kernel[0] // 2, self.kernel[1] // 2 + 1)) * 2 + 1
        return cv2.GaussianBlur(image, (width, width), rng.uniform(self.sigma[0], self.sigma[1])).reshape(image.shape)


@TRANSFORMS.register_module()
class RandomNoise(Photometric):
    """Gaussian noise of random strength, for any number of bands.

    Args:
        variance: range of the variance on the 0-255 scale; ``max_value`` brings it to the raster's own.
    """

    def __init__(self, variance: Sequence[float] = (10, 50), prob: float = 0.6, max_value: float | None = None) -> None:
        super().__init__(prob, max_value)
        self.variance = variance

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add noise to (H, W, C)."""
        white = self.white(image)
        sigma = float(rng.uniform(self.variance[0], self.variance[1]) ** 0.5 * white / 255)
        zero = np.zeros(1)
        cv2.setRNGSeed(int(rng.integers(2**31)))  # OpenCV's generator is three times as fast as numpy's
        if image.dtype == np.uint8:
            noise = cv2.randn(np.empty((image.shape[0], image[0].size), np.int16), zero, np.array([sigma]))
            flat = np.ascontiguousarray(image).reshape(noise.shape)
            return cv2.add(flat, noise, dtype=cv2.CV_8U).reshape(image.shape)
        noise = cv2.randn(np.empty((image.shape[0], image[0].size), np.float32), zero, np.array([sigma]))
        noisy = np.clip(image + noise.reshape(image.shape), 0, white)
        return (noisy.round() if np.issubdtype(image.dtype, np.integer) else noisy).astype(image.dtype)


@TRANSFORMS.register_module()
class RandomSolarise(Photometric):
    """Invert values at or above ``threshold`` (a share of white), for any number of bands."""

    def __init__(self, threshold: float = 128 / 255, prob: float = 0.2, max_value: float | None = None) -> None:
        super().__init__(prob, max_value)
        self.threshold = threshold

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Solarise (H, W, C)."""
        white = self.white(image)
        if image.dtype == np.uint8:
            levels = np.arange(256)
            table = np.where(levels < self.threshold * white, levels, white - levels).clip(0, 255).astype(np.uint8)
            return cv2.LUT(image, table).reshape(image.shape)
        return np.where(image < self.threshold * white, image, white - image).astype(image.dtype)


@TRANSFORMS.register_module()
class RandomGrey(Photometric):
    """Replace 8-bit RGB by its luminance in all three bands."""

    def __init__(self, prob: float = 0.2) -> None:
        super().__init__(prob)

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Make (H, W, 3) uint8 grey."""
        self.need_rgb(image)
        return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
