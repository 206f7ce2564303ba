"""Settings of mmengine and torch are checked before anything is built, and what ships passes."""

from itertools import groupby

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmrs_ssl.cli.config import check_schedule, read_config_file
from mmrs_ssl.cli.settings import check_settings, find
from tests.conftest import ROOT

SHIPPED = sorted(
    path.relative_to(ROOT / 'configs').as_posix() for path in ROOT.glob('configs/**/*.py') if '_base_' not in path.parts
)


def check_all(names):
    assert names
    for name in names:
        cfg = read_config_file(str(ROOT / 'configs' / name))
        init_default_scope(cfg.default_scope)
        check_settings(cfg)
        check_schedule(cfg)


@pytest.mark.parametrize('method', ['cmid', 'dino_mc', 'mssdf', 'mmpretrain'])
def test_every_pre_training_passes(method):
    check_all([name for name in SHIPPED if name.startswith(f'{method}/')])


def test_a_downstream_config_of_every_kind_passes():
    downstream = [name for name in SHIPPED if name.startswith('downstream/')]
    check_all([next(names) for _, names in groupby(downstream, key=lambda name: name.rsplit('/', 1)[0])])


@pytest.mark.slow
def test_every_downstream_config_passes():
    check_all([name for name in SHIPPED if name.startswith('downstream/')])


def test_places_of_a_config():
    root = Config(dict(a=[dict(b=1), dict(c=2), dict(b=3)], d=dict(x_mult=4, y_mult=5, z=6), e=dict(type='T', b=7)))
    assert list(find(root._cfg_dict, 'a.*.b')) == [('a.0.b', 1), ('a.2.b', 3)]
    assert list(find(root._cfg_dict, 'd.*_mult')) == [('d.x_mult', 4), ('d.y_mult', 5)]
    assert list(find(root._cfg_dict, 'e.*.b')) == [('e.b', 7)]
    assert not list(find(root._cfg_dict, 'a.b'))


def test_a_loop_of_its_own_and_a_test_alone_are_left_alone():
    check_settings(Config(dict(train_cfg=dict(type='MyLoop', steps=5))))
    check_settings(Config(dict(model=dict(type='A'), train_cfg=None, train_dataloader=None, optim_wrapper=None)))
    loader = dict(sampler=dict(type='InfiniteSampler'), dataset=dict(type='A'))
    check_settings(Config(dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=5), train_dataloader=loader)))
