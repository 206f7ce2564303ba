"""Read the checkpoints of this and other programs, load their backbones, write them for others."""

from mmrs_ssl.transfer.loading import load_backbone
from mmrs_ssl.transfer.report import LoadReport

__all__ = ['LoadReport', 'load_backbone']
