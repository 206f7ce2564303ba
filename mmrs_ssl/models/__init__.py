"""Models: methods, heads, losses, masks and the momentum teacher."""

from mmrs_ssl.models.algorithms import CMID, DINOMC, MSSDF
from mmrs_ssl.models.data_preprocessor import BandPreprocessor, ModalityPreprocessor
from mmrs_ssl.models.heads import PixelReconstructionHead, PredictionHead, PrototypeHead, QueueContrastHead
from mmrs_ssl.models.teachers.momentum import MomentumTeacher

__all__ = [
    'CMID',
    'DINOMC',
    'MSSDF',
    'BandPreprocessor',
    'ModalityPreprocessor',
    'MomentumTeacher',
    'PixelReconstructionHead',
    'PredictionHead',
    'PrototypeHead',
    'QueueContrastHead',
]
