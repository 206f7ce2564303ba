"""Log how much of the backbone's gradient each term of a loss makes up, so that one that drowns the others is seen."""

import re
from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmpretrain.utils import get_ori_model
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from mmrs_ssl.engine.hooks.gradients import single_wrapper
from mmrs_ssl.options import COUNT, check_numbers
from mmrs_ssl.registry import HOOKS

Losses = dict[str, Any]
Parsed = tuple[Tensor, dict[str, Tensor]]


@HOOKS.register_module()
class GradientShareHook(Hook):
    """Log each loss term's share of the gradient of the backbone.

    ``share_TERM`` is the norm of a term's gradient, weighted as ``loss()`` returns it, relative to the sum of all
    terms' norms. ``share_together`` is the norm of all gradients added up relative to that sum: 1 if all terms pull the
    same way, 0 if they undo each other. ``gradient_norm`` is that norm itself, of this iteration's batch.

    That takes a backward pass for each term, through the graph of the step's own, which then comes as always: neither
    gradients nor random draws nor anything else of the training changes. Meanwhile there are two more copies of the
    module's gradients in memory. The values travel with the step's losses, so they stay on the device until the log is
    written. Several processes average their norms. Of a model with a single term nothing is logged.

    Args:
        interval: iterations between two measurements; the first iteration is measured, too. The logger's next line
            has the last one.
        module: path of the part of the model whose gradients are compared.
    """

    def __init__(self, interval: int = 50, module: str = 'backbone') -> None:
        check_numbers(self, COUNT, interval=interval)
        self.interval = interval
        self.module = module
        self.single = False  # once seen
        self._parameters: list[nn.Parameter] = []

    def before_train(self, runner: Any) -> None:
        """Find the parameters; refuse what has none."""
        single_wrapper(runner)
        try:
            part = get_ori_model(runner.model).get_submodule(self.module)
        except AttributeError as error:
            raise AttributeError(f'GradientShareHook: the model has no {self.module!r} ({error})') from error
        self._parameters = [parameter for parameter in part.parameters() if parameter.requires_grad]
        if not self._parameters:
            raise ValueError(
                f'GradientShareHook: no parameter of {self.module!r} is trained, so no term has a gradient on it; name '
                'another module, or leave the hook out'
            )

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Let this step measure its terms if it is time; afterwards the model is as it was."""
        if self.single or not (runner.iter == 0 or self.every_n_train_iters(runner, self.interval)):
            return
        model = get_ori_model(runner.model)
        step, parse = runner.model.train_step, model.parse_losses

        def measuring(losses: Losses) -> Parsed:
            return self._measured(runner, losses, parse(losses))

        def once(*args: Any, **options: Any) -> dict[str, Tensor]:
            give_step_back()
            give_parsing_back = put_in_place(model, 'parse_losses', measuring)
            try:
                return step(*args, **options)
            finally:
                give_parsing_back()

        give_step_back = put_in_place(runner.model, 'train_step', once)

    def _measured(self, runner: Any, losses: Losses, parsed: Parsed) -> Parsed:
        total, log = parsed
        terms = {name: log[name] for name in losses if 'loss' in name}
        if len(terms) < 2:
            self.single = True
            runner.logger.info(
                f'GradientShareHook: the loss has no terms to compare ({", ".join(terms) or "none"}), so no shares of '
                'gradients are logged'
            )
            return parsed
        scale = getattr(runner.optim_wrapper, 'loss_scaler', None)
        norms = gradient_norms(list(terms.values()), self._parameters, scale.scale if scale else None)
        all_reduce(norms, 'mean')
        each, together = norms[:-1], norms[-1]
        whole = each.sum().clamp(min=torch.finfo(norms.dtype).tiny)
        shares = dict(zip(share_names(list(terms)), each / whole, strict=True))
        return total, {**log, **shares, 'share_together': together / whole, 'gradient_norm': together}


def gradient_norms(
    terms: list[Tensor], parameters: list[nn.Parameter], scale: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Compute the norms of the gradients of terms, and of their sum, on the same parameters.

    Args:
        terms: scalars, whose graph is kept.
        parameters: those that a term does not depend on count as 0.
        scale: what brings a float16 loss into the range in which its gradients do not vanish; taken out of the norms.

    Returns:
        (T + 1,), float32.
    """
    one = torch.ones((), device=parameters[0].device)
    norms, added = [], [torch.zeros_like(parameter) for parameter in parameters]
    for term in terms:
        if not term.requires_grad:
            norms.append(torch.zeros_like(one))
            continue
        scaled = term if scale is None else scale(term)
        found = torch.autograd.grad(scaled, parameters, retain_graph=True, materialize_grads=True)
        norms.append(get_total_norm(found).to(one))
        torch._foreach_add_(added, found)
    norms.append(get_total_norm(added).to(one))
    return torch.stack(norms) / (one if scale is None else scale(one))


def share_names(terms: list[str]) -> list[str]:
    """Name the shares of terms in the log: ``loss_alignment`` has ``share_alignment``.

    The word loss is left out, since mmengine's log averages what is named so over several lines.
    """
    short = [re.sub('_*loss_*', '', term) or 'main' for term in terms]
    return [f'share_{name}' for name in (short if len(set(short)) == len(short) else terms)]


def put_in_place(owner: nn.Module, name: str, function: Callable[..., Any]) -> Callable[[], None]:
    """Put a function in the place of a module's method; returns what gives the method back."""
    before = vars(owner).get(name)  # another function that stands there already, as torch.compile's does

    def give_back() -> None:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    setattr(owner, name, function)
    return give_back
