"""What lies between encoders and losses: decoders of mmpretrain's methods for any bands and sizes, MSSDF's parts."""

from mmrs_ssl.models.necks.decoders import MAEBandDecoder, SimMIMBandDecoder
from mmrs_ssl.models.necks.modalities import ModalityDecoder, ModalityFusion

__all__ = ['MAEBandDecoder', 'ModalityDecoder', 'ModalityFusion', 'SimMIMBandDecoder']
