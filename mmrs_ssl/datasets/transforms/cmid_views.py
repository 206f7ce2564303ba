"""The two views of CMID."""

from collections.abc import Sequence

from mmcv.transforms import BaseTransform

from mmrs_ssl import options
from mmrs_ssl.aliases import accept_old_options
from mmrs_ssl.datasets.transforms.photometric import RandomGaussianBlur, RandomNoise, RandomSolarize
from mmrs_ssl.datasets.transforms.spectral import jitter_and_gray
from mmrs_ssl.datasets.transforms.views import RandomCropResize, ResizeToSize, Views
from mmrs_ssl.rasters.photometry import Scale
from mmrs_ssl.registry import TRANSFORMS


@TRANSFORMS.register_module()
@accept_old_options
class CMIDViews(Views):
    """A weak and a strong view of one image, or of one of two dates each (CMID).

    Both are cropped and mirrored (p 0.5). The strong one is also jittered (p 0.8), blurred, and perhaps given noise
    (p 0.6), solarized and made gray. ``boxes`` (2, 4) and ``flips`` (2,) are kept as :class:`Views` keeps them. Muhtar
    et al., arXiv 2304.09670.

    Args:
        size: side of both views in pixels.
        scale: smallest and largest share of the image's area that a crop has.
        ratio: smallest and largest width / height of a crop.
        colors: whether images are 8-bit RGB. Otherwise jitter of single bands and band dropout take the place of color
            jitter and gray, for any number of bands of any type.
        resize: bring an image of another size to ``size`` x ``size`` first; boxes are then in its pixels.
        blur_kernel: range of the width of the blur's kernel in pixels; see :class:`RandomGaussianBlur`.
        blur_sigma: smallest and largest deviation of the blur in pixels.
        max_value: the value of white, a number or one per band. Default: 255 for 8-bit images, else the data set's.
        band_spread: of the noise; see :class:`RandomNoise`.
        jitter: strengths of brightness, contrast, saturation and hue; without ``colors`` the first two count.
        gray_prob, solarize_prob: probabilities of gray (without ``colors`` of dropping bands) and of solarizing.

    Raises:
        ValueError: for an impossible size, scale or jitter; if there are other than two dates, or dates differ in size.
    """

    def __init__(
        self,
        size: int = 224,
        scale: Sequence[float] = (0.3, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        colors: bool = True,
        resize: bool = False,
        blur_kernel: Sequence[int] = (3, 7),
        blur_sigma: Sequence[float] = (0.1, 2.0),
        max_value: Scale | None = None,
        band_spread: Scale | None = None,
        jitter: Sequence[float] = (0.4, 0.4, 0.2, 0.1),
        gray_prob: float = 0.2,
        solarize_prob: float = 0.2,
    ) -> None:
        options.check_numbers(self, options.COUNT, size=size)
        options.check_ranges(self, options.AREA, scale=scale)
        options.check_ranges(self, options.POSITIVE, ratio=ratio, blur_sigma=blur_sigma)
        options.check_ranges(self, options.COUNT, blur_kernel=blur_kernel)
        options.check_lists(self, options.NOT_NEGATIVE, 4, jitter=jitter)
        options.check_numbers(self, options.SHARE, gray_prob=gray_prob, solarize_prob=solarize_prob)
        options.check_switches(self, colors=colors, resize=resize)
        jittered, gray = jitter_and_gray(jitter, gray_prob, colors, max_value)
        self.first = ResizeToSize(size) if resize else None
        weak: list[BaseTransform] = [RandomCropResize(size, scale, ratio)]
        strong = [
            jittered,
            RandomGaussianBlur(blur_kernel, blur_sigma),
            RandomNoise(variance=(10, 50), prob=0.6, max_value=max_value, band_spread=band_spread),
            RandomSolarize(prob=solarize_prob, max_value=max_value),
            gray,
        ]
        super().__init__([weak, [*weak, *strong]])

    def transform(self, results: dict) -> dict:
        """Replace ``img`` by the list of both views; add ``boxes`` and ``flips``."""
        return super().transform(self.first.transform(results) if self.first else results)
