"""Two views of one image for methods that compare them: MoCo, SimSiam, BYOL and their like."""

from collections.abc import Sequence

from mmcv.transforms import BaseTransform

from mmrs_ssl import options
from mmrs_ssl.datasets.transforms.photometric import RandomGaussianBlur, RandomSolarize
from mmrs_ssl.datasets.transforms.spectral import jitter_and_gray
from mmrs_ssl.datasets.transforms.views import RandomCropResize, Views
from mmrs_ssl.rasters.photometry import Scale
from mmrs_ssl.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ContrastViews(Views):
    """Two strongly augmented views of one image, or of one of two dates each.

    Both are cropped, mirrored (p 0.5), jittered (p 0.8), and perhaps made gray, blurred and solarized. ``boxes`` (2, 4)
    and ``flips`` (2,) are kept as :class:`Views` keeps them. The defaults are MoCo v2's (arXiv 2003.04297) and
    SimSiam's; BYOL's (arXiv 2006.07733) are ``scale=(0.08, 1)``, ``blur_prob=(1, 0.1)`` and ``solarize_prob=(0, 0.2)``.

    Args:
        size: side of both views in pixels.
        scale: smallest and largest share of the image's area that a crop has.
        colors: whether images are 8-bit RGB. Otherwise jitter of single bands and band dropout take the place of color
            jitter and gray, for any number of bands of any type.
        blur_prob: probability of blurring the first and the second view.
        solarize_prob: of solarizing them.
        blur_sigma: smallest and largest deviation of the blur in pixels.
        max_value: the value of white, a number or one per band. Default: 255 for 8-bit images, else the data set's.
        jitter: strengths of brightness, contrast, saturation and hue; without ``colors`` the first two count.
        gray_prob: probability of gray, without ``colors`` of dropping bands.

    Raises:
        ValueError: for an impossible size or scale; if there are other than two dates, or dates differ in size.
    """

    def __init__(
        self,
        size: int = 224,
        scale: Sequence[float] = (0.2, 1.0),
        colors: bool = True,
        blur_prob: Sequence[float] = (0.5, 0.5),
        solarize_prob: Sequence[float] = (0.0, 0.0),
        blur_sigma: Sequence[float] = (0.1, 2.0),
        max_value: Scale | None = None,
        jitter: Sequence[float] = (0.4, 0.4, 0.4, 0.1),
        gray_prob: float = 0.2,
    ) -> None:
        options.check_numbers(self, options.COUNT, size=size)
        options.check_ranges(self, options.AREA, scale=scale)
        options.check_ranges(self, options.POSITIVE, blur_sigma=blur_sigma)
        options.check_lists(self, options.SHARE, 2, blur_prob=blur_prob, solarize_prob=solarize_prob)
        options.check_lists(self, options.NOT_NEGATIVE, 4, jitter=jitter)
        options.check_numbers(self, options.SHARE, gray_prob=gray_prob)
        options.check_switches(self, colors=colors)
        views: list[list[BaseTransform]] = []
        for blur, solarize in zip(blur_prob, solarize_prob, strict=True):
            colored = jitter_and_gray(jitter, gray_prob, colors, max_value)
            others = RandomGaussianBlur(None, blur_sigma, prob=blur), RandomSolarize(prob=solarize, max_value=max_value)
            views.append([RandomCropResize(size, scale), *colored, *others])
        super().__init__(views)
