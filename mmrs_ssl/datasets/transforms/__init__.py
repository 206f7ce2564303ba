"""Transforms: loading, views that remember their source, photometric augmentation."""

from mmrs_ssl.datasets.transforms.loading import LoadRaster, UnreadableImageError, read_image
from mmrs_ssl.datasets.transforms.photometric import (
    ColourJitter,
    RandomBlur,
    RandomGrey,
    RandomNoise,
    RandomSolarise,
    SpectralJitter,
)
from mmrs_ssl.datasets.transforms.views import PackViews, RandomCropResize, ShrinkToSize, Views

__all__ = [
    'ColourJitter',
    'LoadRaster',
    'PackViews',
    'RandomBlur',
    'RandomCropResize',
    'RandomGrey',
    'RandomNoise',
    'RandomSolarise',
    'ShrinkToSize',
    'SpectralJitter',
    'UnreadableImageError',
    'Views',
    'read_image',
]
