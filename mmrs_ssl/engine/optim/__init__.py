"""Optimizers, their wrappers and constructors, and schedules of the learning rate."""

from mmrs_ssl.engine.optim.autocast import CPUAmpOptimWrapper
from mmrs_ssl.engine.optim.constructor import StudentOptimWrapperConstructor
from mmrs_ssl.engine.optim.layer_decay import LayerDecayOptimWrapperConstructor
from mmrs_ssl.engine.optim.schedulers import CosineAfterWarmupLR, WarmupLR
from mmrs_ssl.ops.adan import BlockAdan

__all__ = [
    'BlockAdan',
    'CPUAmpOptimWrapper',
    'CosineAfterWarmupLR',
    'LayerDecayOptimWrapperConstructor',
    'StudentOptimWrapperConstructor',
    'WarmupLR',
]
