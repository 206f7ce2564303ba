"""Clipping of each gradient and the frozen last layer, in real runs with accumulation and mixed precision."""

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmrs_ssl.engine.hooks import ClipEachGradientHook, FreezeHook
from mmrs_ssl.engine.hooks.gradients import clip_each
from mmrs_ssl.engine.optim import CPUAmpOptimWrapper
from tests.conftest import dino_config, train
from tests.engine.test_hooks import option

LAST = 'head.last_layer.parametrizations.weight.original1'
QUIET = "custom_hooks = [h for h in _base_.custom_hooks if 'Clip' not in h['type'] and 'Freeze' not in h['type']]\n"


def parameters_with(grads):
    params = [nn.Parameter(torch.zeros_like(grad)) for grad in grads]
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad.clone()
    return params


def test_clipping_is_the_golden_one(dino_golden):
    names = ('clip/grad_weight', 'clip/grad_bias', 'clip/small_grad')
    params = parameters_with([torch.from_numpy(dino_golden[name]) for name in names])
    total = clip_each(params, max_norm=3.0)
    for param, name in zip(params, ('clip/clipped_weight', 'clip/clipped_bias', 'clip/small_clipped'), strict=True):
        np.testing.assert_allclose(param.grad.numpy(), dino_golden[name], rtol=1e-5, atol=1e-6)
    expected = np.sqrt(sum((dino_golden[name].astype(np.float64) ** 2).sum() for name in names))
    assert total.item() == pytest.approx(expected, rel=1e-6)


def test_clipping_by_formula():
    """Each by its own norm; at most 3, or left alone."""
    grads = [
        scale * torch.randn(5, 7, generator=torch.Generator().manual_seed(i)) for i, scale in enumerate((9, 0.1, 2))
    ]
    params = parameters_with(grads)
    params.append(nn.Parameter(torch.zeros(2)))  # took no part
    clip_each(params, max_norm=3.0)
    for param, grad in zip(params, grads, strict=False):
        torch.testing.assert_close(param.grad, grad * min(1.0, 3.0 / (float(grad.norm()) + 1e-6)))
    assert torch.equal(params[1].grad, grads[1])
    assert params[3].grad is None


@pytest.mark.parametrize('wrapper_class', [OptimWrapper, CPUAmpOptimWrapper])
@pytest.mark.parametrize('counts', [1, 3])
def test_a_step_takes_the_clipped_sum(wrapper_class, counts):
    """Of all accumulated batches: gradients that would each be clipped may cancel."""
    layer = nn.Linear(4, 2)
    start = layer.weight.detach().clone()
    wrapper = wrapper_class(torch.optim.SGD(layer.parameters(), lr=1.0), accumulative_counts=counts)
    ClipEachGradientHook(max_norm=3.0).attach(wrapper)
    wrapper.initialize_count_status(layer, 0, counts)
    rows = [10.0, -9.0, 5.0][:counts]
    for value in rows:
        with wrapper.optim_context(layer):
            loss = value * layer(torch.ones(1, 4)).sum()
        wrapper.update_params(loss)
    grad = torch.full((2, 4), sum(rows) / counts)
    clipped = grad * min(1.0, 3.0 / (float(grad.norm()) + 1e-6))
    torch.testing.assert_close(start - layer.weight, clipped, rtol=2e-2, atol=1e-5)


@pytest.mark.parametrize(
    ('counts', 'amp'), [(1, False), (3, False), (1, True), (3, True)], ids=['plain', 'accumulated', 'amp', 'amp+acc']
)
def test_frozen_last_layer(make_config, counts, amp):
    """Unchanged after epoch 1 and moving in epoch 2; an epoch of 4 iterations ends amid three that are added up."""
    amp_kind = 'AmpOptimWrapper' if torch.cuda.is_available() else 'mmrs_ssl.CPUAmpOptimWrapper'
    kind = amp_kind if amp else 'OptimWrapper'
    cfg = make_config(
        f'optim_wrapper = dict(type={kind!r}, accumulative_counts={counts}, optimizer=dict(lr=1e-2))\n'
        'auto_scale_lr = dict(enable=False)\n',
        model=dino_config('vit'),
    )
    option(cfg, 'TeacherMomentumHook', start_left=0.5)  # of so few steps
    found, left = [], []

    def remember(runner):
        weights = dict(runner.model.named_parameters())
        found.append(
            {name: weights[name].detach().clone() for name in (LAST, 'head.mlp.0.weight', 'head.mlp.4.weight')}
        )

    def look(runner):
        left.append(dict(runner.model.named_parameters())[LAST].grad)
        if runner.iter == 0:
            remember(runner)

    runner = train(cfg, after_train_iter=look, after_train_epoch=remember)
    first, end_of_1, end_of_2 = found
    assert torch.equal(first[LAST], end_of_1[LAST])
    assert (end_of_2[LAST] - end_of_1[LAST]).abs().max() > 1e-4
    assert (end_of_1['head.mlp.0.weight'] - first['head.mlp.0.weight']).abs().max() > 1e-6
    assert all(grad is None for grad in left[:4])  # nothing is carried into the second epoch
    if counts == 3:
        assert left[4] is not None  # there it is added up
    steps = {p: state['step'] for p, state in runner.optim_wrapper.optimizer.state.items()}
    trained = dict(runner.model.named_parameters())
    of_epoch_1 = sum(1 for i in range(1, 5) if i % counts == 0)
    in_all = sum(1 for i in range(1, 9) if i % counts == 0 or i == 8)
    assert steps[trained['head.mlp.0.weight']] == in_all
    assert steps[trained[LAST]] == in_all - of_epoch_1  # its averages began with the second epoch


def test_clipping_in_a_run_is_logged_and_bounds_the_gradients(make_config):
    norms, logged = [], []
    cfg = make_config(
        'optim_wrapper = dict(optimizer=dict(_delete_=True, type="SGD", lr=1e-3, weight_decay=0.1))',
        model=dino_config(),
    )
    for hook in cfg.custom_hooks:
        if hook.type == 'mmrs_ssl.ClipEachGradientHook':
            hook.max_norm = 1e-3

    def look(runner):
        logged.append(runner.message_hub.get_scalar('train/grad_norm').current())

    def watch(runner, batch):
        if runner.iter == 0:
            runner.optim_wrapper.optimizer.register_step_pre_hook(
                lambda optimizer, *_: norms.extend(
                    float(p.grad.norm())
                    for group in optimizer.param_groups
                    for p in group['params']
                    if p.grad is not None
                )
            )

    train(cfg, before_train_iter=watch, after_train_iter=look)
    assert len(logged) == 8
    assert min(logged) > 1e-2  # before clipping
    assert max(norms) <= 1e-3 * (1 + 1e-5)
    assert sum(norm > 0.99e-3 for norm in norms) > 8


def test_two_clippings_are_refused(make_config):
    cfg = make_config('optim_wrapper = dict(clip_grad=dict(max_norm=1.0))', model=dino_config())
    with pytest.raises(ValueError, match='both clip: remove one'):
        train(cfg)


def test_unknown_part_and_norm(make_config):
    cfg = make_config(model=dino_config())
    next(hook for hook in cfg.custom_hooks if hook.type == 'mmrs_ssl.FreezeHook').path = 'head.first_layer'
    with pytest.raises(AttributeError, match=r"FreezeHook: the model has no 'head.first_layer'"):
        train(cfg)
    with pytest.raises(ValueError, match='max_norm=0'):
        ClipEachGradientHook(0)


def test_freezing_ends_with_the_training(make_config):
    """The optimizer is the user's again."""
    cfg = make_config('train_cfg = dict(max_epochs=2)', model=dino_config())
    runner = train(cfg)
    assert runner.optim_wrapper.clip_grad_kwargs is None
    assert not runner.optim_wrapper.optimizer._optimizer_step_pre_hooks
    assert FreezeHook('head.last_layer').epochs == 1


@pytest.mark.parametrize(
    ('epochs', 'message'), [(0, 'epochs=0, expected a whole number of at least 1'), (2, 'epochs=2 of a training of 2')]
)
def test_freezing_for_ever_is_refused(make_config, epochs, message):
    cfg = make_config(model=dino_config())
    next(hook for hook in cfg.custom_hooks if hook.type == 'mmrs_ssl.FreezeHook').epochs = epochs
    with pytest.raises(ValueError, match=message):
        train(cfg)
