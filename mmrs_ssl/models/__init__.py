"""Models: methods, heads, losses, masks and the momentum teacher."""

from mmrs_ssl.models.algorithms import CMID, DINOMC
from mmrs_ssl.models.data_preprocessor import BandPreprocessor
from mmrs_ssl.models.heads import PixelReconstructionHead, PredictionHead, PrototypeHead, QueueContrastHead
from mmrs_ssl.models.teacher import MomentumTeacher

__all__ = [
    'CMID',
    'DINOMC',
    'BandPreprocessor',
    'MomentumTeacher',
    'PixelReconstructionHead',
    'PredictionHead',
    'PrototypeHead',
    'QueueContrastHead',
]
