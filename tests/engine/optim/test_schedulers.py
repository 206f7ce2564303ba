"""A warm-up that is a share of the training: the learning rates of mmengine's schedulers, for any length."""

import copy

import numpy as np
import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope

from mmrs_ssl import get_config
from mmrs_ssl.engine.optim import CosineAfterWarmupLR, WarmupLR
from tests.conftest import ROOT

NAMES = sorted(
    path.relative_to(ROOT / 'configs').as_posix()
    for folder in ('cmid', 'dino_mc', 'mssdf')
    for path in ROOT.glob(f'configs/{folder}/*.py')
)
# epochs of warm-up of each method; what is named otherwise
EPOCHS = dict(cmid=10, dino_mc=10, mssdf=40)
OTHERS = {
    'cmid_resnet18_1xb32-coslr-15e_rsscn7': 2 / 3,
    'cmid_resnet18_1xb32': 1,
    'dino-mc_resnet18_1xb32': 1,
    'vit-mini': 4,
    'vit-small_1xb64-coslr-100e_geotiff': 10,
}
LENGTH = 3  # iterations of an epoch


def optimizer():
    """Two groups, of which one has a smaller learning rate."""
    weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    return torch.optim.SGD([dict(params=[weights[0]]), dict(params=[weights[1]], lr=0.1)], lr=0.4)


def build(configs, epochs, optim):
    """Schedulers as mmengine's Runner builds them."""
    init_default_scope('mmpretrain')
    defaults = dict(optimizer=optim, epoch_length=LENGTH)
    return [PARAM_SCHEDULERS.build({'end': epochs, **config}, default_args=defaults) for config in configs]


def learning_rates(schedulers, optim, steps):
    """Those of every iteration."""
    rates = []
    for _ in range(steps):
        rates.append([group['lr'] for group in optim.param_groups])
        optim.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def run(configs, epochs):
    optim = optimizer()
    return learning_rates(build(configs, epochs, optim), optim, epochs * LENGTH)


def with_fixed_warm_up(configs, epochs):
    """The same by mmengine's own schedulers, with a warm-up of so many epochs."""
    warm_up, cosine = copy.deepcopy(configs[:2])
    warm_up.pop('share'), cosine.pop('share')
    warm_up.update(type='LinearLR', end=epochs)
    cosine.update(type='CosineAnnealingLR', begin=epochs)
    return [warm_up, cosine]


def products(lr, epochs, warm_up):
    """CMID's: the warm-up multiplies a cosine to 1e-6 that runs from the first iteration."""
    done = np.arange(epochs * LENGTH)
    cosine = 1e-6 + (lr - 1e-6) * (1 + np.cos(np.pi * done / len(done))) / 2
    return cosine * np.minimum(1, 0.01 + 0.99 * done / (warm_up * LENGTH - 1))


@pytest.mark.parametrize('name', NAMES)
def test_learning_rate_of_every_config(name):
    """At every iteration, what a warm-up of the published number of epochs gives; mmengine's own to the last bit."""
    cfg = get_config(name)
    warm_up = next((epochs for part, epochs in OTHERS.items() if part in name), EPOCHS[name.split('/')[0]])
    if name.startswith('cmid'):
        epochs = cfg.train_cfg.max_epochs
        expected = [products(lr, epochs, warm_up) for lr in (0.4, 0.1)]
        np.testing.assert_allclose(run(cfg.param_scheduler, epochs), np.transpose(expected), rtol=1e-6, atol=1e-12)
        return
    fixed = with_fixed_warm_up(cfg.param_scheduler, warm_up)
    rates = run(cfg.param_scheduler[:2], cfg.train_cfg.max_epochs)
    assert rates == run(fixed, cfg.train_cfg.max_epochs)
    assert np.argmax(rates, 0)[0] == warm_up * LENGTH - 1


def schedule(share=0.2, **options):
    common = dict(share=share, by_epoch=True, convert_to_iter_based=True, **options)
    return [
        dict(type='mmrs_ssl.WarmupLR', start_factor=0.01, **common),
        dict(type='mmrs_ssl.CosineAfterWarmupLR', eta_min=1e-3, **common),
    ]


@pytest.mark.parametrize('epochs', [1, 2, 3, 7, 20])
@pytest.mark.parametrize('share', [0, 0.05, 0.1, 0.5, 0.95])
def test_any_length_warms_up_and_ends(epochs, share):
    """The full learning rate comes after the share of the steps, rounded, and the cosine ends with the training."""
    rates = np.array(run(schedule(share), epochs))
    steps = max(1, round(share * epochs * LENGTH))
    np.testing.assert_allclose(rates[steps - 1], [0.4, 0.1])
    assert rates.max() == pytest.approx(0.4)
    if steps > 1:
        np.testing.assert_allclose(rates[0], [0.004, 0.001])
    left = epochs * LENGTH - steps
    cosine = 1e-3 + (0.4 - 1e-3) * (1 + np.cos(np.pi * np.arange(left) / max(left, 1))) / 2
    np.testing.assert_allclose(rates[steps:, 0], cosine)


def test_one_step_of_training():
    """There is nothing left for the cosine."""
    optim = optimizer()
    pair = [kind(optim, share=0.5, begin=0, end=1, by_epoch=False) for kind in (WarmupLR, CosineAfterWarmupLR)]
    assert learning_rates(pair, optim, 1) == [[0.4, 0.1]]


def test_by_epoch():
    optim = optimizer()
    pair = [kind(optim, share=0.25, begin=0, end=8) for kind in (WarmupLR, CosineAfterWarmupLR)]
    rates = [rate for rate, _ in learning_rates(pair, optim, 8)]
    np.testing.assert_allclose(rates[:3], [0.004, 0.4, 0.4])
    assert rates[3] < 0.4


def test_states_of_old_checkpoints_load():
    """A training goes on from the states that mmengine's own schedulers wrote."""
    configs, epochs = schedule(0.2), 10
    fixed = with_fixed_warm_up(configs, 2)
    for stop in (4, 13):  # in the warm-up and after it
        first = optimizer()
        old = build(fixed, epochs, first)
        assert [type(scheduler) for scheduler in old] == [LinearLR, CosineAnnealingLR]
        learning_rates(old, first, stop)
        states = [copy.deepcopy(scheduler.state_dict()) for scheduler in old]
        second = optimizer()
        new = build(schedule(0.5), epochs, second)  # what was written counts, not another warm-up
        second.load_state_dict(first.state_dict())
        for scheduler, state in zip(new, states, strict=True):
            assert scheduler.state_dict().keys() == state.keys()
            scheduler.load_state_dict(state)
        rest = epochs * LENGTH - stop
        assert learning_rates(new, second, rest) == learning_rates(old, first, rest)


@pytest.mark.parametrize('kind', [WarmupLR, CosineAfterWarmupLR])
def test_impossible_shares(kind):
    for share in (-0.1, 1, 10):
        with pytest.raises(ValueError, match=rf'share={share} of the warm-up, expected at least 0 \(none\)'):
            kind(optimizer(), share=share, end=8)
    with pytest.raises(ValueError, match='whose length is not known: set end'):
        kind(optimizer(), share=0.1)
