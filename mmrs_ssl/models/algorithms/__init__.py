"""The pre-training methods, one file each."""

from mmrs_ssl.models.algorithms.cmid import CMID
from mmrs_ssl.models.algorithms.dino_mc import DINOMC
from mmrs_ssl.models.algorithms.mssdf import MSSDF

__all__ = ['CMID', 'DINOMC', 'MSSDF']
