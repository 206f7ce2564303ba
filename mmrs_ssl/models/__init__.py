"""Models: methods, heads, necks, losses, masks and the momentum teacher."""

from mmrs_ssl.models.algorithms import CMID, DINOMC, MSSDF
from mmrs_ssl.models.backbones.modality_vit import ModalityVisionTransformer
from mmrs_ssl.models.backbones.padded_swin import PaddedSimMIMSwinTransformer, PaddedSwinTransformer
from mmrs_ssl.models.data_preprocessor import BandPreprocessor, ModalityPreprocessor
from mmrs_ssl.models.heads import (
    AlignmentTerm,
    IndependenceTerm,
    MaskedTokenTerm,
    ModalityClassificationTerm,
    PixelReconstructionHead,
    PredictionHead,
    PrototypeHead,
    QueueContrastHead,
)
from mmrs_ssl.models.masks.cross_modal import ModalityMasking
from mmrs_ssl.models.necks import MAEBandDecoder, ModalityDecoder, ModalityFusion, SimMIMBandDecoder
from mmrs_ssl.models.teachers.momentum import MomentumTeacher
from mmrs_ssl.models.teachers.targets import TokenTargets

__all__ = [
    'CMID',
    'DINOMC',
    'MSSDF',
    'AlignmentTerm',
    'BandPreprocessor',
    'IndependenceTerm',
    'MAEBandDecoder',
    'MaskedTokenTerm',
    'ModalityClassificationTerm',
    'ModalityDecoder',
    'ModalityFusion',
    'ModalityMasking',
    'ModalityPreprocessor',
    'ModalityVisionTransformer',
    'MomentumTeacher',
    'PaddedSimMIMSwinTransformer',
    'PaddedSwinTransformer',
    'PixelReconstructionHead',
    'PredictionHead',
    'PrototypeHead',
    'QueueContrastHead',
    'SimMIMBandDecoder',
    'TokenTargets',
]
