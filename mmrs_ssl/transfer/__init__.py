"""Read the checkpoints of this and other programs, load their backbones, write them for others."""

from mmrs_ssl.transfer.loading import LoadReport, load_backbone

__all__ = ['LoadReport', 'load_backbone']
