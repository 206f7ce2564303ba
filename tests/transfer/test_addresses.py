"""Checkpoints behind addresses: what mmengine loads from one is read as data."""

import os
from functools import partial

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoints
from torch import nn

from tests.loopback import serve


class Crafted:
    """What runs a program wherever it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def address(tmp_path, monkeypatch):
    """The address of a folder, which stands for OpenMMLab's and torchvision's servers too."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    (tmp_path / 'served').mkdir()
    with serve(tmp_path / 'served') as (address, asked):
        for name in ('get_torchvision_models', 'get_external_models', 'get_mmcls_models'):
            monkeypatch.setattr(mmengine_checkpoints, name, partial(dict, net=f'{address}/net.pth'))
        yield address, asked


@pytest.mark.parametrize(
    'scheme', ['http', 'torchvision://', 'modelzoo://', 'open-mmlab://', 'openmmlab://', 'mmcls://']
)
def test_nothing_in_it_is_run(tmp_path, address, scheme):
    name = f'{address[0]}/net.pth' if scheme == 'http' else f'{scheme}net'
    torch.save(dict(state_dict={}, more=Crafted(tmp_path / 'ran')), tmp_path / 'served' / 'net.pth')
    kept = tmp_path / 'torch' / 'hub' / 'checkpoints' / 'net.pth'
    with pytest.raises(
        ValueError, match=rf'^{address[0]}/net\.pth: {kept} is refused, nothing in it was run'
    ) as caught:
        CheckpointLoader.load_checkpoint(name, 'cpu')
    assert f'remove {kept} and try again' in str(caught.value)
    assert not (tmp_path / 'ran').exists()
    with pytest.raises(ValueError, match='nothing in it was run'):
        mmengine_checkpoints.load_from_http(f'{address[0]}/net.pth')
    assert not (tmp_path / 'ran').exists()


def test_what_openmmlab_publishes_is_read(tmp_path, address):
    """As ``init_cfg`` takes it: logs and numpy numbers lie beside the weights."""
    torch.manual_seed(0)
    published = nn.Linear(3, 2)
    loss = HistoryBuffer([1.0, 2.0], [1, 1])
    beside = dict(message_hub=dict(loss=loss), meta=dict(best=np.float64(0.5), CLASSES=('a', 'b')))
    weights = {f'backbone.{key}': value for key, value in published.state_dict().items()}
    torch.save(dict(state_dict=weights, **beside), tmp_path / 'served' / 'net.pth')
    for name in (f'{address[0]}/net.pth', 'open-mmlab://net'):
        init = dict(type='Pretrained', checkpoint=name, prefix='backbone.')

        class Model(BaseModule, nn.Linear):
            def __init__(self, init=init):
                nn.Linear.__init__(self, 3, 2)
                self._is_init, self.init_cfg = False, init

        model = Model()
        model.init_weights()
        assert torch.equal(model.weight, published.weight)
        assert torch.equal(model.bias, published.bias)
    content = CheckpointLoader.load_checkpoint(f'{address[0]}/net.pth')
    assert content['meta'] == beside['meta']
    assert content['message_hub']['loss'].mean() == 1.5
    assert len(address[1]) == 1  # what is there is not fetched again


def test_what_is_not_there(address):
    with pytest.raises(OSError, match=rf'^{address[0]}/none\.pth cannot be fetched \(HTTP Error 404.*yourself$'):
        CheckpointLoader.load_checkpoint(f'{address[0]}/none.pth')
    with pytest.raises(ValueError, match='names no file'):
        CheckpointLoader.load_checkpoint(f'{address[0]}/')
