"""Transforms: loading, views that remember their source, photometric augmentation."""

from mmrs_ssl.datasets.images import read_image
from mmrs_ssl.datasets.raster import UnreadableImageError
from mmrs_ssl.datasets.transforms.crops import MultiSizeCrops, TemporalCrops
from mmrs_ssl.datasets.transforms.geometric import RandomFlip, RandomRotate90
from mmrs_ssl.datasets.transforms.loading import LoadModalities, LoadRaster, NoDataError
from mmrs_ssl.datasets.transforms.packing import PackModalities, PackViews
from mmrs_ssl.datasets.transforms.photometric import (
    ColourJitter,
    RandomBlur,
    RandomGrey,
    RandomNoise,
    RandomSolarise,
)
from mmrs_ssl.datasets.transforms.spectral import BandDropout, SpectralJitter
from mmrs_ssl.datasets.transforms.views import RandomCropResize, ShrinkToSize, Views

__all__ = [
    'BandDropout',
    'ColourJitter',
    'LoadModalities',
    'LoadRaster',
    'MultiSizeCrops',
    'NoDataError',
    'PackModalities',
    'PackViews',
    'RandomBlur',
    'RandomCropResize',
    'RandomFlip',
    'RandomGrey',
    'RandomNoise',
    'RandomRotate90',
    'RandomSolarise',
    'ShrinkToSize',
    'SpectralJitter',
    'TemporalCrops',
    'UnreadableImageError',
    'Views',
    'read_image',
]
