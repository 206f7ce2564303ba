"""What ``--init`` makes of a config: which network, what goes on instead, and what is remembered of it."""

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmrs_ssl.cli.starting import rehearse, start_from, take_over_start
from mmrs_ssl.cli.work_dir import held_work_dir
from mmrs_ssl.engine.hooks import PretrainedBackboneHook
from tests.conftest import build_cmid, cmid_config
from tests.engine import test_checkpoint_files
from tests.transfer.backbones import mine, same, save, scramble, weights_of

RECORD = dict(type='mmrs_ssl.PretrainedBackboneHook', checkpoint='a.pth', branch=None, normalization='keep')
SEEDS = dict(type='mmrs_ssl.StepSeedHook')


def config(**more):
    return Config(dict(model=cmid_config(), custom_hooks=[SEEDS], load_from=None, resume=False, **more))


@pytest.mark.parametrize('branch', ['student', 'teacher', None])
def test_which_network_of_a_training_checkpoint(tmp_path, branch):
    """By default what its authors evaluate, as the file says it."""
    init_default_scope('mmpretrain')
    trained = scramble(build_cmid(), 5)
    path = save(trained.state_dict(), tmp_path / 'trained.pth', meta=dict(evaluated='teacher'))
    start_from(cfg := config(), str(path), branch)
    assert cfg.custom_hooks == [SEEDS, {**RECORD, 'checkpoint': str(path), 'branch': branch}]
    model = MODELS.build(cfg.model)
    rehearse(cfg, model, PretrainedBackboneHook(**{k: v for k, v in cfg.custom_hooks[1].items() if k != 'type'}))
    expected = trained.backbone if branch == 'student' else trained.teacher.module['backbone']
    assert same(weights_of(model.backbone), weights_of(expected))
    assert same(weights_of(model.teacher.module['backbone']), weights_of(expected))


def test_a_downstream_task_checks_its_statistics(tmp_path):
    init_default_scope('mmpretrain')
    path = save(mine('resnet').state_dict(), tmp_path / 'resnet.pth')
    cfg = config()
    cfg.model = dict(
        type='ImageClassifier',
        backbone=cfg.model.backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=2, in_channels=64),
    )
    cfg.data_preprocessor = dict(mean=[100.0] * 3, std=[50.0] * 3)
    start_from(cfg, str(path), None)
    assert cfg.custom_hooks[1].normalization == 'check'


def test_nothing_is_named():
    start_from(cfg := config(), None, None)
    assert cfg.custom_hooks == [SEEDS]
    with pytest.raises(ValueError, match='--init-branch teacher says which network of --init FILE is taken'):
        start_from(config(), None, 'teacher')


@pytest.mark.parametrize(
    ('began', 'said'), [('', 'does not say that it began with a file'), ('a.pth', 'began with a.pth')]
)
def test_a_run_that_goes_on_does_not_start_anew_from_another_file(tmp_path, capsys, began, said):
    text = Config(dict(custom_hooks=[SEEDS, *([RECORD] if began else [])])).pretty_text
    path = test_checkpoint_files.save(tmp_path / 'epoch_1.pth', meta=dict(iter=4, epoch=1, cfg=text))
    for file in (None, 'b.pth'):
        with held_work_dir(cfg := config(work_dir=str(tmp_path)), 'auto', False):
            start_from(cfg, file, None)
        assert cfg.custom_hooks == [SEEDS, *([RECORD] if began else [])]
    assert f'--init b.pth: not loaded, the run goes on from {path}, which {said}\n' in capsys.readouterr().err


def test_what_a_checkpoint_says_is_options_and_no_more():
    """A checkpoint may be anyone's. The config's own hook counts, and who adopts statistics has one."""

    def taken(cfg, **changes):
        hooks = [SEEDS, {**RECORD, **changes}]
        take_over_start(cfg, dict(cfg=Config(dict(custom_hooks=hooks)).pretty_text))
        return cfg.custom_hooks

    assert taken(config()) == [SEEDS, RECORD]
    assert taken(config(), more='1') == [SEEDS, RECORD]
    assert taken(config(), normalization='adopt') == [SEEDS]
    assert taken(config(), checkpoint=['a.pth']) == [SEEDS]
    own = config()
    own.custom_hooks.append({**RECORD, 'checkpoint': 'own.pth'})
    assert [hook.get('checkpoint') for hook in taken(own)] == [None, 'own.pth']
    for meta in (None, {}, dict(cfg=3), dict(cfg='custom_hooks = 5'), dict(cfg='no Python')):
        take_over_start(cfg := config(), meta)
        assert cfg.custom_hooks == [SEEDS]


@pytest.mark.parametrize(
    ('option', 'value', 'words'),
    [
        ('bands', {"a': __import__('os').getpid(), 'b": 1}, "bands=.*expected 'mean' or a list of numbers of bands"),
        ('bands', [0, {'a': 1}], 'bands=.*expected'),
        ('bands', [0, -1], 'bands=.*expected'),
        ('branch', 'x', "branch='x' is not one of student, teacher, None"),
        ('branch', [{}], 'branch=.* is not one of'),
        ('module', {'a': 1}, "module={'a': 1}, expected text"),
        ('modality', [1], r'modality=\[1\], expected text'),
        ('normalization', {'a': 1}, 'normalization=.* is not one of adopt, check, ignore, keep'),
        ('checkpoint', '{{ $ENV:HOME:x }}', 'in which a config would replace'),
    ],
)
def test_what_a_checkpoint_says_is_of_the_options_kinds(option, value, words):
    """The config of the work dir is Python, and dicts in it have their keys written as they are."""
    cfg, hook = config(), {**RECORD, option: value}
    with pytest.raises(ValueError, match=words):
        take_over_start(cfg, dict(cfg=f'custom_hooks = [{hook!r}]'))
    assert cfg.custom_hooks == [SEEDS]
    for bands in ('mean', [2, None, 0]):
        take_over_start(cfg := config(), dict(cfg=f'custom_hooks = [{ ({**RECORD, "bands": bands})!r}]'))
        assert cfg.custom_hooks[1].bands == bands
