"""Time a whole training step against the compute that no implementation can leave out."""

import tempfile
from argparse import Namespace
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import HOOKS, MODELS
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mmrs_ssl.benchmarks.inputs import make_loader
from mmrs_ssl.benchmarks.measure import DEVICE, peak_memory, seconds
from mmrs_ssl.models.protocol import HasBarePasses, Passes
from mmrs_ssl.models.watch import BackboneWatch, Pass, main_output


class Step:
    """A model with its optimizer, and the parts of its training step."""

    def __init__(self, cfg: Config) -> None:
        self.model: Any = MODELS.build(cfg.model).to(DEVICE).train()
        self.update_teacher: Callable[[], None] | None = getattr(self.model, 'update_teacher', None)
        if self.update_teacher:
            self.model.teacher_is_updated = True
        settings = {**cfg.optim_wrapper, 'type': 'OptimWrapper'}
        for option in ('loss_scale', 'dtype'):
            settings.pop(option, None)
        self.optim: OptimWrapper = build_optim_wrapper(self.model, settings)
        for hook in cfg.custom_hooks:
            if hook.type == 'mmrs_ssl.ClipEachGradientHook':
                HOOKS.build(hook).attach(self.optim)

    def autocast(self, amp: bool) -> Any:
        """Return the context of the forward pass."""
        return torch.autocast(DEVICE, torch.bfloat16) if amp else nullcontext()

    def gradients(self, batch: dict[str, Any], amp: bool) -> None:
        """Preprocess, then run the forward pass, the losses and the backward pass."""
        data = self.model.data_preprocessor(batch, True)
        with self.autocast(amp):
            losses = self.model.loss(**data)
        sum(losses.values()).backward()

    def optimize(self) -> None:
        """Take the optimizer's step, and clear the gradients."""
        self.optim.step()
        self.optim.zero_grad()

    def passes(self, data: dict[str, Any]) -> tuple[Passes, Passes]:
        """Return the bare passes of the student, forward and backward, and of the teacher, forward only.

        Args:
            data: a batch as the data preprocessor returns it.
        """
        return self.model.bare_passes(data) if isinstance(self.model, HasBarePasses) else watched(self.model, data)

    def bare(self, student: Passes, teacher: Passes, amp: bool) -> None:
        """Run these passes and nothing else."""
        for network, given in student:
            with self.autocast(amp):
                out = network(given)
            out.backward(torch.ones_like(out))
        with torch.no_grad(), self.autocast(amp):
            for network, given in teacher:
                network(given)
        self.optim.zero_grad()


def watched(model: Any, data: dict[str, Any]) -> tuple[Passes, Passes]:
    """Find the passes of the backbone in a step, for a method that does not name its bare ones.

    Passes of other networks, such as a copy of it that is a teacher, are not seen; they count as heads and losses.
    """

    def kept(seen: Pass) -> tuple[bool, Callable[[Tensor], Tensor], Tensor]:
        def repeat(image: Tensor) -> Tensor:
            return main_output(model.backbone(image, *seen.rest, **seen.options))

        return main_output(seen.output).requires_grad, repeat, seen.image

    watch = BackboneWatch(model, 'benchmark', kept)
    watch.start()
    model.loss(**data)
    watch.stop()
    passes = watch.collect()
    student, teacher = (
        [(network, image) for trains, network, image in passes if trains == own] for own in (True, False)
    )
    return student, teacher


def time_model(cfg: Config, args: Namespace) -> None:
    """Print speed, memory and the ratio to the bare compute, for float32 and, if asked, mixed precision."""
    with tempfile.TemporaryDirectory() as folder:
        loader = iter(make_loader(cfg, args, Path(folder)))
        step = Step(cfg)
        batch = next(loader)
        data = step.model.data_preprocessor(batch, True)
        views, passes = data['inputs'], step.passes(data)
        modes = [False, True] if args.amp else [False]
        timings: dict[tuple[bool, str], list[float]] = {}

        def clock(amp: bool, part: str, work: Callable[[], Any]) -> None:
            timings.setdefault((amp, part), []).append(seconds(work))

        for _ in range(args.steps + 2):
            for amp in modes:
                clock(amp, 'bare', partial(step.bare, *passes, amp))
                clock(amp, 'gradients', partial(step.gradients, batch, amp))
                clock(amp, 'optimizer', step.optimize)
                clock(amp, 'teacher', step.update_teacher or (lambda: None))
            clock(False, 'loading', lambda: next(loader))
    typical = {key: median(values[2:]) for key, values in timings.items()}
    full = {amp: sum(typical[amp, part] for part in ('gradients', 'optimizer', 'teacher')) for amp in modes}
    sides = ' '.join(str(view.shape[-1]) for view in tree_leaves(views))
    print(
        f'{Path(args.config).name}: {DEVICE}, batch {args.batch_size}, {sides} px, '
        f'{torch.get_num_threads()} threads, median of {args.steps} steps'
    )
    for amp in modes:
        bare, whole = typical[amp, 'bare'], full[amp]
        print(
            f'{"bf16" if amp else "fp32"}: {args.batch_size / whole:.2f} images/s without data, '
            f'{args.batch_size / max(whole, typical[False, "loading"]):.2f} with data loaded beside it '
            f'(loading one batch in this process: {typical[False, "loading"]:.3f} s, '
            f'{args.batch_size / (whole + typical[False, "loading"]):.2f} images/s one after the other)'
        )
        print(
            f'      step {whole:.3f} s = bare compute {bare:.3f} s + heads and losses '
            f'{typical[amp, "gradients"] - bare:.3f} s + optimizer {typical[amp, "optimizer"]:.3f} s + teacher update '
            f'{typical[amp, "teacher"]:.3f} s;  ratio to bare {whole / bare:.3f}'
        )
    if args.amp:
        bare_gain = typical[False, 'bare'] / typical[True, 'bare']
        print(f'bf16 over fp32: {full[False] / full[True]:.2f} x (bare: {bare_gain:.2f} x)')
    print(f'peak memory {peak_memory():.2f} GB')
