"""Augment single bands: draws and results of a band do not depend on how many bands follow it."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mmrs_ssl.datasets.transforms.photometric import ColorJitter, Photometric, RandomGrayscale, Scales
from mmrs_ssl.options import NOT_NEGATIVE, SHARE, check_fill, check_numbers
from mmrs_ssl.rasters.band_by_band import band_draws, band_means
from mmrs_ssl.rasters.photometry import Scale, affine
from mmrs_ssl.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SpectralJitter(Photometric):
    """Change brightness and contrast per band, for any number of bands and any type.

    Each band gets its own gain in [1 - brightness, 1 + brightness] and contrast around its mean in
    [1 - contrast, 1 + contrast]: the N-band counterpart of :class:`ColorJitter`.
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        prob: float = 0.8,
        max_value: Scale | None = None,
        modality: str | None = None,
    ) -> None:
        super().__init__(prob, max_value, modality)
        check_numbers(self, NOT_NEGATIVE, brightness=brightness, contrast=contrast)
        self.brightness = brightness
        self.contrast = contrast

    def apply(self, image: np.ndarray, rng: np.random.Generator, scales: Scales) -> np.ndarray:
        """Change each band of (H, W, C) by factors of its own."""
        shares = 2 * band_draws(rng, image.shape[2], 2) - 1  # (C, 2) in [-1, 1)
        gain = 1 + self.brightness * shares[:, 0]
        contrast = 1 + self.contrast * shares[:, 1]
        mean = band_means(image) * gain
        return affine(image, gain * contrast, mean * (1 - contrast), self.white(image, scales))


@TRANSFORMS.register_module()
class BandDropout(Photometric):
    """Fill some bands with one value each, so that no band can be relied upon; never all of them.

    Every band is dropped with probability ``band_prob``, independently of the others. Where that would be all of them,
    the one nearest to being kept stays. This is the one case in which a band's fate depends on the other bands: if all
    bands of a 3-band image are drawn to be dropped (probability ``band_prob ** 3``) one of them stays, whereas a
    13-band image that keeps another band loses all three. An image of one band is never changed.

    Args:
        band_prob: probability of dropping a band, in [0, 1].
        fill: ``'mean'`` of the band in this image, or a number.
        prob: probability in [0, 1] of dropping bands from a sample at all.
        modality: which one to apply it to, where a sample has several.

    Raises:
        ValueError: if ``fill`` is beyond the range of an integer raster's type.
    """

    def __init__(
        self,
        band_prob: float = 0.2,
        fill: float | Literal['mean'] = 'mean',
        prob: float = 0.5,
        modality: str | None = None,
    ) -> None:
        super().__init__(prob, modality=modality)
        check_numbers(self, SHARE, band_prob=band_prob)
        check_fill(self, fill)
        self.band_prob = band_prob
        self.fill = fill

    def apply(self, image: np.ndarray, rng: np.random.Generator, scales: Scales) -> np.ndarray:
        """Fill the drawn bands of (H, W, C), and leave at least one."""
        draws = band_draws(rng, image.shape[2], 1)[:, 0]
        dropped = draws < self.band_prob
        if dropped.all():
            dropped[draws.argmax()] = False
        out = image.copy()
        out[..., dropped] = self.values(image)[dropped]
        return out

    def values(self, image: np.ndarray) -> np.ndarray:
        """Return what each band of (H, W, C) would be filled with: (C,) of the image's type."""
        values = band_means(image) if self.fill == 'mean' else np.full(image.shape[2], self.fill, np.float64)
        if image.dtype.kind == 'f':
            return values.astype(image.dtype)
        limits = np.iinfo(image.dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise ValueError(
                f"BandDropout: fill={self.fill} does not fit {image.dtype} ({limits.min} to {limits.max}); use 'mean' "
                'or a number that does'
            )
        return values.round().astype(image.dtype)


def jitter_and_gray(
    jitter: Sequence[float], gray_prob: float, colors: bool, max_value: Scale | None = None
) -> tuple[Photometric, Photometric]:
    """Make jitter (p 0.8) and gray, or where bands are no colors what stands for them: jitter of bands and dropout.

    Args:
        jitter: strengths of brightness, contrast, saturation and hue; without ``colors`` the first two count.
        gray_prob: probability of gray, or of dropping bands.
        colors: whether images are 8-bit RGB.
        max_value: of single bands, see :class:`Photometric`.
    """
    brightness, contrast, saturation, hue = jitter
    if colors:
        return ColorJitter(brightness, contrast, saturation, hue), RandomGrayscale(gray_prob)
    return SpectralJitter(brightness, contrast, max_value=max_value), BandDropout(prob=gray_prob)
