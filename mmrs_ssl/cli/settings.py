"""Check the settings that mmengine and torch are configured by, before anything is built of them.

What this package's own classes take, they check themselves: :mod:`mmrs_ssl.options`.
"""

import inspect
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import product
from typing import Any

from mmengine.config import Config
from mmengine.registry import OPTIMIZERS
from torch.utils.data import DataLoader

from mmrs_ssl.cli.errors import nearest_types
from mmrs_ssl.cli.places import type_name
from mmrs_ssl.options import (
    AREA,
    BELOW_ONE,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    PROPER_SHARE,
    SHARE,
    WHOLE,
    Number,
    check_lists,
    check_numbers,
    check_switches,
    or_none,
    refuse,
)

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# read by mmengine's Runner beside what torch's loader takes
_LOADER_KEYS = {'num_batch_per_epoch', 'disable_subprocess_warning', *inspect.signature(DataLoader).parameters}
_LOOPS = ('', 'EpochBasedTrainLoop', 'IterBasedTrainLoop', 'ResumableTrainLoop')
_OFF = 'or -1 for never'

# dotted path, where * is every key or number -> what is expected there; a path that a config has not is not looked at
NUMBERS: dict[str, Number] = {
    'train_cfg.max_epochs': COUNT,
    'train_cfg.max_iters': COUNT,
    'train_cfg.val_interval': COUNT,
    'train_cfg.val_begin': WHOLE,
    **{f'{loader}.batch_size': COUNT for loader in _LOADERS},
    **{f'{loader}.num_workers': WHOLE for loader in _LOADERS},
    **{f'{loader}.prefetch_factor': or_none(COUNT) for loader in _LOADERS},
    **{f'{loader}.timeout': NOT_NEGATIVE for loader in _LOADERS},
    'optim_wrapper.accumulative_counts': COUNT,
    'optim_wrapper.clip_grad.max_norm': POSITIVE,
    'optim_wrapper.clip_grad.clip_value': POSITIVE,
    'optim_wrapper.optimizer.lr': NOT_NEGATIVE,
    'optim_wrapper.optimizer.eps': NOT_NEGATIVE,
    'optim_wrapper.optimizer.weight_decay': NOT_NEGATIVE,
    'optim_wrapper.optimizer.momentum': BELOW_ONE,
    'optim_wrapper.paramwise_cfg.*_mult': NOT_NEGATIVE,
    'optim_wrapper.paramwise_cfg.custom_keys.*.lr_mult': NOT_NEGATIVE,
    'optim_wrapper.paramwise_cfg.custom_keys.*.decay_mult': NOT_NEGATIVE,
    'param_scheduler.*.begin': WHOLE,
    'param_scheduler.*.end': COUNT,
    'param_scheduler.*.T_max': or_none(COUNT),
    'param_scheduler.*.eta_min': or_none(NOT_NEGATIVE),
    'param_scheduler.*.eta_min_ratio': or_none(SHARE),
    'param_scheduler.*.share': BELOW_ONE,
    'param_scheduler.*.start_factor': AREA,
    'param_scheduler.*.end_factor': SHARE,
    'param_scheduler.*.gamma': POSITIVE,
    'param_scheduler.*.step_size': COUNT,
    'default_hooks.logger.interval': COUNT,
    'auto_scale_lr.base_batch_size': COUNT,
    'randomness.seed': or_none(WHOLE),
    # of mmpretrain's methods
    'model.queue_len': COUNT,
    'model.feat_dim': COUNT,
    'model.momentum': SHARE,
    'model.base_momentum': SHARE,
    'model.head.temperature': POSITIVE,
    'model.backbone.mask_ratio': PROPER_SHARE,
    'train_dataloader.dataset.pipeline.*.mask_ratio': PROPER_SHARE,
}
# where -1 means never, and 0 would mean so in silence
INTERVALS = ('default_hooks.checkpoint.interval', 'default_hooks.checkpoint.max_keep_ckpts')
SWITCHES = (
    *(f'{loader}.{key}' for loader in _LOADERS for key in ('persistent_workers', 'drop_last', 'pin_memory')),
    *(f'{loader}.sampler.shuffle' for loader in _LOADERS),
    'auto_scale_lr.enable',
    'randomness.deterministic',
    'find_unused_parameters',
)
CHOICES: dict[str, tuple[Any, ...]] = {
    'log_level': ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'),
    'sync_bn': (None, 'torch', 'mmcv'),
    'env_cfg.mp_cfg.mp_start_method': (None, 'fork', 'spawn', 'forkserver'),
    'optim_wrapper.dtype': (None, 'float16', 'bfloat16', 'float32', 'float64'),
}
KINDS: dict[str, tuple[type, ...]] = {
    'model': (Mapping,),
    'train_cfg': (Mapping,),
    'optim_wrapper': (Mapping,),
    'optim_wrapper.optimizer': (Mapping,),
    'train_dataloader': (Mapping,),
    'train_dataloader.dataset': (Mapping,),
    'train_dataloader.sampler': (Mapping,),
    'train_dataloader.dataset.pipeline': (list, tuple),
    'param_scheduler': (list, tuple, Mapping),
    'default_hooks': (Mapping,),
    'custom_hooks': (list, tuple),
    'auto_scale_lr': (Mapping,),
    'compile': (Mapping, bool),
}
NEEDED = {'model': 'train_cfg', 'train_dataloader': 'train_cfg'}  # a part, and what without it means nothing
# of mmpretrain's methods: two widths that must be one
EQUAL = {
    'model.feat_dim': 'model.neck.out_channels',
    'model.head.predictor.out_channels': 'model.neck.out_channels',
}


def check_settings(cfg: Config) -> None:
    """Refuse settings of a training or test that cannot be meant, by name, value and what is expected.

    Args:
        cfg: as it was read, with what overrides it, in its default scope.

    Raises:
        ValueError: for the first one.
    """
    root = cfg._cfg_dict
    for check in (
        _check_kinds,
        _check_choices,
        _check_numbers,
        _check_optimizer,
        _check_loaders,
        _check_loop,
        _check_hooks,
    ):
        check(root)


def _check_kinds(root: Any) -> None:
    for path, kinds in KINDS.items():
        for place, value in find(root, path):
            if value is not None and not isinstance(value, kinds) and isinstance(value, bool | int | float | str):
                wanted = 'a list of dicts' if list in kinds else 'a dict with its options'
                either = ', or True or False' if bool in kinds else ''
                refuse('', place, value, f'{wanted}{either}, as the configs of this project show')
    for part, why in NEEDED.items():
        if part in root and root[part] is None and root.get(why) is not None:
            refuse('', part, None, f'a dict with its options, as there is a {why}')


def _check_choices(root: Any) -> None:
    for path, choices in CHOICES.items():
        for place, value in find(root, path):
            if value not in choices:
                refuse('', place, value, f'one of {", ".join(map(repr, choices))}')
    for path, other in EQUAL.items():
        for (place, value), (beside, width) in product(find(root, path), find(root, other)):
            if value != width:
                refuse('', place, value, f'{beside}={width}: both are the width of what is compared')


def _check_numbers(root: Any) -> None:
    for path, kind in NUMBERS.items():
        for place, value in find(root, path):
            check_numbers('', kind, **{place: as_whole(value) if kind.whole else value})
    for path in INTERVALS:
        for place, value in find(root, path):
            if value is not None and value != -1 and not COUNT.fits(as_whole(value)):
                refuse('', place, value, f'{COUNT}, {_OFF if "interval" in path else "or -1 for all"}')
    for path in SWITCHES:
        for place, value in find(root, path):
            check_switches('', **{place: value})
    for place, value in find(root, 'optim_wrapper.optimizer.betas'):
        check_lists('', BELOW_ONE, **{place: value})
    for place, value in find(root, 'param_scheduler.*.milestones'):
        check_lists('', WHOLE, **{place: value})


def _check_optimizer(root: Any) -> None:
    """Refuse an optimizer that is none, of which mmengine says that None is not callable; and words in clip_grad."""
    for place, kind in find(root, 'optim_wrapper.optimizer.type'):
        if not isinstance(kind, str):
            continue
        with OPTIMIZERS.switch_scope_and_registry(None) as registry:
            known = registry.get(kind)
        if known is None:
            near = nearest_types(kind, OPTIMIZERS)
            refuse(
                '',
                place,
                kind,
                f'an optimizer that is registered, {"perhaps" if near else "as"} '
                f'{", ".join(near or ("SGD", "AdamW", "LARS", "mmrs_ssl.BlockAdan"))}',
            )
    for place, clip in find(root, 'optim_wrapper.clip_grad'):
        if clip is not None and not (isinstance(clip, Mapping) and {'max_norm', 'clip_value'} & set(clip)):
            refuse('', place, clip, 'dict(max_norm=NUMBER), dict(type="value", clip_value=NUMBER), or None')


def _check_loaders(root: Any) -> None:
    for loader in _LOADERS:
        options = root.get(loader)
        if not isinstance(options, Mapping):
            continue
        for key in options:
            if key not in _LOADER_KEYS:
                near = get_close_matches(str(key), _LOADER_KEYS, n=1)
                raise ValueError(
                    f'{loader}.{key} is no option of a data loader'
                    + (f'; did you mean {near[0]}?' if near else f'; it takes {", ".join(sorted(_LOADER_KEYS))}')
                )
        for option in ('persistent_workers', 'prefetch_factor'):
            if options.get('num_workers', 0) == 0 and options.get(option):
                off = False if option == 'persistent_workers' else None
                refuse(
                    '',
                    f'{loader}.{option}',
                    options[option],
                    f'{off} where {loader}.num_workers=0: set {loader}.{option}={off}, too, or num_workers=1',
                )


def _check_loop(root: Any) -> None:
    """Refuse a loop without a length, and an epoch without an end."""
    loop, loader = root.get('train_cfg'), root.get('train_dataloader')
    if not isinstance(loop, Mapping) or not loop or type_name(loop) not in _LOOPS:
        return
    lengths = [key for key in ('max_epochs', 'max_iters') if loop.get(key) is not None]
    if len(lengths) != 1:
        refuse('', 'train_cfg', dict(loop), 'either max_epochs or max_iters, one of them')
    sampler: Any = loader.get('sampler') if isinstance(loader, Mapping) else None
    if lengths == ['max_epochs'] and type_name(sampler) == 'InfiniteSampler':
        refuse(
            '',
            'train_dataloader.sampler.type',
            sampler['type'],
            'a sampler whose epochs end, as mmrs_ssl.EpochSampler '
            'or DefaultSampler: train_cfg.max_epochs counts them (InfiniteSampler is for max_iters)',
        )


def _check_hooks(root: Any) -> None:
    for path in ('custom_hooks.*', 'param_scheduler.*'):
        for place, hook in find(root, path):
            if isinstance(hook, bool | int | float | str) and place.split('.')[-1].isdigit():
                refuse('', place, hook, "a dict with a type: dict(type='NAME', ...)")
            if isinstance(hook, Mapping) and 'type' not in hook and place.split('.')[-1].isdigit():
                refuse('', place, dict(hook), "a type, too: dict(type='NAME', ...)")


def find(root: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the places that a dotted path means in a config, and what is there; ``*`` is every key or number."""
    found: list[tuple[str, Any]] = [('', root)]
    for part in path.split('.'):
        found = [(f'{place}.{key}'.strip('.'), child) for place, node in found for key, child in _children(node, part)]
    yield from found


def _children(node: Any, part: str) -> list[tuple[Any, Any]]:
    if isinstance(node, list | tuple):
        return list(enumerate(node)) if part == '*' else []
    if not isinstance(node, Mapping):
        return []
    if part == '*' and 'type' in node:  # one part where there may be a list of them
        return [('', node)]
    if '*' in part:
        return [(key, child) for key, child in node.items() if str(key).endswith(part.removeprefix('*'))]
    return [(part, node[part])] if part in node else []


def as_whole(value: Any) -> Any:
    """Turn a float that is a whole number, as ``1e3`` is, into an integer: mmengine counts with either."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
