"""Give earlier layers of a backbone smaller learning rates, in models of any OpenMMLab library."""

from collections.abc import Callable
from typing import Any

from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from torch import nn

from mmrs_ssl.options import check_choice
from mmrs_ssl.registry import OPTIM_WRAPPER_CONSTRUCTORS

Depth = Callable[[str], tuple[int, int]]
_OPTIONS = ('layer_decay_rate', 'norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult', 'custom_keys')
# What mmpretrain's backbones are called where they count their layers; its ResNet knows no other name.
_PREFIX = 'backbone.'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(LearningRateDecayOptimWrapperConstructor):
    """Multiply the learning rate by ``layer_decay_rate`` for every layer below the last, as in BEiT and MAE.

    mmpretrain's constructor asks the whole model how deep a weight is, which only its own classifiers answer;
    mmsegmentation's and mmdetection's know ConvNeXt and BEiT. This one asks mmpretrain's backbone inside any model:
    ViT, Swin, ConvNeXt, and ResNet from 50 layers. Patch and position embeddings are layer 0, necks and heads have the
    full learning rate. Weight decay follows mmpretrain's rules; ``custom_keys`` may also have ``lr_mult``, e.g. for a
    head.

    Args:
        optim_wrapper_cfg: config of the optimizer wrapper.
        paramwise_cfg: ``layer_decay_rate`` in (0, 1], and optionally ``norm_decay_mult``, ``bias_decay_mult``,
            ``flat_decay_mult`` and ``custom_keys``.

    Raises:
        ValueError: for another option, a rate out of range, or an optimizer without ``weight_decay``; when it is
            called, for a model without such a backbone.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        for name in paramwise_cfg or {}:
            # mmsegmentation's and mmdetection's words would mean nothing here, and nobody would notice
            check_choice('a key of paramwise_cfg', name, _OPTIONS)
        rate = (paramwise_cfg or {}).get('layer_decay_rate')
        if not isinstance(rate, int | float) or not 0 < rate <= 1:
            raise ValueError(f'paramwise_cfg.layer_decay_rate={rate!r}, expected a factor per layer: 0 < factor <= 1')
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        if self.base_wd is None:
            raise ValueError('optimizer.weight_decay is not set, expected a number for weights that decay, or 0.0')

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        get_layer_depth: Depth | None = None,
        **kwargs: Any,
    ) -> None:
        """Add a group for each weight that trains, of ``module`` and what is below it."""
        depth = get_layer_depth or depth_in(module)
        super().add_params(params, module, prefix=prefix, get_layer_depth=depth, **kwargs)
        if prefix == '':
            for group in params:
                group['lr'] *= group.pop('lr_mult', 1.0)


def depth_in(model: nn.Module) -> Depth:
    """Return what tells, for a weight's name in a model, its layer and how many there are.

    Raises:
        ValueError: if no part of the model counts its layers.
    """
    counting: dict[str, Any] = {}
    for name, part in model.named_modules():
        if name and hasattr(part, 'get_layer_depth') and not any(name.startswith(outer) for outer in counting):
            counting[f'{name}.'] = part
    # a classifier asks its backbone, and so does this function
    if not counting and hasattr(model, 'get_layer_depth') and not hasattr(model, 'backbone'):
        counting[''] = model
    if not counting:
        backbone = getattr(model, 'backbone', model)
        raise ValueError(
            f'{type(backbone).__name__} of {type(backbone).__module__.split(".")[0]} does not say how deep its weights '
            "are: layer decay needs a backbone of mmpretrain, e.g. type='mmpretrain.VisionTransformer'"
        )
    first = next(iter(counting.values()))

    def depth(name: str) -> tuple[int, int]:
        prefix = next((prefix for prefix in counting if name.startswith(prefix)), None)
        try:
            if prefix is None:  # what comes after the backbone
                return first.get_layer_depth('', _PREFIX)
            return counting[prefix].get_layer_depth(_PREFIX + name.removeprefix(prefix), _PREFIX)
        except NotImplementedError:
            kind = type(first if prefix is None else counting[prefix]).__name__
            raise ValueError(f'{kind} of these depths has no layers to count: leave layer decay out') from None

    return depth
