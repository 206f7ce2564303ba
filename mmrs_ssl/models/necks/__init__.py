"""What mmpretrain's own methods lack for images of any number of bands and of any size."""

from mmrs_ssl.models.necks.decoders import MAEBandDecoder, SimMIMBandDecoder

__all__ = ['MAEBandDecoder', 'SimMIMBandDecoder']
