"""The optimizer in blocks against mmpretrain's and against the paper."""

import math

import pytest
import torch
from mmpretrain.engine.optimizers import Adan
from torch import nn

from mmrs_ssl.ops import adan as adan_module
from mmrs_ssl.ops.adan import BlockAdan

BETAS = (0.98, 0.92, 0.99)


def parameters(channels_last=False, seed=0):
    """A scalar, a vector, a matrix and two kernels."""
    torch.manual_seed(seed)
    shapes = ((), (5,), (7, 3), (6, 4, 3, 3), (2, 3, 1, 1))
    params = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    if channels_last:
        params = [nn.Parameter(p.detach().to(memory_format=torch.channels_last)) if p.ndim == 4 else p for p in params]
    return params


def gradients(params, step, channels_last=False):
    generator = torch.Generator().manual_seed(100 + step)
    grads = [torch.randn(p.shape, generator=generator) * (0.1 + step) for p in params]
    return [g.to(memory_format=torch.channels_last) if channels_last and g.ndim == 4 else g for g in grads]


def groups(params):
    return [
        dict(params=params[:2], weight_decay=0.0, lr=3e-2),
        dict(params=params[2:4], weight_decay=0.3),
        dict(params=params[4:], weight_decay=0.02, betas=(0.9, 0.8, 0.95)),
    ]


def run(optimizer, params, steps, channels_last=False, missing=None):
    for step in steps:
        for i, (param, grad) in enumerate(zip(params, gradients(params, step, channels_last), strict=True)):
            param.grad = None if (step, i) == missing else grad.clone(memory_format=torch.preserve_format)
        optimizer.step()


def same(mine, reference):
    for a, b in zip(mine, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize('block', [5, 1 << 18])
@pytest.mark.parametrize('layouts', [(False, False), (True, True), (True, False), (False, True)])
def test_block_adan_is_mmpretrains_adan(monkeypatch, block, layouts):
    """Parameters and gradients channels-last or contiguous, several groups, blocks smaller than a tensor."""
    monkeypatch.setattr(adan_module, 'BLOCK', block)
    mine, reference = parameters(layouts[0]), parameters()
    first = BlockAdan(groups(mine), lr=1e-2)
    run(first, mine, range(6), layouts[1])
    second = Adan(groups(reference), lr=1e-2, foreach=False)
    run(second, reference, range(6))
    same(mine, reference)
    for a, b in zip(mine, reference, strict=True):
        assert set(first.state[a]) == set(second.state[b])
        same(first.state[a].values(), [second.state[b][name] for name in first.state[a]])
    start = parameters()
    assert all((a - b).abs().max() > 0.01 for a, b in zip(mine, start, strict=True))
    assert mine[3].is_contiguous(memory_format=torch.channels_last) == layouts[0]


def test_block_adan_leaves_the_gradient_alone_and_skips_a_missing_one():
    params, twin = parameters(), parameters()
    optimizer = BlockAdan(params, lr=1e-2)
    run(optimizer, params, range(4), missing=(2, 3))
    reference = Adan(twin, lr=1e-2, foreach=False)
    run(reference, twin, range(4), missing=(2, 3))
    same(params, twin)
    assert torch.equal(params[2].grad, gradients(params, 3)[2])
    before = [p.detach().clone() for p in params]
    optimizer.zero_grad()
    optimizer.step()
    same(params, before)


def test_block_adan_by_the_paper():
    """Algorithm 1 of arXiv 2208.06677 for one number, with the authors' bias corrections and beta = 1 - the paper's."""
    grads = [0.3, -0.2, 0.5, 0.1, -0.7]
    lr, decay, eps = 0.05, 0.1, 1e-8
    theta, m, v, n, previous = 1.5, 0.0, 0.0, 0.0, grads[0]
    param = nn.Parameter(torch.tensor([1.5]))
    optimizer = BlockAdan([param], lr=lr, weight_decay=decay, betas=BETAS, eps=eps)
    for k, g in enumerate(grads, 1):
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * (g - previous)
        n = BETAS[2] * n + (1 - BETAS[2]) * (g + BETAS[1] * (g - previous)) ** 2
        m_hat, v_hat, n_hat = (x / (1 - b**k) for x, b in zip((m, v, n), BETAS, strict=True))
        eta = lr / (math.sqrt(n_hat) + eps)
        theta = (theta - eta * (m_hat + BETAS[1] * v_hat)) / (1 + lr * decay)
        previous = g
        param.grad = torch.tensor([g])
        optimizer.step()
        assert param.item() == pytest.approx(theta, rel=1e-5), k


@pytest.mark.parametrize('channels_last', [False, True])
def test_block_adan_goes_on_from_its_state_and_from_mmpretrains(channels_last, tmp_path):
    whole = parameters(channels_last)
    run(BlockAdan(groups(whole), lr=1e-2), whole, range(6), channels_last)
    for kind in (BlockAdan, Adan):
        half = parameters(channels_last and kind is BlockAdan)
        first = kind(groups(half), lr=1e-2, foreach=False)
        run(first, half, range(3))
        torch.save(first.state_dict(), tmp_path / 'state.pth')
        rest = parameters(channels_last)
        for a, b in zip(rest, half, strict=True):
            a.data.copy_(b.data)
        second = BlockAdan(groups(rest), lr=1e-2)
        second.load_state_dict(torch.load(tmp_path / 'state.pth', weights_only=True))
        run(second, rest, range(3, 6), channels_last)
        same(rest, whole)
        assert second.param_groups[0]['step'] == 6


def test_block_adan_refuses_what_it_does_not_do():
    for options in (dict(max_grad_norm=1.0), dict(no_prox=True)):
        params = parameters()
        optimizer = BlockAdan(params, **options)
        with pytest.raises(ValueError, match='no max_grad_norm'):
            run(optimizer, params, range(1))
