"""What a run does with checkpoints that were crafted, changed or are of an unlucky moment, on a model of two layers."""

import os
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from tests.conftest import TestProbe
from tests.forked import differences, load
from tests.loopback import serve
from tests.tools.test_train import error_of

CONFIG = """
default_scope = 'mmengine'
work_dir = {work!r}
model = dict(type='SmallClassifier')
train_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(type='SmallData'), sampler=dict(type='DefaultSampler', shuffle=True)
)
val_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(type='SmallData'), sampler=dict(type='DefaultSampler', shuffle=False)
)
val_evaluator = dict(type='CountedAccuracy')
val_cfg = dict()
test_dataloader, test_evaluator, test_cfg = val_dataloader, val_evaluator, val_cfg
train_cfg = dict(by_epoch=True, max_epochs=2)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=0.01))
param_scheduler = dict(type='CosineAnnealingLR', T_max=2, by_epoch=True, convert_to_iter_based=True)
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, save_best='accuracy', rule='greater'))
custom_hooks = [dict(type='TestProbe'), dict(type='InValidation')]
randomness = dict(seed=0)
"""


@MODELS.register_module(force=True)
class SmallClassifier(BaseModel):
    """Two layers."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, inputs, labels, mode='tensor'):
        scores = self.head(self.backbone(torch.stack(list(inputs))).relu())
        if mode == 'loss':
            return dict(loss=nn.functional.cross_entropy(scores, torch.as_tensor(list(labels))))
        return [scores]


@DATASETS.register_module(force=True)
class SmallData(Dataset):
    """Sixteen points of two classes."""

    metainfo: ClassVar[dict] = {}

    def __init__(self, count=16):
        if not count:
            raise ValueError('there are no points')

    def __len__(self):
        return 16

    def __getitem__(self, i):
        return torch.randn(4, generator=torch.Generator().manual_seed(int(i))), i % 2


@METRICS.register_module(force=True)
class CountedAccuracy(BaseMetric):
    """One more at each call, so that every validation is better than the one before."""

    calls: ClassVar[list[int]] = []

    def process(self, batch, outputs):
        self.results.append(1)

    def compute_metrics(self, results):
        self.calls.append(len(self.calls) + 1)
        return dict(accuracy=float(len(self.calls)))


@HOOKS.register_module(force=True)
class InValidation(Hook):
    """Ends a run in a validation, counted from 1."""

    ends: ClassVar[int] = 0
    seen: ClassVar[list[int]] = []

    def before_val_epoch(self, runner):
        self.seen.append(runner.epoch)
        if self.ends == len(self.seen):
            raise RuntimeError('the node is gone')


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(CountedAccuracy, 'calls', [])
    monkeypatch.setattr(InValidation, 'seen', [])


@pytest.fixture
def run_tool(run_tool):
    """Forgets the run before: those of the same second have one name, and mmengine one message hub for that."""

    def run(*arguments):
        MessageHub._instance_dict.clear()
        return run_tool(*arguments)

    return run


@pytest.fixture
def config(tmp_path):
    """A config file, and the folder that it trains in."""
    path, work = tmp_path / 'small.py', tmp_path / 'outer' / 'work'
    path.write_text(CONFIG.format(work=str(work)))
    return path, work


@pytest.fixture
def trained(config, run_tool):
    """The same after a training of two epochs."""
    code, output = run_tool('train.py', config[0])
    assert code == 0, output
    return config


def checkpoints(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


def changed(path, change):
    content = load(path)
    change(content)
    torch.save(content, path)


class Crafted:
    """What makes a folder wherever it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_an_address_runs_nothing(config, run_tool, tmp_path, monkeypatch):
    """Neither as load_from, nor to test, nor to go on from, nor as text in a folder that came from elsewhere."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    path, work = config
    (tmp_path / 'served').mkdir()
    torch.save(dict(state_dict={}, more=Crafted(tmp_path / 'ran')), tmp_path / 'served' / 'a.pth')
    with serve(tmp_path / 'served') as (address, asked):
        work.mkdir(parents=True)
        (work / 'last_checkpoint').write_text(f'{address}/a.pth')
        code, output = run_tool('train.py', path, '--resume')
        assert code == 1
        assert f"last_checkpoint names '{address}/a.pth', which does not lie in" in error_of(output)
        assert len(asked) == 0
        (work / 'last_checkpoint').unlink()
        for arguments in (
            ['train.py', path, '--cfg-options', f'load_from={address}/a.pth'],
            ['train.py', path, '--resume', f'{address}/a.pth'],
            ['test.py', path, f'{address}/a.pth'],
        ):
            code, output = run_tool(*arguments)
            assert code == 1
            assert 'a.pth is refused, nothing in it was run' in error_of(output)
            assert not (tmp_path / 'ran').exists()


def test_an_address_is_a_checkpoint_like_another(trained, run_tool, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    path, work = trained
    with serve(work) as (address, _):
        code, output = run_tool('train.py', path, '--resume', f'{address}/epoch_1.pth', '--work-dir', tmp_path / 'new')
        assert code == 0, output
        weights = [load(folder / 'epoch_2.pth')['state_dict'] for folder in (work, tmp_path / 'new')]
        assert differences(*weights) == []
        code, output = run_tool('test.py', path, f'{address}/epoch_2.pth')
        assert code == 0, output


@pytest.mark.parametrize('said', ['x/..', 'x/work', '..', 'best_x.pth/.', ['a'], 3])
def test_what_a_checkpoint_calls_its_best_weights_is_not_removed(trained, run_tool, said):
    """But for what this hook names so."""
    path, work = trained
    (work / 'work').mkdir()
    (work / 'best_x.pth').mkdir()
    (work / 'epoch_2.pth').unlink()

    def change(content):
        content['message_hub']['runtime_info'].update(best_ckpt=said, best_score=-1.0)
        content['message_hub']['resumed_keys'].update(best_ckpt=True, best_score=True)

    changed(work / 'epoch_1.pth', change)
    code, output = run_tool('train.py', path, '--resume')
    assert code == 0, output
    assert f'names {said!r} as the best weights: it is left alone' in output
    assert {'work', 'best_x.pth', 'epoch_2.pth'} <= {each.name for each in work.iterdir()}


@pytest.mark.parametrize(
    ('note', 'words'),
    [
        (dict(keep_ckpt_ids=['/../../x']), 'expected a list of epochs or iterations'),
        (dict(keep_ckpt_ids=3), 'expected a list of epochs or iterations'),
        (dict(best_score='high'), "best_score in its message_hub is 'high', expected a number"),
    ],
)
def test_notes_of_the_checkpoint_hook(trained, run_tool, note, words):
    path, work = trained
    (work / 'epoch_2.pth').unlink()
    changed(work / 'epoch_1.pth', lambda content: content['message_hub']['runtime_info'].update(note))
    code, output = run_tool('train.py', path, '--resume', '--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=1')
    assert code == 1
    assert error_of(output).startswith(f'{work}/epoch_1.pth: {next(iter(note))} in its message_hub is')
    assert words in error_of(output)


@pytest.mark.parametrize(
    'option',
    ['train_dataloader.dataset.count=0', 'optim_wrapper.optimizer.rate=3', 'load_from=OTHER', 'load_from=OWN'],
)
def test_a_run_that_does_not_start_overwrites_nothing(trained, run_tool, tmp_path, option):
    path, work = trained
    torch.save(dict(state_dict=dict(weight=torch.zeros(3)), meta={}), tmp_path / 'other.pth')
    option = option.replace('OTHER', str(tmp_path / 'other.pth')).replace('OWN', str(work / 'epoch_2.pth'))
    before = {name: (work / name).read_bytes() for name in checkpoints(work)}
    assert list(before) == ['best_accuracy_epoch_2.pth', 'epoch_1.pth', 'epoch_2.pth']
    code, output = run_tool('train.py', path, '--overwrite', '--cfg-options', option)
    assert code == 1, output
    assert {name: (work / name).read_bytes() for name in checkpoints(work)} == before
    assert (work / 'last_checkpoint').read_text() == 'epoch_2.pth'
    if 'OWN' in option:
        assert 'which this run starts from (load_from)' in error_of(output)


def test_a_run_that_starts_overwrites_all(trained, run_tool):
    path, work = trained
    seen = []
    TestProbe.calls = dict(
        before_train_iter=lambda runner, batch: seen.append(checkpoints(work)),
        after_train_iter=lambda runner: seen.append(sorted(each.name for each in work.glob('.*'))),
    )
    code, output = run_tool('train.py', path, '--overwrite', '--cfg-options', 'train_cfg.max_epochs=1')
    assert code == 0, output
    assert seen[:2] == [[], ['.lock']]
    assert checkpoints(work) == ['best_accuracy_epoch_1.pth', 'epoch_1.pth']


def test_after_a_larger_batch_the_newest_is_the_newest(config, run_tool):
    """Its iterations are fewer than before."""
    path, work = config
    assert run_tool('train.py', path)[0] == 0
    options = ['--resume', '--cfg-options', 'train_dataloader.batch_size=8']
    code, output = run_tool('train.py', path, *options, 'train_cfg.max_epochs=3')
    assert code == 0, output
    meta = load(work / 'epoch_3.pth')['meta']
    assert (meta['epoch'], meta['iter'], meta['epoch_length']) == (3, 6, 2)
    seen = []
    TestProbe.calls = dict(before_train_iter=lambda runner, batch: seen.append((runner.epoch, runner.iter)))
    code, output = run_tool('train.py', path, *options, 'train_cfg.max_epochs=4')
    assert code == 0, output
    assert f'going on from {work}/epoch_3.pth' in output
    assert seen == [(3, 6), (3, 7)]


def test_text_in_a_checkpoint_does_not_become_a_config(trained, run_tool, tmp_path):
    path, work = trained
    written = (work / path.name).read_text()
    for key, value in (
        ('bands', {f"a': __import__('os').mkdir('{tmp_path}/ran'), 'b": 1}),
        ('modality', [1]),
        ('module', {'a': 1}),
        ('checkpoint', '{{ $ENV:HOME:x }}'),
    ):
        options = dict(type='PretrainedBackboneHook', checkpoint='x.pth') | {key: value}
        changed(work / 'epoch_2.pth', lambda c, hook=options: c['meta'].update(cfg=f'custom_hooks = [{hook!r}]'))
        code, output = run_tool('train.py', path, '--resume')
        assert code == 1, (key, output)
        assert error_of(output).startswith(f'--resume {work}/epoch_2.pth: ')
        assert f'{key}=' in error_of(output)
    changed(work / 'epoch_2.pth', lambda c: c['meta'].update(seed={"a': 1}, 'b": 1}))
    options = ['--resume', work / 'epoch_2.pth', '--cfg-options', 'randomness.seed=None']
    code, output = run_tool('train.py', path, *options)
    assert code == 1
    assert error_of(output).startswith(f'--resume {work}/epoch_2.pth: its meta.seed is')
    assert (work / path.name).read_text() == written
    Config.fromfile(work / path.name)
    assert not (tmp_path / 'ran').exists()


def rates_of(run_tool, path, *arguments):
    """Iteration and learning rate after each step."""
    found = []
    TestProbe.calls = dict(
        after_train_iter=lambda runner: found.append((runner.iter, runner.optim_wrapper.get_lr()['lr'][0]))
    )
    code, output = run_tool('train.py', path, *arguments)
    assert code == 0, output
    return list(found)


def emptied(content):
    content['param_schedulers'] = []
    content['optimizer']['param_groups'][0]['lr'] = 0.5


@pytest.mark.parametrize(
    'change',
    [
        emptied,
        lambda c: c['param_schedulers'][0].pop('T_max'),
        lambda c: c['param_schedulers'][0].update(_global_step=1),
        lambda c: c.update(param_schedulers=dict(a=1)),
    ],
)
def test_schedules_that_were_changed_are_planned_anew(config, run_tool, tmp_path, change):
    path, work = config
    whole = rates_of(run_tool, path)
    changed(work / 'epoch_1.pth', change)
    again = rates_of(run_tool, path, '--resume', work / 'epoch_1.pth', '--work-dir', tmp_path / 'again')
    assert again == whole[4:]
    assert differences(*(load(f / 'epoch_2.pth')['state_dict'] for f in (work, tmp_path / 'again'))) == []


def test_what_mmengine_saved_inside_an_epoch(config, run_tool, tmp_path):
    """It does not say how many iterations make one."""
    path, _ = config
    whole = rates_of(run_tool, path)
    cfg = Config.fromfile(path)
    cfg.update(work_dir=str(tmp_path / 'theirs'), experiment_name='inside_an_epoch')
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=7)
    Runner.from_cfg(cfg).train()
    meta = load(tmp_path / 'theirs' / 'iter_7.pth')['meta']
    assert (meta['epoch'], meta['iter'], 'epoch_length' in meta) == (1, 7, False)
    file = tmp_path / 'theirs' / 'iter_7.pth'
    assert rates_of(run_tool, path, '--resume', file, '--work-dir', tmp_path / 'again') == whole[7:]


def test_averages_that_are_missing(config, run_tool):
    path, work = config
    path.write_text(path.read_text() + "custom_hooks.append(dict(type='EMAHook', momentum=0.1))\n")
    assert run_tool('train.py', path)[0] == 0
    (work / 'epoch_2.pth').unlink()
    kept = (work / 'epoch_1.pth').read_bytes()
    changed(work / 'epoch_1.pth', lambda content: content.pop('ema_state_dict'))
    code, output = run_tool('train.py', path, '--resume')
    assert code == 1
    assert error_of(output).startswith(f'{work}/epoch_1.pth has no ema_state_dict, the second half of what EMAHook')
    (work / 'epoch_1.pth').write_bytes(kept)
    code, output = run_tool('train.py', path, '--resume')
    assert code == 0, output


@pytest.mark.parametrize('number', [1, 2])
def test_a_validation_that_was_interrupted_is_made_up_for(config, run_tool, monkeypatch, number):
    path, work = config
    monkeypatch.setattr(InValidation, 'ends', number)
    code, output = run_tool('train.py', path)
    assert code == 1
    assert InValidation.seen == [1, 2][:number]
    assert not (work / f'best_accuracy_epoch_{number}.pth').exists()
    monkeypatch.setattr(InValidation, 'ends', 0)
    InValidation.seen.clear()
    code, output = run_tool('train.py', path, '--resume')
    assert code == 0, output
    assert InValidation.seen == [1, 2][number - 1 :]
    assert checkpoints(work) == ['best_accuracy_epoch_2.pth', 'epoch_1.pth', 'epoch_2.pth']
    if number == 1:  # what is saved after a validation says so
        InValidation.seen.clear()
        code, output = run_tool('train.py', path, '--resume')
        assert code == 0, output
        assert InValidation.seen == []


@pytest.mark.parametrize('content', [[1, 2], dict(state_dict=[1, 2]), dict(state_dict={}, meta=5)])
def test_files_of_other_kinds(config, run_tool, tmp_path, content):
    torch.save(content, tmp_path / 'odd.pth')
    for arguments in (
        ['test.py', config[0], tmp_path / 'odd.pth'],
        ['train.py', config[0], '--cfg-options', f'load_from={tmp_path}/odd.pth'],
    ):
        code, output = run_tool(*arguments)
        assert code == 1
        assert error_of(output).startswith(f'{tmp_path}/odd.pth')
        assert 'expected a dict' in error_of(output)


def test_nothing_said_beside_the_weights(trained, run_tool, tmp_path):
    path, work = trained
    torch.save(dict(state_dict=load(work / 'epoch_2.pth')['state_dict'], meta=None), tmp_path / 'bare.pth')
    options = ['--work-dir', tmp_path / 'new', '--cfg-options', f'load_from={tmp_path}/bare.pth']
    code, output = run_tool('train.py', path, *options)
    assert code == 0, output


def test_a_marker_where_the_launcher_asks_for_it(config, run_tool, tmp_path, monkeypatch):
    path, work = config
    monkeypatch.setenv('MMRS_SSL_MARKER', str(tmp_path / 'marker'))
    TestProbe.calls = dict(before_train_iter=lambda runner, batch: os.kill(os.getpid(), 10))
    code, output = run_tool('train.py', path)
    assert code == 75, output
    assert (tmp_path / 'marker').read_text() == (work / 'interrupted').read_text() == f'{work}/interim.pth\nSIGUSR1\n'
    assert Path(tmp_path / 'marker.started').exists()
