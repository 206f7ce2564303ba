"""The prototype head against the same layers called by hand."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmrs_ssl.models import PrototypeHead


@pytest.mark.parametrize('batch_norm', [False, True])
def test_prototype_head_by_hand(batch_norm):
    head = PrototypeHead(6, 8, 4, 10, batch_norm=batch_norm).eval()
    rows = torch.randn(5, 6)
    hidden = rows
    for module in head.mlp:
        hidden = module(hidden)
    weight = head.last_layer.parametrizations.weight.original1
    expected = F.normalize(hidden, dim=1) @ F.normalize(weight, dim=1).T
    torch.testing.assert_close(head(rows), expected)
    assert head(rows).abs().max() <= 1 + 1e-6
    assert sum(isinstance(m, nn.BatchNorm1d) for m in head.mlp) == 2 * batch_norm
    trained = [name for name, p in head.named_parameters() if p.requires_grad]
    assert not any('original0' in name for name in trained)
    gain = PrototypeHead(6, 8, 4, 10, learn_gain=True).last_layer.parametrizations.weight.original0
    assert gain.requires_grad
    copy.deepcopy(head)


def test_grouped_rows_equal_separate_calls():
    torch.manual_seed(0)
    head = PrototypeHead(6, 8, 4, 10, batch_norm=True).train()
    other = copy.deepcopy(head)
    rows = torch.randn(10, 6)
    torch.testing.assert_close(head(rows, groups=2), torch.cat([other(rows[:5]), other(rows[5:])]))
    torch.testing.assert_close(head.state_dict(), other.state_dict())  # running statistics moved alike
