"""A fourth method in one file, as a user of the package would add it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor

from mmrs_ssl.models.teachers.student_teacher import StudentTeacher
from mmrs_ssl.registry import MODELS
from tests.conftest import BACKBONES


@MODELS.register_module(force=True)
class Fourth(StudentTeacher, BaseSelfSupervisor):
    """The student of one view follows the teacher of the other, which is what its authors evaluate."""

    evaluated = 'teacher'

    def __init__(self, backbone: dict, data_preprocessor: dict, init_cfg: dict | None = None) -> None:
        super().__init__(backbone=backbone, data_preprocessor=MODELS.build(data_preprocessor), init_cfg=init_cfg)
        self.make_teacher(('backbone',), 0.9)

    def loss(self, inputs: list[Tensor], data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Mean squared error of pooled features."""
        self.require_teacher_updates()
        student = self.backbone(inputs[0])[-1].mean(dim=(2, 3))
        with torch.no_grad():
            teacher = self.teacher.module['backbone'](inputs[1])[-1].mean(dim=(2, 3))
        return dict(loss=F.mse_loss(student, teacher))


def fourth_config() -> dict:
    """A tiny one."""
    preprocessor = dict(type='mmrs_ssl.BandPreprocessor', mean=[100.0] * 3, std=[50.0] * 3)
    return dict(type='mmrs_ssl.Fourth', backbone=dict(BACKBONES['resnet'][0]), data_preprocessor=preprocessor)


def fourth_run(make_config: Callable[..., Config]) -> Config:
    """A run of it: of hooks it needs the one that moves the teacher; monitor and pictures look at its backbone."""
    cfg = make_config(model=dict(fourth_config()), name='fourth')
    cfg.custom_hooks = [dict(type='mmrs_ssl.TeacherUpdateHook'), dict(type='mmrs_ssl.CollapseMonitorHook')]
    cfg.custom_hooks.append(dict(type='mmrs_ssl.PictureHook', interval=5, samples=1))
    return cfg
