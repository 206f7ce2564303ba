"""Keep the first stages of a backbone as they were loaded while what is new beside them learns."""

from typing import Any

from mmpretrain.utils import get_ori_model
from torch import nn

from mmrs_ssl.engine.hooks.gradients import FreezeHook
from mmrs_ssl.options import WHOLE, check_numbers, or_none
from mmrs_ssl.registry import HOOKS


@HOOKS.register_module()
class FreezeBackboneHook(FreezeHook):
    """Keep a backbone, or its first stages, as it is for the first epochs, so that new heads do not spoil it.

    It drops gradients as :class:`FreezeHook` does, so it works with any optimizer and on several processes, and what is
    frozen depends on the epoch alone: a resumed run is the uninterrupted one. The teacher's stages stay as they are,
    too, since they average equal weights. BatchNorm goes on with the batch's own statistics in student and teacher
    alike. With ``frozen_stages`` of the backbone, which is for whole trainings, the student's would use those of the
    file, the teacher's would not, and the two would differ though their weights do not.

    Args:
        stages: which are frozen, as the backbone's class counts its ``frozen_stages`` (ResNet: 0 is the stem, 1 the
            first stage too; Swin: 0 is the first stage; ViT: 0 are the embeddings, then so many blocks; ConvNeXt: so
            many stages); None for all of the backbone.
        epochs: how many epochs.
        module: where the backbone is in the model.
    """

    def __init__(self, stages: int | None = None, epochs: int = 1, module: str = 'backbone') -> None:
        check_numbers(self, or_none(WHOLE), stages=stages)
        super().__init__(module, epochs)
        self.stages = stages

    def before_train(self, runner: Any) -> None:
        """Register with the optimizer; refuse to freeze for the whole training, or stages that there are not."""
        super().before_train(runner)
        if self.stages is not None:
            self._params = first_stages(get_ori_model(runner.model).get_submodule(self.path), self.stages)
        count = sum(1 for _ in get_ori_model(runner.model).get_submodule(self.path).parameters())
        runner.logger.info(
            f'FreezeBackboneHook: {len(self._params)} of {count} weights of {self.path} stay as they are until epoch '
            f'{self.epochs} is over'
        )


def first_stages(backbone: nn.Module, stages: int) -> list[nn.Parameter]:
    """List the weights that a backbone of mmpretrain's freezes by ``frozen_stages``; it is left as it is.

    Raises:
        ValueError: if its class has no such option, or it has fewer stages.
    """
    part: Any = backbone
    if not hasattr(part, '_freeze_stages') or not hasattr(part, 'frozen_stages'):
        raise ValueError(
            f'FreezeBackboneHook: {type(backbone).__name__} does not count stages (it has no frozen_stages), so '
            f'stages={stages} means nothing; leave it out to freeze all of the backbone'
        )
    trained = {name for name, param in backbone.named_parameters() if param.requires_grad}
    modes = {module: module.training for module in backbone.modules()}
    kept, part.frozen_stages = part.frozen_stages, stages
    try:
        part._freeze_stages()
        found = [param for name, param in backbone.named_parameters() if name in trained and not param.requires_grad]
    except (AttributeError, IndexError) as error:
        raise ValueError(
            f'FreezeBackboneHook: stages={stages}, but {type(backbone).__name__} has fewer ({error}); leave stages out '
            'to freeze all of it'
        ) from None
    finally:
        part.frozen_stages = kept
        for name, param in backbone.named_parameters():
            param.requires_grad_(name in trained)
        for module, mode in modes.items():
            module.training = mode
    if not found:
        raise ValueError(f'FreezeBackboneHook: stages={stages} of {type(backbone).__name__} are no weights; give more')
    return found
