"""Optimizers, their wrappers and constructors."""

from mmrs_ssl.engine.optim.adan import BlockAdan
from mmrs_ssl.engine.optim.autocast import CPUAmpOptimWrapper
from mmrs_ssl.engine.optim.constructor import StudentOptimWrapperConstructor

__all__ = ['BlockAdan', 'CPUAmpOptimWrapper', 'StudentOptimWrapperConstructor']
