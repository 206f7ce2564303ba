"""Data sets, samplers and transforms: what a loader indexes, in which order, and what becomes of a sample."""

from mmrs_ssl.datasets import transforms  # noqa: F401  (imported to register its modules)
from mmrs_ssl.datasets.image_folder import ImageFolder
from mmrs_ssl.datasets.oscd import OSCDDataset
from mmrs_ssl.datasets.samplers import EpochSampler, SampleIndex, sample_rng
from mmrs_ssl.datasets.scene_dataset import SceneDataset

__all__ = ['EpochSampler', 'ImageFolder', 'OSCDDataset', 'SampleIndex', 'SceneDataset', 'sample_rng']
