"""Bring a checkpoint to the plan of the config: where in the training it stands, and the learning rates there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from mmengine.optim import OptimWrapperDict
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler


def convert(position: tuple[int, int], before: int, now: int, step: int) -> tuple[int, int]:
    """Convert a position to epochs of another length: as many epochs, and as much of one, have been seen.

    Args:
        position: iteration and epoch.
        before, now: iterations of an epoch.
        step: iterations whose gradients are accumulated; a position between two steps moves back to the first.

    Returns:
        Iteration and epoch.
    """
    iteration, epoch = position
    if before == now and iteration % step == 0:
        return iteration, epoch
    iteration = iteration * now // before
    iteration -= iteration % step
    return iteration, iteration // now


def length_before(position: tuple[int, int], now: int, other_batch: bool) -> int:
    """Say how many iterations an epoch had where a checkpoint does not, as mmengine's own.

    Args:
        position: iteration and epoch; mmengine's hook saves inside an epoch, too.
        now: iterations of an epoch.
        other_batch: whether the batch or the processes, on which that depends, are others now.
    """
    iteration, epoch = position
    inside = epoch * now <= iteration <= (epoch + 1) * now
    return now if not epoch or (inside and not other_batch) else max(1, iteration // epoch)


def as_built(runner: Any, checkpoint: dict[str, Any], iteration: int, epoch: int) -> bool:
    """Tell whether a checkpoint has the state of all schedulers of the config, each at this position."""
    saved, built = checkpoint.get('param_schedulers'), runner.param_schedulers
    if built is None:
        return True
    pairs: list[tuple[Any, Any]] = [(saved, built)]
    if isinstance(built, dict):
        if not isinstance(saved, dict) or saved.keys() != built.keys():
            return False
        pairs = [(saved[name], part) for name, part in built.items()]
    for states, schedulers in pairs:
        if not isinstance(states, list) or len(states) != len(schedulers):
            return False
        for state, scheduler in zip(states, schedulers, strict=True):
            if not isinstance(state, dict) or state.keys() != scheduler.state_dict().keys():
                return False
            stands = epoch if scheduler.by_epoch else iteration
            if not isinstance(scheduler, ReduceOnPlateauParamScheduler) and state.get('_global_step', stands) != stands:
                return False
    return True


def replay(runner: Any, checkpoint: dict[str, Any], iteration: int, epoch: int, length: int) -> None:
    """Write into a checkpoint what it would hold of optimizer settings and schedulers, had it been made by this config.

    mmengine's schedulers compute a value from the one before. So those that were built from the config are stepped as
    often as a training steps them, and replace what was saved; averages of the optimizer stay.

    Raises:
        ValueError: for a scheduler that depends on results.
    """
    schedulers = list(_schedulers(runner))
    if any(isinstance(each, ReduceOnPlateauParamScheduler) for each in schedulers):
        raise ValueError(
            'the schedule follows validation results, which cannot be repeated for a changed config: go on with the '
            'settings of the checkpoint'
        )
    every_iteration = [each for each in schedulers if not each.by_epoch]
    every_epoch = [each for each in schedulers if each.by_epoch]
    with one_group_of_a_kind(schedulers):
        for done in range(1, iteration + 1):
            for each in every_iteration:
                each.step()
            if done % length == 0 and done // length <= epoch:
                for each in every_epoch:
                    each.step()
    wrapper = runner.optim_wrapper
    several = isinstance(wrapper, OptimWrapperDict)
    for name, each in wrapper.items() if several else [('', wrapper)]:
        saved = checkpoint['optimizer'][name] if several else checkpoint['optimizer']
        current = each.state_dict()
        saved.update({key: current[key] for key in ('param_groups', 'base_param_settings') if key in current})
    if isinstance(runner.param_schedulers, dict):
        states: Any = {name: [each.state_dict() for each in part] for name, part in runner.param_schedulers.items()}
    else:
        states = [each.state_dict() for each in schedulers]
    if runner.param_schedulers is not None:
        checkpoint['param_schedulers'] = states


@contextmanager
def one_group_of_a_kind(schedulers: Sequence[Any]) -> Iterator[None]:
    """Let schedulers step one parameter group of each kind in the place of all, which are often one per parameter.

    Groups of the same settings get the same values; a hundred thousand steps then take seconds instead of minutes.
    """
    standing_in: dict[int, tuple[Any, list[int], list[dict[str, Any]]]] = {}
    kept = [(each, each.optimizer, each.base_values) for each in schedulers]
    for scheduler, optimizer, values in kept:
        if id(optimizer) not in standing_in:
            groups, kinds = optimizer.param_groups, list[str]()
            for settings in map(_settings, groups):
                if repr(settings) not in kinds:
                    kinds.append(repr(settings))
            places = [kinds.index(repr(_settings(group))) for group in groups]
            few = [_settings(groups[places.index(place)]) for place in range(len(kinds))]
            stand_in = SimpleNamespace(param_groups=few, step=optimizer.step, _global_step=0)
            standing_in[id(optimizer)] = stand_in, places, groups
        stand_in, places, _ = standing_in[id(optimizer)]
        scheduler.optimizer = stand_in
        scheduler.base_values = [values[places.index(place)] for place in range(len(stand_in.param_groups))]
    yield
    for stand_in, places, groups in standing_in.values():
        for group, place in zip(groups, places, strict=True):
            group.update(stand_in.param_groups[place])
    for scheduler, optimizer, values in kept:
        scheduler.optimizer, scheduler.base_values = optimizer, values
        _, places, _ = standing_in[id(optimizer)]
        scheduler._last_value = [scheduler._last_value[place] for place in places]


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != 'params'}


def _schedulers(runner: Any) -> Iterator[Any]:
    built = runner.param_schedulers or []
    for part in built.values() if isinstance(built, dict) else [built]:
        yield from part
