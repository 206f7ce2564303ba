"""A config is prepared for the machine: its launcher and its precision."""

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop

from mmrs_ssl.cli.launch import make_resumable, set_launcher, set_precision


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


@pytest.mark.parametrize('kind', ['CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook, None])
@pytest.mark.parametrize(
    'loop', [dict(type='EpochBasedTrainLoop'), dict(by_epoch=True), dict(type=EpochBasedTrainLoop)]
)
def test_loops_and_checkpoint_hooks_of_mmengine_become_resumable(kind, loop):
    hooks = dict(checkpoint=dict(type=kind, interval=2)) if kind else {}
    cfg = Config(dict(train_cfg=dict(max_epochs=3, **loop), default_hooks=hooks))
    make_resumable(cfg)
    assert cfg.train_cfg == dict(type='mmrs_ssl.ResumableTrainLoop', max_epochs=3)
    assert cfg.default_hooks.checkpoint == dict(type='mmrs_ssl.SafeCheckpointHook', interval=2 if kind else 1)


def test_what_is_not_mmengines_own_stays():
    cfg = dict(train_cfg=dict(type='IterBasedTrainLoop'), default_hooks=dict(checkpoint=dict(type='Mine')))
    for more in ({}, dict(runner_type='FlexibleRunner', train_cfg=dict(by_epoch=True))):
        made = Config({**cfg, **more})
        make_resumable(made)
        assert made.to_dict() == {**cfg, **more}
    with pytest.raises(ValueError, match='no train_cfg'):
        make_resumable(Config(dict(train_cfg=None)))
