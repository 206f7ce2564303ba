"""Mixed precision on the CPU."""

import copy

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmrs_ssl.engine.optim import CPUAmpOptimWrapper


def test_cpu_amp_wrapper_autocasts_to_bfloat16():
    model = nn.Linear(4, 3)
    plain = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    amp = CPUAmpOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    rows = torch.randn(5, 4)
    with plain.optim_context(model):
        assert model(rows).dtype == torch.float32
    with amp.optim_context(model):
        out = model(rows)
        assert out.dtype == torch.bfloat16
        assert not torch.equal(out.float(), plain_forward(model, rows))
    assert model(rows).dtype == torch.float32
    before = model.weight.detach().clone()
    amp.update_params(out.float().pow(2).mean())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)


def plain_forward(model, rows):
    with torch.autocast('cpu', enabled=False):
        return model(rows)


def test_cpu_amp_wrapper_accumulates():
    model, twin = nn.Linear(4, 1), None
    twin = copy.deepcopy(model)
    rows = torch.randn(6, 4).bfloat16().float()
    amp = CPUAmpOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=2)
    for part in rows.split(3):
        with amp.optim_context(model):
            loss = model(part).float().mean()
        amp.update_params(loss)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    twin(rows).mean().backward()
    optimizer.step()
    torch.testing.assert_close(model.weight, twin.weight, rtol=2e-2, atol=2e-3)
