"""Refuse a checkpoint that does not fill the model, or its optimizer."""

import re
from collections import OrderedDict
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

from mmengine.optim import OptimWrapperDict
from mmpretrain.utils import get_ori_model
from torch import Tensor

from mmrs_ssl.engine.resuming.parts import check_content, check_kinds, check_states, some


def check_weights(model: Any, checkpoint: dict[str, Any], file: str, allowed: Sequence[str], exact: bool) -> list[str]:
    """Load a checkpoint's weights and refuse it if any of the model's would keep what they have.

    Args:
        model: bare or wrapped.
        checkpoint: with weights in ``state_dict``, or weights alone.
        file: its name, for messages.
        allowed: patterns of names that may be missing, as a shell has them.
        exact: refuse weights that the model does not have too, and buffers of integers that are missing.

    Returns:
        Names of weights in the file that the model does not have.

    Raises:
        ValueError: listing what does not fit.
    """
    model = get_ori_model(model)
    check_content(checkpoint, file)
    saved = checkpoint.get('state_dict', checkpoint)
    strange = [key for key in saved if not isinstance(key, str)]
    if strange:
        raise ValueError(f'{file}: its weights have names like {strange[0]!r:.60}, expected text; give another file')
    weights = OrderedDict((re.sub(r'^module\.', '', key), value) for key, value in saved.items())
    weights._metadata = getattr(saved, '_metadata', None)  # type: ignore[attr-defined]  # versions of its modules
    own: dict[str, Tensor] = model.state_dict()
    known = [key for key in weights if isinstance(own.get(key), Tensor)]
    strange = [key for key in known if not isinstance(weights[key], Tensor)]
    if strange:
        kind = type(weights[strange[0]]).__name__
        raise ValueError(
            f'{file}: {len(strange)} of its weights are no tensors ({strange[0]} is of type {kind}); give another file'
        )
    resized: list[str] = []
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        resized = re.findall(r'size mismatch for (\S+?):', str(error))
        if not resized:
            raise ValueError(f'{file} does not fit {type(model).__name__} of the config: {error}') from None
        for key in resized:
            del weights[key]
        missing, unexpected = model.load_state_dict(weights, strict=False)
    missing = [key for key in missing if exact or key not in own or own[key].is_floating_point()]
    missing = [key for key in missing if not any(fnmatch(key, pattern) for pattern in allowed)]
    resized = [key for key in resized if key in missing]
    missing = [key for key in missing if key not in resized]
    parts = []
    if missing:
        parts.append(f'{len(missing)} weights of the model are not in it and would stay random: {some(missing)}')
    if resized:
        parts.append(f'{len(resized)} have another shape there: {some(resized)}')
    if exact and unexpected:
        parts.append(f'{len(unexpected)} of its weights are unknown to the model: {some(unexpected)}')
    if parts:
        pattern = f'{(missing or resized or unexpected)[0].split(".")[0]}.*'
        advice = 'go on with the config it was made with' if exact else f"or allow it with --allow-missing '{pattern}'"
        raise ValueError(
            f'{file} does not fit {type(model).__name__} of the config: {"; ".join(parts)}. Give the file that '
            f'belongs to this config, {advice}'
        )
    return list(unexpected)


def check_optimizer(runner: Any, checkpoint: dict[str, Any], file: str) -> None:
    """Refuse a checkpoint whose optimizer is not that of the model, or not whole.

    Raises:
        ValueError: saying what is missing.
    """
    wrapper = runner.optim_wrapper
    several = isinstance(wrapper, OptimWrapperDict)
    for name, each in wrapper.items() if several else [('', wrapper)]:
        saved = checkpoint['optimizer'].get(name) if several else checkpoint['optimizer']
        if not isinstance(saved, dict) or not {'state', 'param_groups'} <= saved.keys():
            raise ValueError(f'{file} holds no state of the optimizer {name}: a training cannot go on from it')
        check_kinds(saved, file)
        sizes = [[len(group['params']) for group in groups] for groups in (saved['param_groups'], each.param_groups)]
        if each.base_param_settings is not None:  # the last group, which is mmengine's own
            sizes[1] = sizes[1][:-1]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f'{file} holds an optimizer of {sum(sizes[0])} parameters in {len(sizes[0])} groups, this one has '
                f'{sum(sizes[1])} in {len(sizes[1])}: go on with the optim_wrapper it was made with'
            )
        check_states(saved, each.param_groups, file)
    said = checkpoint['meta'].get('optimizer_states')
    if said is not None and len(checkpoint['optimizer']['state']) != said:
        raise ValueError(
            f'{file} says that it holds the averages of {said} parameters and holds those of '
            f'{len(checkpoint["optimizer"]["state"])}: it was changed, a training cannot go on from it'
        )
