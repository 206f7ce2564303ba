"""Refuse a checkpoint that torch reads and whose parts are not what they are called."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

# What optimizers keep of a parameter in its own shape.
_LIKE_PARAMETER = (
    *('exp_avg', 'exp_avg_sq', 'exp_avg_diff', 'exp_inf', 'max_exp_avg_sq', 'momentum_buffer'),
    *('square_avg', 'grad_avg', 'acc_delta', 'sum', 'prev', 'pre_grad'),
)
_CHANGED = 'it was changed, a training cannot go on from it'


def check_content(checkpoint: Any, file: str) -> None:
    """Refuse what is no weights by their names, alone or in ``state_dict``.

    Raises:
        ValueError: with the file, what was found and what was expected.
    """
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'{file} holds an object of type {_kind(checkpoint)}, expected a dict: weights by their names, or a '
            'checkpoint with them in state_dict'
        )
    for part in ('state_dict', 'meta'):
        value = checkpoint.get(part, {})
        if not isinstance(value, dict) and (part, value) != ('meta', None):
            raise ValueError(f'{file}: its {part} is of type {_kind(value)}, expected a dict; give another file')


def check_message_hub(checkpoint: dict[str, Any], file: str) -> None:
    """Refuse a checkpoint without the logs and counters that mmengine goes on with.

    Raises:
        ValueError: saying which part.
    """
    for part in ('log_scalars', 'runtime_info', 'resumed_keys'):
        if not isinstance(checkpoint['message_hub'].get(part), dict):
            raise ValueError(f'{file}: its message_hub has no {part}, expected a dict: {_CHANGED}')


def check_averages(runner: Any, checkpoint: dict[str, Any], file: str) -> None:
    """Refuse a checkpoint in which the averaged weights of a library's hook, as EMAHook's, are missing or others.

    Raises:
        ValueError: saying what is missing.
    """
    for hook in runner.hooks:
        if not isinstance(average := getattr(hook, 'ema_model', None), nn.Module):
            continue
        name, saved = type(hook).__name__, checkpoint.get('ema_state_dict')
        if not isinstance(saved, dict):
            raise ValueError(
                f'{file} has no ema_state_dict, the second half of what {name} averages: go on from a file that has '
                'it, or without that hook'
            )
        own = average.state_dict()
        odd = sorted({*own} ^ {*saved}) or [key for key in own if _shape(saved[key]) != _shape(own[key])]
        if odd:
            raise ValueError(
                f"{file}: {len(odd)} of the weights in its ema_state_dict are missing, not of {name}'s model, or of "
                f'another shape: {some(odd)}. Go on with the config it was made with'
            )


def check_kinds(saved: dict[str, Any], file: str) -> None:
    """Refuse the state of an optimizer that is not groups of parameters and averages of each.

    Raises:
        ValueError: saying what was found.
    """
    groups, states = saved['param_groups'], saved['state']
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        found = f'param_groups of type {_kind(groups)}'
    elif not all(isinstance(ids := group.get('params'), list) and {*map(type, ids)} <= {int} for group in groups):
        found = 'a group without the numbers of its params'
    elif not isinstance(states, dict) or not all(isinstance(each, dict) for each in states.values()):
        found = f'a state of type {_kind(states)}'
    else:
        return
    raise ValueError(
        f'{file}: its optimizer has {found}, expected a list of groups with params, and a dict of averages: {_CHANGED}'
    )


def check_states(saved: dict[str, Any], groups: Sequence[dict[str, Any]], file: str) -> None:
    """Refuse averages that are missing where similar parameters have them, or not of the shape of the parameter.

    Args:
        saved: state of an optimizer.
        groups: of the optimizer that takes it, with as many parameters.
        file: its name, for messages.

    Raises:
        ValueError: saying which.
    """
    for old, new in zip(saved['param_groups'], groups, strict=False):
        pairs = [(i, like, saved['state'].get(i)) for i, like in zip(old['params'], new['params'], strict=True)]
        kept = [(i, like, state) for i, like, state in pairs if state is not None]
        # of some optimizers what is kept depends on the number of dimensions, of 8-bit ones on the size as well
        expected: dict[Any, set[str]] = {}
        for _, like, state in kept:
            expected.setdefault(like.ndim, set()).update({*_LIKE_PARAMETER, 'step'} & state.keys())
            expected.setdefault(like.shape, set()).update(state)
        for i, like, state in kept:
            missing = sorted(map(str, (expected[like.ndim] | expected[like.shape]) - state.keys()))
            odd = [key for key in _LIKE_PARAMETER if state.get(key) is not None and _shape(state[key]) != like.shape]
            if missing or odd:
                found = f'no {missing[0]}' if missing else f'{odd[0]} of {_shape(state[odd[0]])}'
                raise ValueError(
                    f'{file}: its optimizer has {found} for parameter {i}, expected one of {like.shape}: {_CHANGED}'
                )


def some(names: Sequence[str], shown: int = 6) -> str:
    """List names, the first ones of many."""
    return ', '.join(names[:shown]) + (f' and {len(names) - shown} more' if len(names) > shown else '')


def _kind(value: Any) -> str:
    return type(value).__name__


def _shape(value: Any) -> Any:
    """Return a tensor's shape; the type of anything else."""
    return value.shape if isinstance(value, Tensor) else type(value)
