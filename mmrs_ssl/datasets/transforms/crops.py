"""The crops of DINO-MC and DINO-TP: two or three large ones of an image, and small ones of as many sizes as you like.

Both transforms only put together the pipelines of :class:`Views`, one per crop, of the transforms that exist.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from mmcv.transforms import BaseTransform

from mmrs_ssl import options
from mmrs_ssl.aliases import accept_old_options
from mmrs_ssl.datasets.transforms.geometric import common_size
from mmrs_ssl.datasets.transforms.photometric import Photometric, RandomGaussianBlur, RandomSolarize
from mmrs_ssl.datasets.transforms.spectral import jitter_and_gray
from mmrs_ssl.datasets.transforms.views import RandomCropResize, Views
from mmrs_ssl.rasters.photometry import Scale
from mmrs_ssl.registry import TRANSFORMS

LOCAL_SIZES = (184, 164, 144, 124, 104, 84)
GLOBAL_SCALE, LOCAL_SCALE = (0.32, 1.0), (0.05, 0.32)

# Brightness, contrast, saturation and hue.
GLOBAL_JITTER, LOCAL_JITTER, DATE_JITTER = (0.4, 0.4, 0.2, 0.1), (0.8, 0.8, 0.8, 0.2), (0.4, 0.4, 0.4, 0.1)


@accept_old_options
class CropViews(Views):
    """Check the options, make the pipelines of the crops and refuse images that they are not for; a base class.

    Args:
        global_size: side of the global crops in pixels.
        local_sizes: sides of the local crops in pixels, in the order of the views; sizes may repeat.
        num_local: how many local crops, of the last of these sizes, 0 for none. Default: one of each.
        global_scale, local_scale: range of a crop's share of the image's area.
        colors: whether images are 8-bit RGB. Otherwise jitter of single bands and band dropout take the place of
            color jitter and gray, for any number of bands of any type.
        max_value: the value of white for ``colors=False``, a number or one per band. Default: 255 for 8-bit images,
            else the data set's.
        antialias: how what is shrunk is smoothed, see :class:`RandomCropResize`.
        gray_prob: probability of gray, without ``colors`` of dropping bands.

    Raises:
        ValueError: for impossible options; for an image that is not 8-bit RGB where ``colors`` says so.
    """

    def __init__(
        self,
        global_size: int = 224,
        local_sizes: Sequence[int] = LOCAL_SIZES,
        num_local: int | None = None,
        global_scale: Sequence[float] = GLOBAL_SCALE,
        local_scale: Sequence[float] = LOCAL_SCALE,
        colors: bool = True,
        max_value: Scale | None = None,
        antialias: bool | Literal['pillow'] = True,
        gray_prob: float = 0.2,
    ) -> None:
        self.colors, self.gray_prob, self.max_value, self.antialias = colors, gray_prob, max_value, antialias
        options.check_numbers(self, options.COUNT, global_size=global_size)
        if num_local != 0:
            options.check_lists(self, options.COUNT, local_sizes=local_sizes)
        if not options.Number(0, len(local_sizes), whole=True, or_none=True).fits(num_local):
            mend = f'as many as local_sizes={list(local_sizes)} has: add sizes (one may repeat), or lower num_local'
            options.refuse(self, 'num_local', num_local, f'0 to {len(local_sizes)}, {mend}')
        options.check_ranges(self, options.AREA, global_scale=global_scale, local_scale=local_scale)
        options.check_numbers(self, options.SHARE, gray_prob=gray_prob)
        options.check_switches(self, colors=colors)
        count = len(local_sizes) if num_local is None else num_local
        self.local_sizes = list(local_sizes)[len(local_sizes) - count :]
        self.global_size, self.global_scale, self.local_scale = global_size, global_scale, local_scale
        super().__init__([*self.global_views(), *map(self.local_view, self.local_sizes)])

    def global_views(self) -> list[list[BaseTransform]]:
        """Make the pipelines of the global crops."""
        raise NotImplementedError

    def local_view(self, size: int) -> list[BaseTransform]:
        """Make the pipeline of a local crop of ``size`` pixels."""
        raise NotImplementedError

    def global_crop(self, flip_prob: float = 0.5) -> RandomCropResize:
        """Make the transform that cuts a large crop out: bicubic, smoothed where it shrinks."""
        resampling: dict = dict(interpolation='bicubic', antialias=self.antialias)
        return RandomCropResize(self.global_size, self.global_scale, flip_prob=flip_prob, **resampling)

    def local_crop(self, size: int, flip_prob: float = 0.5) -> RandomCropResize:
        """Make the transform that cuts a small crop out: bilinear, smoothed where it shrinks."""
        resampling: dict = dict(interpolation='bilinear', antialias=self.antialias)
        return RandomCropResize(size, self.local_scale, flip_prob=flip_prob, **resampling)

    def photometry(self, jitter: Sequence[float]) -> tuple[Photometric, Photometric]:
        """Make jitter and gray, or what stands for them where bands are no colors."""
        return jitter_and_gray(jitter, self.gray_prob, self.colors, self.max_value)

    def check(self, image: np.ndarray, path: object) -> None:
        """Raise for an image (H, W, C) that color operations are not defined for."""
        if self.colors and (image.shape[2] != 3 or image.dtype != np.uint8):
            raise ValueError(
                f'{path}: {type(self).__name__} expects 8-bit RGB, found {image.shape[2]} bands of {image.dtype}; set '
                'colors=False, or bring the bands to 8-bit RGB with LoadRaster(bands=..., stretch=...)'
            )


def blur(prob: float) -> RandomGaussianBlur:
    """Make the blur of DINO: a sigma of 0.1 to 2 pixels, and a kernel as wide as it needs."""
    return RandomGaussianBlur(kernel=None, sigma=(0.1, 2.0), prob=prob)


@TRANSFORMS.register_module()
class MultiSizeCrops(CropViews):
    """Two global and several local crops of one image, the local ones of different sizes (DINO-MC).

    ``img`` becomes a list: the global crops (bicubic), then the local ones (bilinear) in the order of ``local_sizes``.
    Each is cropped, mirrored (p 0.5), jittered (p 0.8) and perhaps made gray. The first global crop is always blurred,
    the second seldom (p 0.1) but perhaps solarized, a local crop as often as not. ``boxes`` (V, 4) and ``flips`` (V,)
    are kept as :class:`Views` keeps them.

    Of several dates of a place the data set draws one at each visit (``dates=1``). Wanyan et al., arXiv 2303.06670.

    Args:
        global_jitter, local_jitter: of brightness, contrast, saturation and hue; without ``colors`` of the first two.
        solarize_prob: probability of solarizing the second global crop.
        *args: of :class:`CropViews`.
        **kwargs: likewise.

    Differs from the official code: it draws the date once, at start-up.

    Raises:
        ValueError: as :class:`CropViews`; for anything but a single image.
    """

    def __init__(
        self,
        *args: Any,
        global_jitter: Sequence[float] = GLOBAL_JITTER,
        local_jitter: Sequence[float] = LOCAL_JITTER,
        solarize_prob: float = 0.2,
        **kwargs: Any,
    ) -> None:
        options.check_lists(self, options.NOT_NEGATIVE, 4, global_jitter=global_jitter, local_jitter=local_jitter)
        options.check_numbers(self, options.SHARE, solarize_prob=solarize_prob)
        self.global_jitter, self.local_jitter, self.solarize_prob = global_jitter, local_jitter, solarize_prob
        super().__init__(*args, **kwargs)

    def global_views(self) -> list[list[BaseTransform]]:
        """Make two pipelines: the one always blurs, the other perhaps solarizes."""
        common = [self.global_crop(), *self.photometry(self.global_jitter)]
        solarize = RandomSolarize(prob=self.solarize_prob, max_value=self.max_value)
        return [[*common, blur(prob=1.0)], [*common, blur(prob=0.1), solarize]]

    def local_view(self, size: int) -> list[BaseTransform]:
        """Make a pipeline with a jitter of its own, by default a stronger one, that blurs half of the crops."""
        return [self.local_crop(size), *self.photometry(self.local_jitter), blur(prob=0.5)]

    def sources(self, results: dict) -> list[np.ndarray]:
        """Return the image once for every crop."""
        img = results['img']
        if not isinstance(img, np.ndarray):
            found = f'{len(img)} dates' if isinstance(img, list) else f'modalities ({", ".join(img)})'
            raise ValueError(
                f'{results.get("img_path")}: MultiSizeCrops makes its crops of one image, found {found}; set dates=1 '
                'in the data set, or use mmrs_ssl.TemporalCrops (dates=3); of several modalities load one'
            )
        self.check(img, results.get('img_path'))
        return [img] * len(self.views)


@TRANSFORMS.register_module()
class TemporalCrops(CropViews):
    """Three global and several local crops of three dates t0, t1 and t2 of one place (DINO-TP).

    With a(.) an augmentation of a whole image (jitter 0.4, 0.4, 0.4, 0.1 with p 0.8, gray p 0.2, blur p 0.5, mirrored
    p 0.5), ``img`` becomes a list: global crops (bicubic) of a(t1), t2 and a(t0), then local crops (bilinear) of t0 in
    the order of ``local_sizes``. ``boxes`` (V, 4) are in pixels of the dates as they were loaded, on their common grid;
    ``flips`` (V,) says where a(.) mirrored. Wanyan et al., arXiv 2303.06670.

    The dates come from the data set, drawn with replacement at each visit: ``SceneDataset(dates=3, min_dates=2)``.

    Raises:
        ValueError: as :class:`CropViews`, whose arguments these are; for other than three dates of one size.
    """

    def global_views(self) -> list[list[BaseTransform]]:
        """Make the pipelines of a(t1), t2 and a(t0)."""
        # A crop of the mirrored image is a mirrored crop of the image: so its box is known in the latter's pixels.
        augmented = [*self.photometry(DATE_JITTER), blur(prob=0.5), self.global_crop(flip_prob=0.5)]
        return [augmented, [self.global_crop(flip_prob=0.0)], augmented]

    def local_view(self, size: int) -> list[BaseTransform]:
        """Make a pipeline that only cuts the crop out."""
        return [self.local_crop(size, flip_prob=0.0)]

    def sources(self, results: dict) -> list[np.ndarray]:
        """Return the date that every crop is of, as images."""
        img, path = results['img'], results.get('img_path')
        if not isinstance(img, list) or len(img) != 3:
            found = f'a list of {len(img)}' if isinstance(img, list) else f'one {type(img).__name__}'
            raise ValueError(
                f'{path}: TemporalCrops needs a list of 3 dates of a place, found {found}; set dates=3, min_dates=2 in '
                'mmrs_ssl.SceneDataset, whose rule for files must contain {date}'
            )
        common_size(results)
        for image in img:
            self.check(image, path)
        first, second, third = img
        return [second, third, first, *[first] * len(self.local_sizes)]
