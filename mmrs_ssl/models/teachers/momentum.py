"""The momentum teacher: an exponential moving average of the student's parameters."""

import torch
from mmcv.cnn.bricks.drop import DropPath
from mmengine.model import BaseAveragedModel
from torch import nn

from mmrs_ssl.models.batch_norms import is_batch_norm
from mmrs_ssl.options import SHARE, check_numbers


class MomentumTeacher(BaseAveragedModel):
    """A copy of the student that follows it: ``teacher = m * teacher + (1 - m) * student``.

    Only parameters are averaged. BatchNorm uses the statistics of the teacher's own batches while training and keeps
    its own running statistics from them, so the teacher can be evaluated at any time. Everything else (dropout,
    and, unless asked for, stochastic depth) is off in the teacher. It is updated by
    :class:`mmrs_ssl.TeacherUpdateHook` after the optimizer step; ``momentum`` is a plain attribute that
    :class:`mmrs_ssl.TeacherMomentumHook` drives.

    Args:
        student: module to copy; its parameters and the teacher's are matched by name.
        momentum: weight m of the teacher's *old* value, as the papers give it (0.996), in [0, 1].
        drop_path: let the teacher drop paths while training, at the student's rate, by draws of its own.

    Source: MoCo (arXiv 1911.05722), equation 2. Unlike mmengine's averaged models, the first update averages too, the
    copy can be renewed after ``init_weights``, and BatchNorm's buffers are not overwritten by the student's.
    """

    def __init__(self, student: nn.Module, momentum: float = 0.996, drop_path: bool = False) -> None:
        super().__init__(student)
        check_numbers(self, SHARE, teacher_momentum=momentum)
        self.momentum = momentum
        self.drop_path = drop_path

    @torch.no_grad()
    def copy_from(self, student: nn.Module) -> None:
        """Make the teacher equal to the student, buffers included (after the student's ``init_weights``)."""
        self.module.load_state_dict(student.state_dict())

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move every parameter towards the student's of the same name."""
        student = dict(model.named_parameters())
        averaged = dict(self.module.named_parameters())
        if student.keys() != averaged.keys():
            raise ValueError(f'teacher and student differ in {sorted(student.keys() ^ averaged.keys())[:5]}')
        torch._foreach_lerp_(list(averaged.values()), [student[name] for name in averaged], 1 - self.momentum)
        self.steps += 1

    def train(self, mode: bool = True) -> 'MomentumTeacher':
        """Training mode concerns BatchNorm, which takes its batch's statistics, and drop path if asked for."""
        super().train(False)
        self.training = mode
        for module in self.module.modules():
            if is_batch_norm(module) or (self.drop_path and isinstance(module, DropPath)):
                module.train(mode)
        return self
