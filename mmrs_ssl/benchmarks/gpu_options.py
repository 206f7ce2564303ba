"""Measure what channels-last memory and ``torch.compile`` do for a training step, each on and off."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from mmrs_ssl.benchmarks.gpu_parity import relative
from mmrs_ssl.benchmarks.gpu_setup import Workshop, mapped
from mmrs_ssl.benchmarks.gpu_speed import speed_config, time_step, title, whole_step
from mmrs_ssl.benchmarks.gpu_table import Differs
from mmrs_ssl.benchmarks.measure import DEVICE, seconds
from mmrs_ssl.benchmarks.steps import Step
from mmrs_ssl.models.quiet import quiet

BATCH, SMALL_BATCH = 64, 4
LIMIT = 0.05  # of the relative difference between a compiled term and the plain one, both in bfloat16
CONVOLUTIONS = (
    'cmid/cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px',
    'dino_mc/dino-mc_resnet50_4xb64-amp-coslr-300e_seco-224px',
)
# the shortest to compile first
COMPILED = (
    'dino_mc/dino-mc_resnet50_4xb64-amp-coslr-300e_seco-224px',
    'mssdf/mssdf_vit-base_8xb64-amp-coslr-500e_hr-pairs-320px',
    'cmid/cmid_vit-base_4xb64-amp-coslr-200e_millionaid-224px',
    'cmid/cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px',
)


def prepare(shop: Workshop, name: str) -> tuple[Step, dict[str, Any]]:
    """Build a published config's model anew, and bring a normalized batch to the device."""
    cfg = speed_config(name, shop.small)
    shop.clear()
    step = shop.step(name, cfg)
    with quiet():
        step.model.init_weights()
    return step, step.model.data_preprocessor(shop.batch(cfg, SMALL_BATCH if shop.small else BATCH), True)


def channels_last(shop: Workshop, name: str) -> dict[str, Any]:
    """Measure how much faster a step is with channels last in memory, as configs have it, than with channels first."""
    step, data = prepare(shop, name)
    last = time_step(partial(whole_step, step, data))
    step.model.to(memory_format=torch.contiguous_format)
    data['inputs'] = mapped(data['inputs'], lambda view: view.contiguous())
    first = time_step(partial(whole_step, step, data))
    shop.clear()
    return {'on_ms': 1000 * last, 'off_ms': 1000 * first, 'faster_by': first / last}


def compiled(shop: Workshop, name: str) -> dict[str, Any]:
    """Measure how much faster a compiled step is, how long compiling takes, and how far its terms are from a plain's.

    The loss is compiled as mmengine's runner does it. On a CPU no code is generated: operators run as they were traced.

    Raises:
        Differs: if a term is not what it is without compiling.
    """
    step, data = prepare(shop, name)
    start = [tensor.clone() for tensor in step.model.state_dict().values()]
    expected = terms_at(step, data, start)
    plain = time_step(partial(whole_step, step, data))
    # torch's own generators instead of the compiler's, or masks would differ
    options: dict[str, Any] = dict(backend='aot_eager') if DEVICE == 'cpu' else dict(options=dict(fallback_random=True))
    step.model.loss = torch.compile(step.model.loss, **options)
    compiling = seconds(partial(whole_step, step, data))
    fast = time_step(partial(whole_step, step, data))
    found = terms_at(step, data, start)
    shop.clear()
    torch.compiler.reset()
    difference = max(relative(found[term], expected[term]) for term in expected)
    figures = {'on_ms': 1000 * fast, 'off_ms': 1000 * plain, 'faster_by': plain / fast, 'compiling_s': compiling}
    figures['difference'] = difference
    if not difference <= LIMIT:
        raise Differs(f'a compiled term is off by {difference:.3g}, more than {LIMIT}', figures)
    return figures


def terms_at(step: Step, data: dict[str, Any], state: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Compute the terms of the loss in bfloat16, of weights and buffers as they were and the draws of one seed."""
    with torch.no_grad():
        for tensor, before in zip(step.model.state_dict().values(), state, strict=True):
            tensor.copy_(before)
    torch.manual_seed(1)
    with step.autocast(True):
        terms = step.model.loss(**data)
    return {name: term.detach() for name, term in terms.items()}


def checks(small: bool) -> Iterator[tuple[str, Callable[[Workshop], dict[str, Any]]]]:
    """List the rows: networks with convolutions for their memory; each method for compiling, while there is time."""
    for kind, measure, names in (('channels-last', channels_last, CONVOLUTIONS), ('compile', compiled, COMPILED)):
        for name in names[:1] if small else names:
            yield f'{kind}, {title(name, small)}', partial(measure, name=name)
