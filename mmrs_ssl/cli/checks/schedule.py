"""Compare the learning rate with the batch, and its schedule with the length of the training."""

from collections.abc import Iterator
from typing import Any

from mmrs_ssl.cli.checks.findings import Finding, setting
from mmrs_ssl.cli.checks.planned import PlannedTraining

LONGEST_WARMUP = 0.5  # share of the training
FAR_END = 0.05  # share of the training by which a schedule may miss its end
HIGHEST = 0.1  # learning rate of Adam and its kin; above it no network is known to train
_ADAPTIVE = ('Adam', 'Adan', 'NAdam', 'RAdam', 'Lion')


def check_learning_rate(planned: PlannedTraining) -> Iterator[Finding]:
    """Compare the batch that the learning rate was chosen for with that of this training."""
    cfg = planned.cfg
    scale = cfg.get('auto_scale_lr') or {}
    base, total = scale.get('base_batch_size'), planned.total_batch
    rate = (cfg.optim_wrapper.get('optimizer') or {}).get('lr')
    if base is None or rate is None or scale.get('enable') or total == base:
        return
    yield Finding(
        'warning',
        'learning rate',
        f'lr = {rate:g} is that of {base:g} images, a step has {total} ({planned.batch} on each of {planned.devices} '
        'devices, with accumulated batches), and nothing scales it',
        f'lr = {rate * total / base:.4g}',
        'auto_scale_lr.enable = True (--auto-scale-lr), or '
        + setting(cfg, 'lr', f'{rate * total / base:.4g}', 'optim_wrapper.optimizer.lr'),
    )


def check_size(planned: PlannedTraining) -> Iterator[Finding]:
    """Look at the learning rate of a step, and whether its schedule ends below it."""
    cfg = planned.cfg
    optimizer = cfg.optim_wrapper.get('optimizer') or {}
    rate, scale = optimizer.get('lr'), cfg.get('auto_scale_lr') or {}
    if rate is None:
        return
    if scale.get('enable'):
        rate = rate * planned.total_batch / (scale['base_batch_size'] * scale.get('accumulated', 1))
    kind = str(optimizer.get('type')).rsplit('.', 1)[-1]
    if not rate:
        yield Finding(
            'warning',
            'learning rate',
            'lr = 0 changes no weight',
            'a number above 0',
            setting(cfg, 'lr', '0.001', 'optim_wrapper.optimizer.lr'),
        )
    if rate > HIGHEST and any(name in kind for name in _ADAPTIVE) and not kind.startswith('DAdapt'):
        yield Finding(
            'warning',
            'learning rate',
            f'{kind} with {rate:g} for a step of {planned.total_batch} images',
            f'at most {HIGHEST:g}, usually 1e-5 to 0.01',
            setting(cfg, 'lr', '0.001', 'optim_wrapper.optimizer.lr'),
        )
    schedulers = cfg.get('param_scheduler') or []
    for number, each in enumerate(schedulers if isinstance(schedulers, list) else [schedulers]):
        lowest = each.get('eta_min')
        if str(each.get('type')).endswith('LR') and rate and lowest and lowest >= rate:
            yield Finding(
                'warning',
                'schedule',
                f'the learning rate falls from {rate:.4g} to {lowest:g}, which is not below',
                'a lowest value far below the first one',
                f'param_scheduler.{number}.eta_min = {rate / 1000:.1g}',
            )


def check_temperatures(planned: PlannedTraining) -> Iterator[Finding]:
    """Compare the teacher's temperature, also where a hook takes it in the training, with the student's."""
    student, path = getattr(planned.model, 'student_temperature', None), 'teacher_temperature'
    hooks = [hook for hook in planned.cfg.get('custom_hooks') or [] if hook.get('path') == path]
    values = {f'model.{path}': getattr(planned.model, path, None)}
    values |= {f'{key} of the hook of {path}': hook.get(key) for hook in hooks for key in ('start', 'end')}
    for place, value in values.items():
        if student is not None and isinstance(value, int | float) and value >= student:
            yield Finding(
                'warning',
                'temperature',
                f"{place} is {value:g}, the student's {student:g}",
                "the teacher's below the student's: its targets have to be sharper, or features become equal",
                f'model.{path} = {0.4 * student:g}, and hooks that change it',
            )


def check_warmup(planned: PlannedTraining) -> Iterator[Finding]:
    """Compare the warm-up and the end of every schedule of the learning rate with the length of the training."""
    cfg, loop = planned.cfg, planned.cfg.train_cfg
    schedulers = cfg.get('param_scheduler') or []
    for number, each in enumerate(schedulers if isinstance(schedulers, list) else [schedulers]):
        path, kind = f'param_scheduler.{number}', str(each.get('type')).rsplit('.', 1)[-1]
        by_epoch = each.get('by_epoch', True)
        epochs = loop.get('max_epochs') or planned.steps / max(planned.steps_per_epoch, 1)
        length, unit = (epochs, 'epochs') if by_epoch else (planned.steps, 'steps')
        if 'share' in each or kind.startswith(('Linear', 'Constant')):
            yield from _warmup(planned, each, path, length, unit)
        elif kind.startswith(('Cosine', 'Poly')):
            end = each.get('end') or each.get('begin', 0) + each.get('T_max', length - each.get('begin', 0))
            if abs(end - length) > FAR_END * length:
                late = end > length
                yield Finding(
                    'warning',
                    'schedule',
                    f'{kind} ends after {end:g} {unit}, the training after {length:g}: '
                    + ('the value is still high at the end' if late else 'the rest has its lowest value'),
                    'one end',
                    f'{path}.end = {length:g}' + (f', {path}.T_max left out' if 'T_max' in each else ''),
                )


def _warmup(planned: PlannedTraining, each: Any, path: str, length: float, unit: str) -> Iterator[Finding]:
    share = each.share if 'share' in each else (each.get('end', length) - each.get('begin', 0)) / length
    if share <= LONGEST_WARMUP or ('share' not in each and 'end' not in each):
        return
    if str(each.get('type')).rsplit('.', 1)[-1].startswith('Cosine'):
        return  # it follows the warm-up, which is said once
    setting_line = f'{path}.end = {max(1, round(length / 10))}'
    if 'share' in each:
        setting_line = setting(planned.cfg, 'warmup', 0.1, f'{path}.share')
    yield Finding(
        'warning',
        'warm-up',
        f'the learning rate rises for {share:.0%} of {length:g} {unit}',
        f'at most {LONGEST_WARMUP:.0%} of the training, usually 2 to 15 %',
        setting_line,
    )
