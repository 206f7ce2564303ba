"""A checkpoint that does not fill the model is refused, with what is missing."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmrs_ssl import aliases
from mmrs_ssl.engine.resuming.weights import check_optimizer, check_weights
from tests.conftest import build_cmid, build_dino


def model():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_all_of_it():
    source, target = model(), model()
    assert check_weights(target, dict(state_dict=source.state_dict()), 'a.pth', (), exact=True) == []
    weights = {f'module.{key}': value for key, value in source.state_dict().items()}
    assert check_weights(target, weights, 'a.pth', (), exact=True) == []  # of a wrapped model, bare


@pytest.mark.parametrize('exact', [True, False])
def test_missing_and_reshaped(exact):
    weights = model().state_dict()
    del weights['0.bias'], weights['1.running_mean'], weights['1.num_batches_tracked']
    weights['2.weight'] = torch.zeros(5, 4)
    weights['more'] = torch.zeros(1)
    with pytest.raises(ValueError, match=r'^a\.pth does not fit Sequential of the config') as caught:
        check_weights(model(), dict(state_dict=weights), 'a.pth', (), exact)
    text = str(caught.value)
    assert f'{2 + exact} weights of the model are not in it and would stay random: 0.bias, 1.running_mean' in text
    assert '1 have another shape there: 2.weight' in text
    assert ('1 of its weights are unknown to the model: more' in text) == exact
    assert ("--allow-missing '0.*'" in text) != exact
    if not exact:
        allowed = ('0.bias', '1.*', '2.w*')
        assert check_weights(model(), dict(state_dict=weights), 'a.pth', allowed, exact) == ['more']


def test_of_another_method():
    for weights, other in ((build_cmid(), build_dino()), (build_dino(), build_cmid())):
        with pytest.raises(ValueError, match=r'would stay random: .*head'):
            check_weights(other, dict(state_dict=weights.state_dict()), 'a.pth', (), exact=False)


def test_old_names_of_weights_are_known(monkeypatch):
    """The alias table comes first."""
    monkeypatch.setattr(aliases, '_said', set())  # once in a process
    weights = build_dino().state_dict()
    weights['centre.value'] = weights.pop('center.value')
    with pytest.warns(DeprecationWarning, match=r'centre\.value'):
        assert check_weights(build_dino(seed=1), dict(state_dict=weights), 'a.pth', (), exact=True) == []


def optimizer_of(network, steps=1):
    wrapper = OptimWrapper(torch.optim.AdamW(network.parameters()))
    for _ in range(steps):
        wrapper.update_params(network(torch.randn(4, 3)).sum())
    return wrapper


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (lambda c: c['optimizer'].pop('state'), 'no state of the optimizer'),
        (lambda c: c['optimizer']['state'].pop(3), 'averages of 6 parameters and holds those of 5'),
        (
            lambda c: c['optimizer']['param_groups'][0]['params'].pop(),
            'of 5 parameters in 1 groups, this one has 6',
        ),
    ],
)
def test_optimizers_that_are_not_whole(spoil, words):
    network = model()
    wrapper = optimizer_of(network)
    checkpoint = dict(optimizer=wrapper.state_dict(), meta=dict(optimizer_states=6))
    runner = SimpleNamespace(optim_wrapper=optimizer_of(model(), 0))
    check_optimizer(runner, checkpoint, 'a.pth')
    spoil(checkpoint)
    with pytest.raises(ValueError, match=rf'^a\.pth .*{words}'):
        check_optimizer(runner, checkpoint, 'a.pth')
