"""What the methods with a momentum teacher share: building it, keeping it in step, loading loudly."""

from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmrs_ssl.aliases import rename_weights
from mmrs_ssl.models.backbones.recomputed import take_over_with_cp
from mmrs_ssl.models.teachers.momentum import MomentumTeacher


class StudentTeacher(nn.Module):
    """Mix-in, before mmpretrain's ``BaseSelfSupervisor``, for models whose teacher averages some of their parts.

    Attributes:
        teacher: the :class:`MomentumTeacher`; its parts are ``teacher.module[name]``.
        evaluated: ``'student'`` or ``'teacher'``, whose backbone the method's authors evaluate.
        recording: whether the next step's tensors are to be kept for ``visualize``; ``PictureHook`` sets it.
        kept: these tensors, where a method has ``visualize``.

    A method may also offer ``monitor``, ``visualize`` and ``bare_passes`` of :mod:`mmrs_ssl.models.protocol`.
    """

    backbone: nn.Module
    neck: nn.Module
    data_preprocessor: nn.Module
    teacher: MomentumTeacher
    recording = False
    kept: Any = None
    teacher_is_updated = False
    evaluated = 'student'

    def make_teacher(self, parts: tuple[str, ...], momentum: float, drop_path: bool = False) -> None:
        """Build the teacher of the named parts, :class:`MomentumTeacher`; call once, at the end of ``__init__``."""
        self._parts = parts
        self.teacher = MomentumTeacher(self.student_parts(), momentum, drop_path)
        take_over_with_cp(self.backbone)
        self.register_load_state_dict_pre_hook(check_backbone_fits)

    def student_parts(self) -> nn.ModuleDict:
        """Return the student's side of what the teacher averages."""
        return nn.ModuleDict({name: getattr(self, name) for name in self._parts})

    def init_weights(self) -> None:
        """Initialize the student, then start the teacher from it."""
        self.init_student()
        self.teacher.copy_from(self.student_parts())

    def init_student(self) -> None:
        """Initialize the student as its ``init_cfg`` and its parts' say."""
        super().init_weights()  # type: ignore[misc]

    @property
    def evaluated_backbone(self) -> nn.Module:
        """Return the backbone to use after training, of the student or the teacher."""
        return self.backbone if self.evaluated == 'student' else self.teacher.module['backbone']

    def release_kept(self) -> Any:
        """Hand over what the last step kept for pictures, and keep nothing more.

        Raises:
            RuntimeError: if it kept nothing.
        """
        kept, self.kept, self.recording = self.kept, None, False
        if kept is None:
            raise RuntimeError('the last step kept nothing to show: set model.recording = True before it')
        return kept

    def update_teacher(self) -> None:
        """Move the teacher towards the student; called by ``TeacherUpdateHook`` after every optimizer step."""
        self.teacher.update_parameters(self.student_parts())

    def require_teacher_updates(self) -> None:
        """Refuse to train a model whose teacher nobody updates.

        Raises:
            RuntimeError: while training without ``TeacherUpdateHook``.
        """
        if self.training and not self.teacher_is_updated:
            raise RuntimeError(
                f'{type(self).__name__} has a momentum teacher that nothing updates; add '
                "custom_hooks=[dict(type='mmrs_ssl.TeacherUpdateHook')] to the config (or, in a loop of your own, call "
                'model.update_teacher() after each optimizer step and set model.teacher_is_updated = True)'
            )


def check_backbone_fits(module: StudentTeacher, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Refuse a checkpoint whose backbone is another one, and start a missing teacher from the student.

    Runs before every load (``--resume``, ``load_from``, ``tools/test.py``); mmengine itself only warns about keys that
    do not fit and goes on with random weights.

    Raises:
        ValueError: naming the first keys that are missing, unexpected or of another shape.
    """
    rename_weights(state_dict, prefix)
    head = f'{prefix}backbone.'
    found = {key: tuple(value.shape) for key, value in state_dict.items() if key.startswith(head)}
    wanted = {head + key: tuple(value.shape) for key, value in module.backbone.state_dict().items()}
    if not found:
        raise ValueError(
            f'no key of this checkpoint starts with {head!r} (but {", ".join(list(state_dict)[:3])} ...): it is none '
            'of this project; the file of a backbone alone goes into model.backbone.init_cfg'
        )
    problems = [f'missing {key}' for key in wanted if key not in found]
    problems += [f'unexpected {key}' for key in found if key not in wanted]
    problems += [f'{key} is {found[key]}, not {size}' for key, size in wanted.items() if found.get(key, size) != size]
    if problems:
        raise ValueError(
            f'this checkpoint does not fit the {type(module.backbone).__name__} of the config: {len(problems)} of '
            f'{len(wanted)} backbone entries differ ({"; ".join(problems[:4])}{" ..." if len(problems) > 4 else ""}). '
            'Give the checkpoint of the same backbone (arch, depth, in_channels), or change model.backbone to match it'
        )
    own = {prefix + key: tuple(value.shape) for key, value in module.state_dict().items()}
    other = [
        f'{key} is {tuple(value.shape)}, not {own[key]}'
        for key, value in state_dict.items()
        if key in own and tuple(value.shape) != own[key]
    ]
    if other:
        raise ValueError(
            f'this checkpoint fits the backbone but not {len(other)} entries of the heads ({"; ".join(other[:4])}): '
            'give neck, heads and queue the sizes they had (model.head.num_prototypes, if the number of images chose '
            'it), or start from its backbone with model.backbone.init_cfg'
        )
    teacher_head = f'{prefix}teacher.module.'
    if not any(key.startswith(teacher_head) for key in state_dict):
        print_log('the checkpoint has no teacher: it starts from the student', logger='current')
        for key, value in module.student_parts().state_dict().items():
            state_dict[teacher_head + key] = state_dict.get(prefix + key, torch.clone(value))
