"""What torch.load(weights_only=True) reads, and what it must never run."""

import builtins
import os
import pickle
import zipfile

import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmrs_ssl.transfer.safe_types import restricted_getattr
from tests.conftest import train


def test_a_real_checkpoint_loads(make_config):
    cfg = make_config()
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != 'mmrs_ssl.PictureHook']
    cfg.train_cfg.max_epochs = 2
    runner = train(cfg)
    path = f'{cfg.work_dir}/epoch_2.pth'
    checkpoint = torch.load(path, weights_only=True)
    for key, value in runner.model.state_dict().items():
        assert torch.equal(checkpoint['state_dict'][key], value), key
    scalars = checkpoint['message_hub']['log_scalars']
    assert isinstance(scalars['train/loss'], HistoryBuffer)
    history = runner.message_hub.get_scalar('train/loss')
    assert len(history.data[0]) == 8
    for statistic in ('mean', 'min', 'max', 'current'):
        assert scalars['train/loss'].statistics(statistic) == history.statistics(statistic)
    assert checkpoint['meta']['epoch'] == 2


class Call:
    """Pickles as a call of ``function``, which may be the result of another one."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced

    def __call__(self):
        raise AssertionError('only its pickle is called')


def attack(name, command):
    """An object that runs ``command`` when a careless loader unpickles it."""
    code = f'__import__("os").system({command!r})'
    if name == 'system':
        return Call(os.system, command)
    if name == 'eval':
        return Call(builtins.eval, code)
    if name == 'getattr_of_module':
        return Call(Call(getattr, Call(__import__, 'os'), 'system'), command)
    # what a real getattr on the allow-list leaves open: a statistic's globals hold the builtins
    scope = Call(getattr, Call(getattr, HistoryBuffer, 'mean'), '__globals__')
    names = Call(Call(getattr, scope, '__getitem__'), '__builtins__')
    return Call(Call(Call(getattr, names, '__getitem__'), 'eval'), code)


ATTACKS = ('system', 'eval', 'getattr_of_module', 'getattr_chain')


@pytest.mark.parametrize('name', ATTACKS)
@pytest.mark.parametrize('archive', [True, False])
def test_crafted_files_are_refused_and_run_nothing(tmp_path, name, archive):
    marker, path = tmp_path / 'marker', tmp_path / 'crafted.pth'
    content = dict(state_dict={}, meta=attack(name, f'touch {marker}'))
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    assert zipfile.is_zipfile(path) is archive
    for options in (dict(weights_only=True), {}):
        with pytest.raises((pickle.UnpicklingError, ValueError)):
            torch.load(path, **options)
    assert not marker.exists()


@pytest.mark.parametrize('name', ATTACKS)
def test_the_attacks_work_on_a_careless_loader(tmp_path, name):
    """Else the test above would show nothing."""
    marker = tmp_path / 'marker'
    pickle.loads(pickle.dumps(attack(name, f'touch {marker}')))
    assert marker.exists()


def test_getattr_of_something_else_is_explained(tmp_path):
    torch.save(dict(a=Call(getattr, HistoryBuffer, '__init__')), tmp_path / 'crafted.pth')
    with pytest.raises((pickle.UnpicklingError, ValueError), match='may be harmful'):
        torch.load(tmp_path / 'crafted.pth', weights_only=True)


def test_the_stand_in_resolves_statistics_only():
    for name in ('min', 'max', 'current', 'mean'):
        assert restricted_getattr(HistoryBuffer, name) is getattr(HistoryBuffer, name)
    others = ((HistoryBuffer, '__globals__'), (HistoryBuffer, 'data'), (os, 'system'), (HistoryBuffer(), 'mean'))
    for owner, name in others:
        with pytest.raises(ValueError, match=r'asks for getattr\(.*may be harmful'):
            restricted_getattr(owner, name)
