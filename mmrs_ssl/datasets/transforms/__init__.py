"""Transforms: loading, views that remember their source, photometric augmentation."""

from mmrs_ssl.datasets.transforms.appending import AppendRaster
from mmrs_ssl.datasets.transforms.cmid_views import CMIDViews
from mmrs_ssl.datasets.transforms.contrast_views import ContrastViews
from mmrs_ssl.datasets.transforms.crops import MultiSizeCrops, TemporalCrops
from mmrs_ssl.datasets.transforms.geometric import RandomFlip, RandomRotate90
from mmrs_ssl.datasets.transforms.loading import LoadModalities, LoadRaster
from mmrs_ssl.datasets.transforms.packing import PackModalities, PackViews
from mmrs_ssl.datasets.transforms.photometric import (
    ColorJitter,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomNoise,
    RandomSolarize,
)
from mmrs_ssl.datasets.transforms.spectral import BandDropout, SpectralJitter
from mmrs_ssl.datasets.transforms.views import RandomCropResize, ResizeToSize, Views
from mmrs_ssl.rasters.errors import NoDataError, UnreadableImageError
from mmrs_ssl.rasters.pictures import read_image

__all__ = [
    'AppendRaster',
    'BandDropout',
    'CMIDViews',
    'ColorJitter',
    'ContrastViews',
    'LoadModalities',
    'LoadRaster',
    'MultiSizeCrops',
    'NoDataError',
    'PackModalities',
    'PackViews',
    'RandomGaussianBlur',
    'RandomCropResize',
    'RandomFlip',
    'RandomGrayscale',
    'RandomNoise',
    'RandomRotate90',
    'RandomSolarize',
    'ResizeToSize',
    'SpectralJitter',
    'TemporalCrops',
    'UnreadableImageError',
    'Views',
    'read_image',
]
