"""Turn and mirror whole windows: one image, several dates of a place, or several modalities, all alike."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmrs_ssl.options import SHARE, check_numbers
from mmrs_ssl.registry import TRANSFORMS

_FLIP_AXES: dict[str, tuple[int, ...]] = dict(horizontal=(1,), vertical=(0,), diagonal=(0, 1))


def map_images(img: Any, function: Callable[[np.ndarray], Any]) -> Any:
    """Apply a function to an image, to each of a list (dates) or to each of a dict (modalities).

    Args:
        img: (H, W, C), or a list or dict of such; never written into.
        function: of one image.

    Returns:
        The function's result, or a new list or dict of its results.
    """
    if isinstance(img, dict):
        return {name: map_images(member, function) for name, member in img.items()}
    if isinstance(img, list):
        return [map_images(member, function) for member in img]
    return function(img)


def common_size(results: dict) -> tuple[int, int]:
    """Return the height and width in pixels that all images of ``results['img']`` have.

    Raises:
        ValueError: if they differ: the same box would be another place in each.
    """
    sizes: set[tuple[int, int]] = set()
    map_images(results['img'], lambda image: sizes.add(image.shape[:2]))
    if len(sizes) != 1:
        found = map_images(results['img'], lambda image: f'{image.shape[0]} x {image.shape[1]}')
        raise ValueError(
            f'{results.get("img_path")}: one geometry for images of different sizes (height x width): {found}; put the '
            'dates and modalities on one grid: mmrs_ssl.SceneDataset does'
        )
    return sizes.pop()


class WholeWindow(BaseTransform):
    """With probability ``prob`` reorient all images of a sample alike, before views are made of them; a base class.

    Args:
        prob: probability in [0, 1].

    Raises:
        ValueError: inside a view, whose recorded box would become wrong; or for images of different sizes.
    """

    def __init__(self, prob: float) -> None:
        check_numbers(self, SHARE, prob=prob)
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Replace ``img`` and ``img_shape``, or leave the sample as it is."""
        if 'box' in results:
            raise ValueError(
                f'{type(self).__name__} after RandomCropResize would make the recorded box wrong: put it before Views '
                'and RandomCropResize; a single view is mirrored by RandomCropResize(flip_prob=...)'
            )
        common_size(results)
        if results['rng'].random() < self.prob:
            results['img'] = map_images(results['img'], self.draw(results['rng']))
            results['img_shape'] = common_size(results)
        return results

    def draw(self, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
        """Draw once per sample, and return what is done to each of its images (H, W, C)."""
        raise NotImplementedError


@TRANSFORMS.register_module()
class RandomFlip(WholeWindow):
    """Mirror the whole window, for any number of bands, dates and modalities.

    Args:
        prob: probability in [0, 1].
        directions: ``'horizontal'`` (left-right), ``'vertical'`` (top-bottom), ``'diagonal'`` (both); each equally
            likely.
    """

    def __init__(self, prob: float = 0.5, directions: Sequence[str] = ('horizontal', 'vertical', 'diagonal')) -> None:
        super().__init__(prob)
        if isinstance(directions, str) or not directions or not set(directions) <= set(_FLIP_AXES):
            raise ValueError(f'directions={directions!r}, expected a list of some of: {", ".join(_FLIP_AXES)}')
        self.directions = list(directions)

    def draw(self, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
        """Draw one of the directions, each as likely."""
        return partial(np.flip, axis=_FLIP_AXES[self.directions[rng.integers(len(self.directions))]])


@TRANSFORMS.register_module()
class RandomRotate90(WholeWindow):
    """Turn the whole window by 90, 180 or 270 degrees, equally likely, for any number of bands, dates and modalities.

    Args:
        prob: probability in [0, 1]; with 0.75 all four orientations are equally likely.
    """

    def __init__(self, prob: float = 0.75) -> None:
        super().__init__(prob)

    def draw(self, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
        """Draw one, two or three quarter turns."""
        return partial(np.rot90, k=int(rng.integers(1, 4)))
