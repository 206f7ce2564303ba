"""The pre-training methods, one file each."""

from mmrs_ssl.models.algorithms.cmid import CMID

__all__ = ['CMID']
