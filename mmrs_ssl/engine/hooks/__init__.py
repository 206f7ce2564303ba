"""Hooks: pre-trained backbones, schedules, teacher updates, gradients, seeds, logs, monitors, probes, pictures."""

from mmrs_ssl.engine.hooks.checkpoint import SafeCheckpointHook
from mmrs_ssl.engine.hooks.collapse_monitor import CollapseMonitorHook
from mmrs_ssl.engine.hooks.deferred_log import DeferredLogHook
from mmrs_ssl.engine.hooks.feature_probe import FeatureProbeHook
from mmrs_ssl.engine.hooks.finite_loss import FiniteLossHook
from mmrs_ssl.engine.hooks.freezing import FreezeBackboneHook
from mmrs_ssl.engine.hooks.gradient_shares import GradientShareHook
from mmrs_ssl.engine.hooks.gradients import ClipEachGradientHook, FreezeHook
from mmrs_ssl.engine.hooks.pictures import PictureHook
from mmrs_ssl.engine.hooks.pretrained_backbone import PretrainedBackboneHook
from mmrs_ssl.engine.hooks.recompute import RecomputeHook
from mmrs_ssl.engine.hooks.schedule import ScheduleHook
from mmrs_ssl.engine.hooks.seed import StepSeedHook
from mmrs_ssl.engine.hooks.teacher import TeacherUpdateHook
from mmrs_ssl.engine.hooks.teacher_momentum import TeacherMomentumHook

__all__ = [
    'ClipEachGradientHook',
    'CollapseMonitorHook',
    'DeferredLogHook',
    'FeatureProbeHook',
    'FiniteLossHook',
    'FreezeBackboneHook',
    'FreezeHook',
    'GradientShareHook',
    'PictureHook',
    'PretrainedBackboneHook',
    'RecomputeHook',
    'SafeCheckpointHook',
    'ScheduleHook',
    'StepSeedHook',
    'TeacherMomentumHook',
    'TeacherUpdateHook',
]
