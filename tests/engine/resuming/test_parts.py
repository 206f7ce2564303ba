"""Checkpoints that torch reads and whose parts are of other kinds: one message, with the file's name."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from torch import nn

from mmrs_ssl.engine.checkpoint_files import position_of
from mmrs_ssl.engine.resuming.parts import check_averages, check_content, check_message_hub, check_states
from mmrs_ssl.engine.resuming.weights import check_optimizer, check_weights
from tests.engine.resuming.test_weights import model, optimizer_of


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ([1, 2], 'holds an object of type list, expected a dict: weights by their names, or a checkpoint'),
        (None, 'holds an object of type NoneType, expected a dict'),
        (dict(state_dict=[1, 2]), 'its state_dict is of type list, expected a dict'),
        (dict(state_dict={}, meta=5), 'its meta is of type int, expected a dict'),
        ({3: torch.zeros(1)}, 'its weights have names like 3, expected text'),
        ({'0.weight': 3}, r'1 of its weights are no tensors \(0\.weight is of type int\)'),
    ],
)
def test_what_holds_no_weights(content, words):
    with pytest.raises(ValueError, match=f'^a.pth:? {words}'):
        check_weights(model(), content, 'a.pth', ['*'], exact=False)


def test_weights_alone_and_with_nothing_said():
    check_content({}, 'a.pth')
    check_content(dict(state_dict={}, meta=None), 'a.pth')


def content(**meta):
    return dict(state_dict={}, optimizer={}, message_hub={}, meta=dict(iter=4, epoch=1, **meta))


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(meta=None), 'its meta is of type NoneType, expected a dict'),
        (dict(optimizer=[1]), 'its optimizer is of type list, expected a dict'),
        (content(epoch_length='x'), "its meta.epoch_length is 'x', expected a whole number above 0"),
        (content(epoch_length=0), 'its meta.epoch_length is 0, expected a whole number above 0'),
        (content(epoch_length=True), 'its meta.epoch_length is True, expected a whole number above 0'),
        (content(seed=dict(a=1)), "its meta.seed is {'a': 1}, expected a whole number"),
        (content(cfg=5), 'its meta.cfg is 5, expected the text of a config'),
        (dict(meta=dict(iter=0, epoch=-1)), 'its meta.epoch is -1, expected a whole number of at least 0'),
    ],
)
def test_what_a_training_does_not_go_on_from(change, words):
    assert position_of(content(epoch_length=4, seed=None, cfg='')) == (4, 1)
    with pytest.raises(ValueError, match=f'^{words}'):
        position_of({**content(), **change})


def test_a_message_hub_without_its_parts():
    hub = dict(log_scalars=dict(loss=HistoryBuffer()), runtime_info={}, resumed_keys={})
    check_message_hub(dict(message_hub=hub), 'a.pth')
    for part in hub:
        for changed in ({key: value for key, value in hub.items() if key != part}, {**hub, part: 3}):
            with pytest.raises(ValueError, match=f'^a.pth: its message_hub has no {part}, expected a dict'):
                check_message_hub(dict(message_hub=changed), 'a.pth')


def shorten(state):
    state['exp_avg'] = torch.zeros(3)


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (lambda o: o.update(param_groups=5), 'param_groups of type int'),
        (lambda o: o.update(param_groups=[5]), 'param_groups of type list'),
        (lambda o: o['param_groups'][0].pop('params'), 'a group without the numbers of its params'),
        (lambda o: o['param_groups'][0]['params'].append([]), 'a group without the numbers of its params'),
        (lambda o: o.update(state=[1]), 'a state of type list'),
        (lambda o: o['state'].update({0: 3}), 'a state of type dict'),
        (lambda o: o['state'][2].pop('exp_avg'), 'no exp_avg for parameter 2'),
        (lambda o: shorten(o['state'][0]), r'exp_avg of torch\.Size\(\[3\]\) for parameter 0'),
        (lambda o: o['state'][0].update(exp_avg_sq='x'), "exp_avg_sq of <class 'str'> for parameter 0"),
    ],
)
def test_optimizers_of_other_kinds(spoil, words):
    checkpoint = dict(optimizer=optimizer_of(model()).state_dict(), meta={})
    runner = SimpleNamespace(optim_wrapper=optimizer_of(model(), 0))
    check_optimizer(runner, checkpoint, 'a.pth')
    spoil(checkpoint['optimizer'])
    with pytest.raises(ValueError, match=f'^a.pth: its optimizer has {words}'):
        check_optimizer(runner, checkpoint, 'a.pth')


def test_averages_that_are_kept_by_the_kind_of_parameter():
    """Adafactor factors those of matrices; parameters that have had no gradient have none."""
    network = model()
    optimizer = torch.optim.Adafactor(network.parameters())
    (network[0](torch.randn(4, 3)).sum() + network[2].weight.sum()).backward()
    optimizer.step()
    wrapper = SimpleNamespace(base_param_settings=None, param_groups=optimizer.param_groups)
    state = optimizer.state_dict()
    assert {*state['state'][0]} != {*state['state'][1]}
    assert len(state['state']) == 3
    check_optimizer(SimpleNamespace(optim_wrapper=wrapper), dict(optimizer=state, meta={}), 'a.pth')


def test_averages_that_are_kept_by_the_size_of_a_parameter():
    """As optimizers of 8 bits do, of small matrices otherwise than of large ones."""
    network = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 50, bias=False), nn.Linear(50, 4, bias=False))
    groups = [dict(params=list(network.parameters()))]
    kept = [('step', 'state1'), ('step', 'state1', 'absmax1'), ('step', 'state1', 'absmax1')]
    state = {number: {key: torch.zeros(1) for key in keys} for number, keys in enumerate(kept)}
    saved = dict(state=state, param_groups=[dict(params=[0, 1, 2])])
    check_states(saved, groups, 'a.pth')
    del state[2]['step']
    with pytest.raises(ValueError, match=r'a\.pth: its optimizer has no step for parameter 2'):
        check_states(saved, groups, 'a.pth')


def averaging(network):
    hook = EMAHook()
    hook.before_run(SimpleNamespace(model=network, max_epochs=1, max_iters=1))
    return SimpleNamespace(hooks=[SimpleNamespace(), hook])


def test_the_averaged_half_of_a_checkpoint():
    checkpoint = dict(state_dict={}, ema_state_dict=averaging(model()).hooks[1].ema_model.state_dict())
    check_averages(averaging(model()), checkpoint, 'a.pth')
    check_averages(SimpleNamespace(hooks=[SimpleNamespace(ema_model=None)]), {}, 'a.pth')
    other = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    with pytest.raises(ValueError, match=r'of another shape: module\.0\.weight, module\.0\.bias, module\.1\.weight'):
        check_averages(averaging(other), checkpoint, 'a.pth')
    for key in ('steps', 'module.2.bias'):
        less = {name: value for name, value in checkpoint['ema_state_dict'].items() if name != key}
        with pytest.raises(
            ValueError, match=rf'^a\.pth: 1 of the weights in its ema_state_dict .*shape: {key}\. Go on'
        ):
            check_averages(averaging(model()), dict(ema_state_dict=less), 'a.pth')
    with pytest.raises(ValueError, match=r'^a\.pth has no ema_state_dict, the second half of what EMAHook averages'):
        check_averages(averaging(model()), dict(state_dict={}), 'a.pth')
