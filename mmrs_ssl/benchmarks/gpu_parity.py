"""Compare a training step on the device with the same step on the CPU, in float32."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmrs_ssl.benchmarks.gpu_setup import Workshop, method_config, rounds
from mmrs_ssl.benchmarks.gpu_table import Differs
from mmrs_ssl.benchmarks.measure import DEVICE
from mmrs_ssl.benchmarks.steps import Step
from mmrs_ssl.models.quiet import quiet

BATCH = 4
# Largest relative differences. Other kernels on one processor were seen to make 1e-6 of a term and, of an untrained
# ResNet-18 with BatchNorm on four images, 6e-4 of the gradients' norm and 4e-5 of 1 - cosine.
LOSS_LIMIT = 1e-3
LIMITS = {'norm': 5e-2, '1-cosine': 2e-2, 'step': 1e-3, 'teacher': 1e-3, 'buffers': 1e-3}


class Draws(TorchDispatchMode):
    """Record what torch draws at random, or give recorded draws again, whatever device asks for them.

    Everything that draws runs as ever, on its own device; in its result the numbers are replaced. So masks, stochastic
    depth and samples are the same on a GPU as on the CPU, whose generators differ.

    Args:
        recorded: draws to give again; by default they are recorded in ``recorded``.

    Raises:
        RuntimeError: if the second run draws anything else than the first, or more.
    """

    def __init__(self, recorded: Iterable[tuple[str, Tensor]] | None = None) -> None:
        super().__init__()
        self.replaying = recorded is not None
        self.recorded: deque[tuple[str, Tensor]] = deque(recorded or ())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = str(func.overloadpacket)
        # attention is marked as random too; its dropout is 0 in all configs
        if torch.Tag.nondeterministic_seeded not in func.tags or 'attention' in name:
            return out
        for drawn in tree_leaves(out):
            if self.replaying:
                self._replace(name, drawn)
            else:
                self.recorded.append((name, drawn.detach().cpu().clone()))
        return out

    def _replace(self, name: str, drawn: Tensor) -> None:
        before, numbers = self.recorded.popleft() if self.recorded else ('nothing', torch.empty(0))
        if before != name or numbers.shape != drawn.shape:
            raise RuntimeError(
                f'{name} draws {tuple(drawn.shape)} where {before} drew {tuple(numbers.shape)} on the CPU'
            )
        drawn.copy_(numbers)


@contextmanager
def exact() -> Iterator[None]:
    """Compute in float32 without TF32; on the CPU with other kernels than usual, to have something to compare."""
    settings: list[tuple[Any, str]] = [(torch.backends.mkldnn, 'enabled')]
    if DEVICE == 'cuda':
        settings = [(torch.backends.cuda.matmul, 'allow_tf32'), (torch.backends.cudnn, 'allow_tf32')]
    before = [getattr(*setting) for setting in settings]
    for owner, name in settings:
        setattr(owner, name, False)
    try:
        yield
    finally:
        for (owner, name), value in zip(settings, before, strict=True):
            setattr(owner, name, value)


def make_pair(cfg: Config) -> tuple[Step, Step]:
    """Make two models with the same weights and optimizers of their own: on the CPU, and on the device."""
    torch.manual_seed(0)
    with quiet():
        reference, checked = Step(cfg), Step(cfg)
        for step in (reference, checked):
            step.model.init_weights()
    reference.model.to('cpu')
    checked.model.load_state_dict(reference.model.state_dict())
    return reference, checked


def losses_of(step: Step, batch: dict[str, Any], draws: Draws) -> dict[str, Tensor]:
    """Return the terms of the loss, after their backward pass."""
    with draws:
        terms = step.model.loss(**step.model.data_preprocessor(batch, True))
    sum(terms.values()).backward()
    return {name: term.detach() for name, term in terms.items()}


def compare_method(shop: Workshop, method: str, family: str) -> dict[str, Any]:
    """Measure the largest relative differences between device and CPU over one training step.

    The terms of the loss, the norm of all gradients and how far they turn (1 - cosine); then, with the CPU's gradients
    on both sides, the optimizer's step, the teacher's and the buffers (queue, center, BatchNorm's averages).
    """
    cfg = method_config(method, family, shop.small)
    reference, checked = make_pair(cfg)
    batch = shop.batch(cfg, BATCH)
    rng = torch.Generator().manual_seed(0)
    for sample in batch['data_samples']:
        if 'boxes' in sample:  # in whole pixels some cells are equally near, and either may be taken
            sample.boxes = sample.boxes + torch.rand(sample.boxes.shape, generator=rng)
    draws = Draws()
    expected = losses_of(reference, batch, draws)
    with exact():
        found = losses_of(checked, batch, Draws(draws.recorded))
        if expected.keys() != found.keys():
            raise ArithmeticError(f'terms {sorted(found)} instead of {sorted(expected)}')
        terms = {name: relative(found[name], expected[name]) for name in expected}
        rest = compare_gradients(reference.model, checked.model) | compare_update(reference, checked)
    figures = terms | rest
    limits = dict.fromkeys(terms, LOSS_LIMIT) | LIMITS
    over = [
        f'{name} {value:.3g} is above {limits[name]:g}' for name, value in figures.items() if not value <= limits[name]
    ]
    if over:
        raise Differs(', '.join(over), figures)
    return figures


def compare_gradients(reference: nn.Module, checked: nn.Module) -> dict[str, float]:
    """Return the relative difference of the gradients' norms, and 1 - their cosine; then copy the reference's.

    Raises:
        ArithmeticError: if another parameter has a gradient.
    """
    expected, found = [], []
    for (name, here), there in zip(reference.named_parameters(), checked.parameters(), strict=True):
        if (here.grad is None) != (there.grad is None):
            raise ArithmeticError(f'{name} has a gradient on one side only')
        if here.grad is not None and there.grad is not None:
            expected.append(here.grad.double().flatten())
            found.append(there.grad.cpu().double().flatten())
            there.grad.copy_(here.grad)
    own, other = torch.cat(expected), torch.cat(found)
    cosine = float(own @ other / (own.norm() * other.norm()))
    return {'norm': relative(other.norm(), own.norm()), '1-cosine': max(0.0, 1 - cosine)}


def compare_update(reference: Step, checked: Step) -> dict[str, float]:
    """Return relative differences of what optimizer, teacher and buffers do in a step with equal gradients."""
    sides = reference.model, checked.model
    moved = {}
    for part, move in (('step', Step.optimize), ('teacher', move_teacher)):
        before = [[parameter.detach().clone() for parameter in parameters(side, part)] for side in sides]
        for step in (reference, checked):
            move(step)
        changes = [movement(old, parameters(side, part)) for side, old in zip(sides, before, strict=True)]
        if not changes[0].any():
            raise ArithmeticError(f'nothing moves in {part}')
        moved[part] = relative(changes[1], changes[0])
    buffers = [dict(side.named_buffers()) for side in sides]
    moved['buffers'] = max(relative(buffers[1][name], value) for name, value in buffers[0].items())
    return moved


def movement(before: list[Tensor], after: list[nn.Parameter]) -> Tensor:
    """Return how far all parameters went, as one vector on the CPU."""
    return torch.cat([(now.detach() - then).cpu().flatten() for now, then in zip(after, before, strict=True)])


def parameters(model: Any, part: str) -> list[nn.Parameter]:
    """Return the teacher's parameters, or the student's."""
    teacher = list(model.teacher.parameters())
    known = {id(parameter) for parameter in teacher}
    return teacher if part == 'teacher' else [each for each in model.parameters() if id(each) not in known]


def move_teacher(step: Step) -> None:
    """Update the teacher far enough to be told from rounding."""
    step.model.teacher.momentum = 0.5
    step.model.update_teacher()


def relative(found: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference relative to that of what is expected; infinite if either is not finite."""
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    difference = float((found - expected).norm()) / max(float(expected.norm()), 1e-12)
    return difference if math.isfinite(difference) else math.inf


def checks() -> Iterator[tuple[str, Callable[[Workshop], dict[str, Any]]]]:
    """List the rows: every method with every backbone it runs with."""
    for method, family in rounds():
        yield f'{method}, {family}', partial(compare_method, method=method, family=family)
