"""Heads of the methods; CMID and DINO-MC share ``PrototypeHead``, the others are CMID's."""

from mmrs_ssl.models.heads.contrast import PredictionHead, QueueContrastHead
from mmrs_ssl.models.heads.prototype import PrototypeHead
from mmrs_ssl.models.heads.reconstruction import PixelReconstructionHead

__all__ = ['PixelReconstructionHead', 'PredictionHead', 'PrototypeHead', 'QueueContrastHead']
