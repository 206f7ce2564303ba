"""Measure how far the losses of mixed precision are from float32's on the device, and whether it trains."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import HOOKS

from mmrs_ssl.benchmarks.gpu_parity import Draws, relative
from mmrs_ssl.benchmarks.gpu_setup import METHODS, Workshop, families, method_config, mixed_settings, rounds
from mmrs_ssl.benchmarks.gpu_table import Differs, NotRun
from mmrs_ssl.benchmarks.measure import DEVICE
from mmrs_ssl.benchmarks.steps import Step
from mmrs_ssl.models.quiet import quiet

BATCH, STEPS = 8, 20
# Largest relative difference of a term from float32's; a float16 has three more bits than a bfloat16.
LIMITS = dict(bfloat16=0.1, float16=0.05)


def mixed_wrapper(cfg: Config, step: Step, dtype: str) -> OptimWrapper:
    """Build the config's optimizer, in a wrapper for mixed precision."""
    wrapper = build_optim_wrapper(step.model, mixed_settings(cfg, dtype))
    for hook in cfg.custom_hooks:
        if hook.type.endswith('ClipEachGradientHook'):
            HOOKS.build(hook).attach(wrapper)
    return wrapper


class Repeated:
    """One objective that every step meets again: same batch, draws and targets.

    Queue, center and teacher stay as they were, so that the loss has to fall when the student learns; while they move,
    as in a training, the task gets harder at first.
    """

    def __init__(self, step: Step, batch: dict[str, Any]) -> None:
        self.model = step.model
        self.batch = batch
        self.draws = Draws()
        self.buffers = [buffer.clone() for buffer in step.model.buffers()]

    def losses(self) -> dict[str, torch.Tensor]:
        """Compute the terms of the loss."""
        with torch.no_grad():
            for buffer, before in zip(self.model.buffers(), self.buffers, strict=True):
                buffer.copy_(before)
        draws = Draws(self.draws.recorded) if self.draws.recorded else self.draws
        with draws:
            terms: dict[str, torch.Tensor] = self.model.loss(**self.model.data_preprocessor(self.batch, True))
        return terms


def train_mixed(shop: Workshop, method: str, family: str, dtype: str) -> dict[str, Any]:
    """Measure the largest relative difference of a term from float32's, and 20 steps of training.

    Raises:
        NotRun: for float16 without a GPU.
        Differs: if a loss is not finite, far from float32's or does not fall, or too few steps are taken.
    """
    if dtype == 'float16' and DEVICE == 'cpu':
        raise NotRun('float16 and its loss scale need a GPU')
    cfg = method_config(method, family, shop.small)
    cfg.optim_wrapper.optimizer.lr /= 4  # a training warms up first
    torch.manual_seed(0)
    with quiet():
        step = Step(cfg)
        step.model.init_weights()
        wrapper = mixed_wrapper(cfg, step, dtype)
    repeated = Repeated(step, shop.batch(cfg, 4 if shop.small else BATCH))
    exact = {name: term.detach() for name, term in repeated.losses().items()}
    with wrapper.optim_context(step.model):
        mixed = repeated.losses()
    difference = max(relative(mixed[name], exact[name]) for name in exact)
    losses, taken = train(wrapper, repeated)
    teacher = [parameter.detach().clone() for parameter in step.model.teacher.parameters()]
    step.model.update_teacher()
    moved = any(not torch.equal(*pair) for pair in zip(teacher, step.model.teacher.parameters(), strict=True))
    figures = dict(difference=difference, first=losses[0], last=losses[-1], steps=sum(taken), teacher_moved=moved)
    if dtype == 'float16':
        figures['scale'] = wrapper.loss_scaler.get_scale()
    problems = {
        f'a term is off by {difference:.3g}, more than {LIMITS[dtype]}': not difference <= LIMITS[dtype],
        'a loss is not finite': not all(map(math.isfinite, losses)),
        f'the loss does not fall: {losses[0]:.4g} to {losses[-1]:.4g}': not losses[-1] < losses[0],
        f'{sum(taken)} of {STEPS} steps were taken, and {sum(taken[-5:])} of the last 5': not all(taken[-5:]),
        'the teacher does not move': not moved,
    }
    found = [problem for problem, holds in problems.items() if holds]
    if found:
        raise Differs(', '.join(found), figures)
    return figures


def train(wrapper: OptimWrapper, repeated: Repeated) -> tuple[list[float], list[bool]]:
    """Return the loss of every step, and whether its update was taken: a loss scale skips those that overflow."""
    losses, taken = [], []
    scaler = getattr(wrapper, 'loss_scaler', None)
    for _ in range(STEPS):
        with wrapper.optim_context(repeated.model):
            loss = sum(repeated.losses().values())
        before = scaler.get_scale() if scaler else 1.0
        wrapper.update_params(loss)
        taken.append((scaler.get_scale() if scaler else 1.0) >= before)  # it falls when a step is skipped
        losses.append(float(loss.detach()))  # type: ignore[union-attr]
    return losses, taken


def checks(dtype: str, small: bool) -> Iterator[tuple[str, Callable[[Workshop], dict[str, Any]]]]:
    """List the rows: every method with every backbone; for a CPU each method and each backbone once."""
    each = [(method, families(method)[number % len(families(method))]) for number, method in enumerate(METHODS)]
    for method, family in each if small else rounds():
        yield f'{method}, {family}', partial(train_mixed, method=method, family=family, dtype=dtype)
