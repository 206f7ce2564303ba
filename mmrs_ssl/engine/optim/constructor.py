"""Build the optimizer for the student alone."""

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmrs_ssl.models.teachers.momentum import MomentumTeacher
from mmrs_ssl.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class StudentOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Collect parameters as mmengine does, but pass over the teacher instead of warning about each of its own."""

    def add_params(self, params: list[dict], module: nn.Module, **kwargs: Any) -> None:
        """Add the parameters of ``module`` and what is below it, unless it is the teacher."""
        if not isinstance(module, MomentumTeacher):
            super().add_params(params, module, **kwargs)
