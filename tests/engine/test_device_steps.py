"""What follows the backward pass, on a device that is not there, and whole iterations with all their hooks."""

from itertools import pairwise

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch import nn

from mmrs_ssl import get_config
from mmrs_ssl.engine.hooks import ClipEachGradientHook
from mmrs_ssl.engine.hooks.gradients import clip_each
from mmrs_ssl.models.heads import QueueContrastHead
from mmrs_ssl.models.losses import PrototypeCenter
from tests.conftest import TestProbe, cmid_config, dino_config, mssdf_config
from tests.fake_devices import FakeDevice, untrained
from tests.fourth import fourth_config

SMALL = dict(fusion=dict(layers=1), decoder=dict(layers=1))
CONFIGS = dict(cmid=cmid_config('vit'), dino_mc=dino_config('vit'), mssdf=mssdf_config(**SMALL))
PUBLISHED = dict(
    cmid='cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px',
    dino_mc='dino-mc_resnet50_4xb64-amp-coslr-300e_seco-224px',
    mssdf='mssdf_vit-base_8xb64-amp-coslr-500e_hr-pairs-320px',
)
# Waiting that is not mine. mmengine logs the norm of what it clips at once, unless DeferredLogHook keeps it; torch's
# scaler asks whether a gradient was infinite before an optimizer's step that cannot be told on the device (Adan's).
CLIPPING = 'value: mmengine/optim/optimizer/optimizer_wrapper.py OptimWrapper._clip_grad'
SCALER = 'value: torch/amp/grad_scaler.py GradScaler._maybe_opt_step'

LAST_LAYER = 'head.last_layer.parametrizations.weight.original1'


def with_gradients(module):
    """Its parameters that train, each with a gradient."""
    params = [param for param in module.parameters() if param.requires_grad]
    for param in params:
        param.grad = torch.zeros_like(param)
    return params


@pytest.mark.parametrize('method', CONFIGS)
def test_teacher_follows(method):
    model = untrained(CONFIGS[method])
    with FakeDevice() as device:
        device.adopt(model)
        model.update_teacher()
        assert device.wrote_to(model.teacher.module.parameters())
    assert device.places() == []


def test_queue_and_center_move_on():
    with FakeDevice() as device:
        head, center = (device.adopt(module) for module in (QueueContrastHead(16, 24), PrototypeCenter(8)))
        head.enqueue(torch.zeros(7, 16, device='cuda'))
        center.update(torch.zeros(5, 8, device='cuda', dtype=torch.bfloat16))
        assert device.wrote_to([head.queue, head.queue_position, center.value])
    assert device.places() == []


@pytest.mark.parametrize('clip', [clip_each, nn.utils.clip_grad_norm_])
def test_clipping(clip):
    with FakeDevice() as device:
        params = with_gradients(device.adopt(untrained(CONFIGS['dino_mc'])))
        norm = clip(params, max_norm=3.0)
        assert norm.device.type == 'cuda'
        assert device.wrote_to(param.grad for param in params)
    assert device.places() == []


@pytest.mark.parametrize(
    ('method', 'precision', 'waits'),
    [
        ('cmid', 'single', []),
        ('cmid', 'mixed', [SCALER]),
        ('dino_mc', 'single', [CLIPPING]),
        ('dino_mc', 'mixed', [CLIPPING]),
        ('mssdf', 'single', []),
        ('mssdf', 'mixed', []),
    ],
)
@pytest.mark.filterwarnings('ignore:`torch.cuda.amp.GradScaler')  # mmengine's own call
def test_optimizer_of_the_published_config(method, precision, waits, monkeypatch):
    """Two steps, of which the first makes the optimizer's state."""
    monkeypatch.setattr('mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available', lambda: True)
    settings = get_config(f'{method}/{PUBLISHED[method]}').optim_wrapper
    if precision == 'single':
        settings = dict(optimizer=settings.optimizer, constructor=settings.constructor)
    model = untrained(CONFIGS[method])
    with FakeDevice() as device:
        wrapper = build_optim_wrapper(device.adopt(model), settings)
        if method == 'dino_mc':
            ClipEachGradientHook().attach(wrapper)
        if precision == 'mixed':
            wrapper.loss_scaler.scale(torch.zeros((), device='cuda'))
        for _ in range(2):
            params = with_gradients(model)
            wrapper.step()
        assert device.wrote_to(params)
        assert {wrapper.optimizer.state[param]['exp_avg'].device.type for param in params} == {'cuda'}
    assert device.places() == waits


def test_optimizer_that_counts_steps_on_the_cpu():
    """torch's AdamW reads its counters, which are not on the device."""
    model = untrained(CONFIGS['mssdf'])
    with FakeDevice() as device:
        params = with_gradients(device.adopt(model))
        optimizer = torch.optim.AdamW(params, lr=1e-3)
        optimizer.step()
        assert {optimizer.state[param]['step'].device.type for param in params} == {'cpu'}
        assert device.wrote_to(params)
    assert device.places() == []


class Enough(Exception):
    """As many iterations as are wanted."""


@pytest.mark.parametrize(
    'method', ['cmid', *(pytest.param(name, marks=pytest.mark.slow) for name in ('mssdf', 'dino_mc')), 'fourth']
)
def test_iterations_between_two_logs_wait_for_nothing(method, make_config, monkeypatch):
    """With every hook of the shipped configs; the first iteration makes pictures, the third would be logged.

    The fourth method says nothing of itself: monitor and pictures look at its backbone.
    """
    # the fused kernel of AdamW does not know this device; above it steps
    optimizer = {} if method == 'cmid' else dict(fused=False)
    cfg = make_config(
        f'default_hooks = dict(logger=dict(interval=3))\noptim_wrapper = dict(optimizer={optimizer!r})',
        model=fourth_config() if method == 'fourth' else CONFIGS[method],
    )
    if method == 'fourth':
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if 'substitution' not in str(hook.get('path'))]
    for hook in cfg.custom_hooks:
        if hook.type == 'mmrs_ssl.PictureHook':
            hook.samples = 1
    cfg.custom_hooks.append(dict(type='mmrs_ssl.GradientShareHook', interval=1))
    cfg.custom_hooks.append(dict(type='TestProbe'))
    counts = []

    def look(runner, batch):
        counts.append(len(device.found))
        if runner.iter == 2:
            raise Enough

    monkeypatch.setattr(TestProbe, 'calls', dict(before_train_iter=look))
    runner = Runner.from_cfg(cfg)
    monkeypatch.setattr(type(runner.model), 'init_weights', lambda model: None)  # there are no values
    with FakeDevice('meta') as device:
        device.adopt(runner.model)
        with pytest.raises(Enough):
            runner.train()
    pictures, waits = (device.found[start:end] for start, end in pairwise(counts))
    assert waits == []
    assert {wait.place.rsplit('/', 1)[0] for wait in pictures} <= {'mmrs_ssl/visualization'}
    assert bool(pictures) == (method != 'dino_mc')
    moved = runner.optim_wrapper.optimizer.state
    left = {name for name, param in runner.model.named_parameters() if param.requires_grad and param not in moved}
    assert left == ({LAST_LAYER} if method == 'dino_mc' else set())  # whose gradients FreezeHook drops
