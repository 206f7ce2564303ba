"""Checkpoints in and out."""

from mmrs_ssl.transfer.loading import LoadReport, load_backbone

__all__ = ['LoadReport', 'load_backbone']
