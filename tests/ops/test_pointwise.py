"""Convolutions of one tall image, against the linear layer and the convolution of maps."""

import pytest
import torch
from torch import nn

from mmrs_ssl.ops.pointwise import MANY_ROWS, PointwiseConv2d, PointwiseLinear


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('rows', [1, MANY_ROWS - 1, MANY_ROWS, 3 * MANY_ROWS + 5])
def test_as_a_linear_layer(rows, bias):
    torch.manual_seed(0)
    layer, plain = PointwiseLinear(24, 40, bias=bias), nn.Linear(24, 40, bias=bias)
    plain.load_state_dict(layer.state_dict())
    given = [torch.randn(rows, 24, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2)]
    out = [net(values) for net, values in zip((layer, plain), given, strict=True)]
    torch.testing.assert_close(*out, rtol=1e-5, atol=1e-5)
    for each in out:
        each.square().sum().backward()
    torch.testing.assert_close(given[0].grad, given[1].grad, rtol=1e-4, atol=1e-4)
    for mine, reference in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, reference.grad, rtol=1e-4, atol=1e-3)


def test_many_rows_are_one_tall_image(monkeypatch):
    """Else the formulation would not be there at all."""
    seen = []
    monkeypatch.setattr('mmrs_ssl.ops.pointwise.F.conv2d', lambda tall, *_: seen.append(tall.shape) or tall)
    PointwiseLinear(4, 4)(torch.zeros(MANY_ROWS, 4))
    PointwiseLinear(4, 4)(torch.zeros(MANY_ROWS - 1, 4))
    assert seen == [(1, 4, MANY_ROWS, 1)]


@pytest.mark.parametrize('channels_last', [False, True])
def test_as_a_convolution_of_maps(channels_last):
    torch.manual_seed(0)
    layer, plain = PointwiseConv2d(24, 40), nn.Conv2d(24, 40, 1)
    plain.load_state_dict(layer.state_dict())
    memory = torch.channels_last if channels_last else torch.contiguous_format
    maps = torch.randn(4, 24, 3, 5, generator=torch.Generator().manual_seed(1))
    given = [maps.clone(memory_format=memory).requires_grad_() for _ in range(2)]
    out = [net(values) for net, values in zip((layer, plain), given, strict=True)]
    torch.testing.assert_close(*out, rtol=1e-5, atol=1e-5)
    for each in out:
        each.square().sum().backward()
    torch.testing.assert_close(given[0].grad, given[1].grad, rtol=1e-4, atol=1e-4)
    for mine, reference in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, reference.grad, rtol=1e-4, atol=1e-3)
