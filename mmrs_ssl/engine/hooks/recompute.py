"""Save memory by computing parts of a step twice."""

from typing import Any

from mmengine.hooks import Hook
from mmpretrain.utils import get_ori_model

from mmrs_ssl.models.backbones.recomputed import recompute_blocks
from mmrs_ssl.registry import HOOKS


@HOOKS.register_module()
class RecomputeHook(Hook):
    """Recompute the blocks of a network during the backward pass (activation checkpointing), in any method.

    Of this package's own methods ``backbone.with_cp=True`` does the same where the backbone has that option; a
    VisionTransformer has none. This hook is for it, and for the methods of other libraries, whose ``with_cp`` fails on
    several processes and moves BatchNorm's running statistics twice a step. Results are those of a plain pass.

    Args:
        path: the network in the model, e.g. ``'backbone'``.

    Source: Chen et al., Training deep nets with sublinear memory cost (arXiv 1604.06174).
    """

    def __init__(self, path: str = 'backbone') -> None:
        self.path = path

    def before_train(self, runner: Any) -> None:
        """Change the network's blocks, whatever wraps the model."""
        if modules := runner.cfg.get('activation_checkpointing'):
            raise ValueError(
                f'RecomputeHook and activation_checkpointing={modules} of the config do the same: remove the latter, '
                'which fails on several processes'
            )
        try:
            network = get_ori_model(runner.model).get_submodule(self.path)
        except AttributeError as error:
            raise AttributeError(f'RecomputeHook: the model has no {self.path!r} ({error})') from error
        count = recompute_blocks(network, self.path)
        runner.logger.info(f'{count} blocks of {self.path} are computed again during the backward pass')
