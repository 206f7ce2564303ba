"""Optimizer wrappers and their constructors."""

from mmrs_ssl.engine.optim.autocast import CPUAmpOptimWrapper
from mmrs_ssl.engine.optim.constructor import StudentOptimWrapperConstructor

__all__ = ['CPUAmpOptimWrapper', 'StudentOptimWrapperConstructor']
