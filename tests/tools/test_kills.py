"""A run that was killed and resumed is the run that was not, with the loader that ships: two workers that persist."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmrs_ssl.engine.checkpoint_files import find_newest
from tests.conftest import TestProbe, cmid_config, dino_config, mssdf_config
from tests.forked import Run, differences, load

LOADER = """
train_dataloader.update(num_workers=2, persistent_workers=True)
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=1, max_keep_ckpts=1))
train_cfg = dict(max_epochs=2)
custom_hooks = [*_base_.custom_hooks, dict(type='TestProbe')]
"""
VIT = dino_config('vit')['backbone']
METHODS = {
    'cmid': cmid_config(),
    'dino-resnet': dino_config(),
    'dino-vit': dino_config('vit', backbone={**VIT, 'drop_path_rate': 0.5}),
    'mssdf': mssdf_config(),
}
ACCUMULATED = ['train_dataloader.batch_size=3', 'optim_wrapper.accumulative_counts=2']  # five iterations an epoch
EVERY_STEP = 'default_hooks.checkpoint.minutes=1e-9'


def killing(moment):
    """Calls of a probe that kill the process in the step of this iteration, before it is finished."""

    def look(runner, batch):
        if runner.iter == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    return dict(before_train_iter=look)


class Trial:
    """The same training of 2 epochs of 4 iterations, as often as it takes."""

    def __init__(self, make_config, folder: Path, model: dict, *options: str, ranks: int = 1, amp: bool = False):
        self.folder, self.ranks = folder, ranks
        self.config: Config = make_config(LOADER, model=model)
        self.args = [*(['--amp'] if amp else []), *(['--cfg-options', *options] if options else [])]

    def start(self, name, *args, **calls):
        TestProbe.calls = calls
        work, log = self.folder / name, self.folder / f'{name}.log'
        return Run(log, 'train.py', self.config.filename, '--work-dir', work, *args, *self.args, ranks=self.ranks)

    def finish(self, name, *args):
        """The last checkpoint of a run that nobody disturbs."""
        run = self.start(name, *args)
        assert run.wait() == [0] * self.ranks, run.log.read_text()[-3000:]
        folder = self.folder / name
        return load(folder / (folder / 'last_checkpoint').read_text())

    def kill_in(self, name, moment, *args):
        """A run that is killed in the step of this iteration."""
        run = self.start(name, *args, **killing(moment))
        assert run.wait() == [-signal.SIGKILL] * self.ranks, run.log.read_text()[-3000:]

    def newest(self, name='parts'):
        """The newest checkpoint of a run."""
        return find_newest(self.folder / name)[0]


def same(whole, parts, iterations=8):
    """They are equal in weights, teacher, queue, center, optimizer, schedules, monitors and logged losses."""
    assert differences(whole, parts) == []
    assert whole['meta']['iter'] == iterations
    assert len(whole['message_hub']['log_scalars']['train/loss'].data[0]) == iterations
    assert whole['optimizer']['state']
    assert whole['collapse_monitor']['window']


@pytest.mark.parametrize(
    ('method', 'options', 'more', 'iterations'),
    [
        pytest.param('dino-vit', [], dict(amp=True), 8, marks=pytest.mark.slow),  # ten kills of it are slow, too
        ('dino-resnet', ACCUMULATED, {}, 10),
    ],
    ids=['amp', 'accumulated'],
)
def test_killed_in_a_step(make_config, tmp_path, method, options, more, iterations):
    """Inside an epoch, after a checkpoint inside of it; with accumulated gradients the step spans two epochs."""
    trial = Trial(make_config, tmp_path, METHODS[method], EVERY_STEP, *options, **more)
    whole = trial.finish('whole')
    moment = 7 if options else iterations - 1
    trial.kill_in('parts', moment)
    assert load(trial.newest())['meta']['iter'] == (6 if options else moment)
    same(whole, trial.finish('parts', '--resume'), iterations)


def test_killed_between_epochs(make_config, tmp_path):
    """Both of two processes."""
    trial = Trial(make_config, tmp_path, METHODS['mssdf'], ranks=2)
    whole = trial.finish('whole')
    run = trial.start('parts', after_train_epoch=lambda runner: os.kill(os.getpid(), signal.SIGKILL))
    assert run.wait() == [-signal.SIGKILL] * 2
    assert trial.newest().name == 'epoch_1.pth'
    same(whole, trial.finish('parts', '--resume'), 4)


def test_killed_while_writing(make_config, tmp_path):
    """The only checkpoint that is kept is still there, and what was half written is removed."""
    trial = Trial(make_config, tmp_path, METHODS['cmid'])
    whole = trial.finish('whole')

    def grow(runner):  # it takes a while to write
        if runner.epoch == 1:
            runner.message_hub.runtime_info['ballast'] = torch.zeros(2**27)

    run = trial.start('parts', after_train_iter=grow)
    part = tmp_path / 'parts' / '.epoch_2.pth.part'
    run.until(lambda: part.exists() and part.stat().st_size > 0)
    run.kill()
    assert run.codes == [-signal.SIGKILL]
    assert part.stat().st_size < 2**29
    assert trial.newest().name == 'epoch_1.pth'
    same(whole, trial.finish('parts', '--resume'))
    assert not part.exists()


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['plain', 'amp', 'accumulated', 'two processes'])
@pytest.mark.parametrize('method', METHODS)
def test_ten_kills_at_random_moments(make_config, tmp_path, method, kind):
    epochs = 32 if kind == 'two processes' else 16  # which are half as long
    options = [EVERY_STEP, f'train_cfg.max_epochs={epochs}', *(ACCUMULATED if kind == 'accumulated' else [])]
    trial = Trial(
        make_config, tmp_path, METHODS[method], *options, amp=kind == 'amp', ranks=2 if kind == 'two processes' else 1
    )
    whole = trial.finish('whole')
    rng = random.Random(f'{method} {kind}')
    args, log = [], tmp_path / 'parts.log'

    def count(words):
        return log.read_text().count(words) if log.exists() else 0

    for _ in range(10):
        words, more = rng.choice([('be saved', 1), ('Epoch(train)', 1), ('Epoch(train)', 2)])  # as it starts, or trains
        wanted = count(words) + more
        run = trial.start('parts', *args)
        run.until(lambda words=words, wanted=wanted: count(words) >= wanted)
        time.sleep(rng.uniform(0, 0.3))
        run.kill()
        assert run.codes == [-signal.SIGKILL] * trial.ranks, log.read_text()[-3000:]
        args = ['--resume']
    same(whole, trial.finish('parts', *args), whole['meta']['iter'])
