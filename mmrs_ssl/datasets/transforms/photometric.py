"""Augment the values of views, in the type that the pixels have on disk.

Every transform draws from ``results['rng']``. Those that mean color need three bands (RGB) and say so; their
counterpart for any number of bands is :class:`SpectralJitter`. The others give a band the same values whatever number
of bands follows it, and draw as often.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmrs_ssl.options import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Number, check_numbers, check_ranges
from mmrs_ssl.rasters.arrays import LUMINANCE
from mmrs_ssl.rasters.band_by_band import in_threes
from mmrs_ssl.rasters.photometry import Levels, Scale, add_noise, checked_scale, levels_of, solarize, turn_hue
from mmrs_ssl.registry import TRANSFORMS

_LUMINANCE = np.array(LUMINANCE, np.float32)
_IDENTITY = np.eye(3, dtype=np.float32)
_SPREAD = 15.0  # of a band that gets the published noise; see RandomNoise


class Scales(NamedTuple):
    """What a data set says of the values of its bands: a number, one per band, or either by modality."""

    max_value: Any = None
    band_spread: Any = None
    path: object = 'the image'  # for messages


class Photometric(BaseTransform):
    """With probability ``prob`` replace ``img`` by :meth:`apply` of it; a base class.

    Of several modalities (a dict) only one is replaced. For several dates (a list) it is decided once whether to apply
    the transform, and its parameters are drawn for each date, as if haze and light had changed between them.

    Args:
        prob: probability in [0, 1].
        max_value: the value of white, a number or one per band. Default: 255 for 8-bit images, else the data set's.
        modality: which one to apply it to, where a sample has several.

    Raises:
        ValueError: if a sample has several modalities and ``modality`` is none of them, or has only an image.
    """

    def __init__(self, prob: float = 1.0, max_value: Scale | None = None, modality: str | None = None) -> None:
        check_numbers(self, SHARE, prob=prob)
        self.prob = prob
        self.max_value = checked_scale(f'{type(self).__name__}: max_value', max_value)
        self.modality = modality

    def transform(self, results: dict) -> dict:
        """Replace ``img``, or leave the sample as it is."""
        self.check_modality(results['img'])
        if results['rng'].random() < self.prob:
            path = results.get('img_path', 'the image')
            scales = Scales(results.get('max_value'), results.get('band_spread'), path)
            results['img'] = self.augment(results['img'], results['rng'], scales)
        return results

    def augment(self, img: Any, rng: np.random.Generator, scales: Scales) -> Any:
        """Apply to an image, to every one of a list, or to this transform's own of a dict, which is copied."""
        if isinstance(img, list):
            return [self.augment(member, rng, scales) for member in img]
        if isinstance(img, dict):
            return {**img, self.modality: self.augment(img[self.modality], rng, scales)}
        return self.apply(img, rng, scales)

    def apply(self, image: np.ndarray, rng: np.random.Generator, scales: Scales) -> np.ndarray:
        """Augment an image; shape (H, W, C) and type stay the same.

        Args:
            image: (H, W, C), not to be written into.
            rng: the sample's generator, to be drawn from equally often for any number of bands.
            scales: what the data set says of its bands; see :meth:`white`.
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

    def white(self, image: np.ndarray, scales: Scales) -> Levels:
        """Return the value of white for this image (H, W, C): one, or (C,).

        Raises:
            ValueError: if the image is not 8 bits and has no value of white, or one for other bands, or is negative.
        """
        if image.dtype != np.uint8 and image.min() < 0:
            raise ValueError(
                f'{type(self).__name__} expects values from 0 to max_value, found {image.min()} in {scales.path}: '
                'shift the raster, or leave this transform out'
            )
        if (white := self.levels('max_value', self.max_value, image, scales)) is not None:
            return white
        if image.dtype == np.uint8:
            return 255.0
        raise ValueError(
            f'{type(self).__name__} on {image.dtype} needs max_value, the value that counts as white (e.g. 10000 '
            f'for Sentinel-2 reflectance), from the data set or its own, for {scales.path}; only 8-bit images have a '
            'natural one, tools/band_stats.py prints it for others'
        )

    def levels(self, option: str, own: Scale | None, image: np.ndarray, scales: Scales) -> Levels | None:
        """Fit an option to an image: this transform's own, else the data set's if the image is not 8 bits."""
        name, given = f'{scales.path}: {type(self).__name__}: {option}', own
        if own is None and image.dtype != np.uint8:
            given = getattr(scales, option)
            if isinstance(given, Mapping):
                if self.modality not in given:
                    known = ', '.join(map(repr, given))
                    raise ValueError(
                        f'{name} is given for {known}, not for modality={self.modality!r}: add it, or None'
                    )
                given = given[self.modality]
            given = checked_scale(f'{option} of the data set', given)
        return None if given is None else levels_of(name, given, image.shape[2])

    def need_rgb(self, image: np.ndarray) -> None:
        """Raise for anything but 8-bit RGB."""
        if image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f'{type(self).__name__} is defined for 8-bit RGB, not for {image.shape[2]} bands of {image.dtype}; use '
                "dict(type='mmrs_ssl.SpectralJitter') for other bands and leave color operations out"
            )


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
        check_numbers(self, NOT_NEGATIVE, brightness=brightness, contrast=contrast, saturation=saturation)
        check_numbers(self, Number(0, 0.5), hue=hue)
        self.low = np.array([1 - brightness, 1 - contrast, 1 - saturation, -hue])
        self.range = 2 * np.array([brightness, contrast, saturation, hue])

    def apply(self, image: np.ndarray, rng: np.random.Generator, scales: Scales) -> np.ndarray:
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


@TRANSFORMS.register_module()
class RandomGaussianBlur(Photometric):
    """Blur with a Gaussian of a random sigma, for any number of bands.

    Args:
        kernel: range of the kernel's width in pixels; one of its whole numbers is drawn, and made odd by adding one: of
            (3, 7) 3 is half as likely as 5 and 7, as published with CMID. None: as wide as the sigma needs.
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
        if kernel is not None:
            check_ranges(self, COUNT, kernel=kernel)
        check_ranges(self, POSITIVE, sigma=sigma)
        self.kernel = kernel
        self.sigma = sigma

    def apply(self, image: np.ndarray, rng: np.random.Generator, scales: Scales) -> np.ndarray:
        """Blur all bands of (H, W, C) with one drawn sigma."""
        if self.kernel is None:
            sigma = rng.uniform(self.sigma[0], self.sigma[1])
            line = cv2.getGaussianKernel(2 * math.ceil(3 * sigma) + 1, sigma)
            # Half the time of GaussianBlur for 8 bits, and it rounds once.
            return in_threes(lambda bands: cv2.sepFilter2D(bands, -1, line, line), image)
        width = int(rng.integers(self.kernel[0], self.kernel[1] + 1)) | 1
        sigma = rng.uniform(self.sigma[0], self.sigma[1])
        return in_threes(lambda bands: cv2.GaussianBlur(bands, (width, width), sigma), image)


@TRANSFORMS.register_module()
class RandomNoise(Photometric):
    """Add Gaussian noise of random strength, for any number of bands.

    Its deviation is ``sqrt(variance) / 15`` of a band's spread where that is known, else ``sqrt(variance) / 255`` of
    white. Both are the published noise for 8-bit RGB whose spread is 15 levels: between smooth and rough archives (real
    ones of 0.05 to 5 m: 9 to 32), and so that the weakest noise is a fifth of a band's spread.

    Args:
        variance: range of the variance on the 0-255 scale, as published.
        band_spread: typical standard deviation of the values within 32 x 32 pixels, a number or one per band. Default:
            the data set's, for images that are not 8 bits.
    """

    def __init__(
        self,
        variance: Sequence[float] = (10, 50),
        prob: float = 0.6,
        max_value: Scale | None = None,
        modality: str | None = None,
        band_spread: Scale | None = None,
    ) -> None:
        super().__init__(prob, max_value, modality)
        check_ranges(self, NOT_NEGATIVE, variance=variance)
        self.variance = variance
        self.band_spread = checked_scale(f'{type(self).__name__}: band_spread', band_spread)

    def apply(self, image: np.ndarray, rng: np.random.Generator, scales: Scales) -> np.ndarray:
        """Add noise of one drawn strength to (H, W, C), relative to each band's spread or white."""
        white = self.white(image, scales)
        spread = self.levels('band_spread', self.band_spread, image, scales)
        strength = rng.uniform(self.variance[0], self.variance[1]) ** 0.5
        sigma = strength * white / 255 if spread is None else strength * spread / _SPREAD
        cv2.setRNGSeed(int(rng.integers(2**31)))
        return add_noise(image, sigma, white)


@TRANSFORMS.register_module()
class RandomSolarize(Photometric):
    """Invert values at or above ``threshold`` (a share of white), for any number of bands."""

    def __init__(
        self,
        threshold: float = 128 / 255,
        prob: float = 0.2,
        max_value: Scale | None = None,
        modality: str | None = None,
    ) -> None:
        super().__init__(prob, max_value, modality)
        check_numbers(self, SHARE, threshold=threshold)
        self.threshold = threshold

    def apply(self, image: np.ndarray, rng: np.random.Generator, scales: Scales) -> np.ndarray:
        """Invert what is at or above the threshold in (H, W, C)."""
        return solarize(image, self.threshold, self.white(image, scales))


@TRANSFORMS.register_module()
class RandomGrayscale(Photometric):
    """Replace 8-bit RGB by its luminance in all three bands."""

    def __init__(self, prob: float = 0.2, modality: str | None = None) -> None:
        super().__init__(prob, modality=modality)

    def apply(self, image: np.ndarray, rng: np.random.Generator, scales: Scales) -> np.ndarray:
        """Put the luminance of (H, W, 3) uint8 in all three bands."""
        self.need_rgb(image)
        return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
