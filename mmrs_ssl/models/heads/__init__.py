"""Heads that more than one method uses."""

from mmrs_ssl.models.heads.contrast import PredictionHead, QueueContrastHead
from mmrs_ssl.models.heads.prototype import PrototypeHead
from mmrs_ssl.models.heads.reconstruction import PixelReconstructionHead

__all__ = ['PixelReconstructionHead', 'PredictionHead', 'PrototypeHead', 'QueueContrastHead']
