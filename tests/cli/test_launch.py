"""A config is prepared for the machine: its launcher and its precision."""

import pytest
import torch
from mmengine.config import Config

from mmrs_ssl.cli.launch import set_launcher, set_precision


def test_mixed_precision_configs_run_on_the_cpu():
    wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16', optimizer=dict(type='SGD', lr=1))
    cfg = Config(dict(optim_wrapper=wrapper))
    set_precision(cfg, amp=False)
    if torch.cuda.is_available():
        assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    else:
        assert dict(cfg.optim_wrapper) == dict(type='mmrs_ssl.CPUAmpOptimWrapper', optimizer=wrapper['optimizer'])


def test_launchers_that_need_a_gpu():
    if torch.cuda.is_available():
        pytest.skip('there is a GPU')
    for launcher in ('slurm', 'mpi'):
        with pytest.raises(ValueError, match=rf'--launcher {launcher} needs a GPU; .*dist_train\.sh'):
            set_launcher(Config({}), launcher)
    cfg = Config({})
    set_launcher(cfg, 'none')
    assert dict(cfg._cfg_dict) == dict(launcher='none')


def test_precision_of_an_unknown_wrapper():
    with pytest.raises(ValueError, match='MyOptimWrapper'):
        set_precision(Config(dict(optim_wrapper=dict(type='MyOptimWrapper'))), amp=True)
    with pytest.raises(ValueError, match='no optim_wrapper'):
        set_precision(Config(dict(model=dict())), amp=False)
