"""Heads of the methods; CMID and DINO-MC share ``PrototypeHead``, the terms are MSSDF's, the others CMID's."""

from mmrs_ssl.models.heads.contrast import PredictionHead, QueueContrastHead
from mmrs_ssl.models.heads.modalities import (
    AlignmentTerm,
    IndependenceTerm,
    MaskedTokenTerm,
    ModalityClassificationTerm,
)
from mmrs_ssl.models.heads.prototype import PrototypeHead
from mmrs_ssl.models.heads.reconstruction import PixelReconstructionHead

__all__ = [
    'AlignmentTerm',
    'IndependenceTerm',
    'MaskedTokenTerm',
    'ModalityClassificationTerm',
    'PixelReconstructionHead',
    'PredictionHead',
    'PrototypeHead',
    'QueueContrastHead',
]
