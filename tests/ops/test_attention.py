"""Two plain products in place of torch's attention, against the formula and against torch's."""

import pytest
import torch
import torch.nn.functional as F

from mmrs_ssl.ops.attention import attention


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_attention_by_formula(dtype):
    query, key, value = (torch.randn(2, 3, 17, 8).to(dtype) for _ in range(3))
    weights = torch.einsum('bhid,bhjd->bhij', query.double(), key.double()) / 8**0.5
    expected = weights.exp() / weights.exp().sum(-1, keepdim=True) @ value.double()
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    out = attention(query, key, value)
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(query, key, value), rtol=tolerance, atol=tolerance)


def test_attention_dropout_in_bfloat16():
    torch.manual_seed(0)
    query = torch.zeros(1, 1, 4000, 8, dtype=torch.bfloat16)
    value = torch.ones(1, 1, 4000, 8, dtype=torch.bfloat16)
    out = attention(query[:, :, :4], query, value, dropout=0.5).float()
    assert (out - 1).abs().max() < 0.2
    assert (out - 1).abs().max() > 0
