"""What hooks, benchmark and demo ask of a method; whoever offers less is watched at its backbone.

A method may offer each of these by itself. None of them need be inherited from here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from mmrs_ssl.models.tiles import Picture

Passes = list[tuple[Callable[[Tensor], Tensor], Tensor]]  # networks, and what each is given


class Monitored(NamedTuple):
    """What can collapse in a step."""

    # 'student', 'teacher', or several of each ('student_rgb_class'): pooled features of the backbone (N, D), detached
    features: dict[str, Tensor]
    choices: Tensor | None = None  # what the teacher chose of K prototypes: probabilities (N, K)


@runtime_checkable
class Monitors(Protocol):
    """A method that tells :class:`mmrs_ssl.CollapseMonitorHook` what its last step made of the images."""

    def monitor(self) -> Monitored:
        """Return features and choices of the last step; called after each, so it must not wait for the device."""


@runtime_checkable
class Visualizes(Protocol):
    """A method that describes pictures for :class:`mmrs_ssl.PictureHook`."""

    recording: bool  # set before a step whose pictures are wanted: its tensors are kept until visualize is called

    def visualize(self, samples: int) -> dict[str, Picture]:
        """Describe the first samples of the last step, name -> picture, and let their tensors go."""


@runtime_checkable
class HasBarePasses(Protocol):
    """A method that names the compute which none of its implementations can leave out."""

    def bare_passes(self, data: dict[str, Any]) -> tuple[Passes, Passes]:
        """List the student's passes (forward and backward) and the teacher's (forward) of a preprocessed batch."""


@runtime_checkable
class Evaluates(Protocol):
    """A method that says which of its backbones is to be used after training."""

    evaluated: str  # 'student' or 'teacher'

    @property
    def evaluated_backbone(self) -> nn.Module:
        """Return the backbone that ``evaluated`` names."""


def last_output(backbone: nn.Module, view: Tensor) -> Tensor:
    """Return the last of the outputs of a backbone of mmpretrain, for :class:`HasBarePasses`."""
    return backbone(view)[-1]


def evaluated_backbone(model: Any) -> nn.Module:
    """Return the backbone to use after training: the one that the method names, else its only one."""
    return model.evaluated_backbone if hasattr(model, 'evaluated_backbone') else model.backbone


def branch_backbones(model: Any) -> dict[str, nn.Module]:
    """Return the backbones of a method by name, first the one to use after training: of a student and of a teacher.

    Raises:
        AttributeError: if the method has no backbone.
    """
    if not isinstance(getattr(model, 'backbone', None), nn.Module):
        raise AttributeError(f'{type(model).__name__} has no backbone to measure')
    found = dict(student=model.backbone)
    teacher = getattr(getattr(model, 'teacher', None), 'module', None)
    if isinstance(teacher, nn.ModuleDict) and 'backbone' in teacher:
        found['teacher'] = teacher['backbone']
    first = getattr(model, 'evaluated', 'student')
    return dict(sorted(found.items(), key=lambda item: item[0] != first))
