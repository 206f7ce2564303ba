"""Losses: pure functions of tensors, and ``PrototypeCenter``, which keeps the running center of teacher scores."""

from mmrs_ssl.models.losses.contrastive import negative_cosine, queue_info_nce
from mmrs_ssl.models.losses.distillation import (
    PrototypeCenter,
    balancing_center,
    cross_view_entropy,
    soft_cross_entropy,
)
from mmrs_ssl.models.losses.reconstruction import focal_frequency, focal_l1, masked_focal_l1, spectral_reconstruction

__all__ = [
    'PrototypeCenter',
    'balancing_center',
    'cross_view_entropy',
    'focal_frequency',
    'focal_l1',
    'masked_focal_l1',
    'negative_cosine',
    'queue_info_nce',
    'soft_cross_entropy',
    'spectral_reconstruction',
]
