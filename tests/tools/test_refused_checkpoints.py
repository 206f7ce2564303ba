"""What does not fit is refused by the tools, whatever the library, before anything is trained."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner

from mmrs_ssl.engine.resuming import CheckpointGuard
from tests.conftest import build_cmid, build_dino, cmid_config, dino_config
from tests.engine.hooks.test_checkpoint import PLAIN
from tests.engine.resuming.test_position import built
from tests.forked import load
from tests.tools.test_train import error_of


@pytest.fixture
def trained(make_config):
    """A work dir with the checkpoint of one epoch."""
    cfg = make_config(f'{PLAIN}train_cfg = dict(max_epochs=2)')
    Runner.from_cfg(cfg).train()
    (Path(cfg.work_dir) / 'epoch_2.pth').unlink()
    return Path(cfg.work_dir) / 'epoch_1.pth'


def drop_weights(start):
    def spoil(checkpoint):
        for key in [key for key in checkpoint['state_dict'] if key.startswith(start)]:
            del checkpoint['state_dict'][key]

    return spoil


SPOILED = [
    (drop_weights('global_head.queue'), r'would stay random: global_head\.queue'),
    (drop_weights('center'), r'would stay random: center\.value'),
    (drop_weights('teacher.module.backbone.layer3'), r'would stay random: teacher\.module\.backbone\.layer3'),
    (lambda c: c['state_dict'].update(extra=torch.zeros(2)), 'unknown to the model: extra'),
    (lambda c: c['optimizer']['state'].popitem(), 'averages of'),
    (lambda c: c.pop('optimizer'), 'it has no optimizer'),
    (lambda c: c.pop('message_hub'), 'it has no message_hub'),
    (lambda c: c['meta'].pop('iter'), r'it has no meta\.iter'),
]


def test_resume_of_a_file_that_is_not_whole(make_config, run_tool, trained, tmp_path):
    runner = built(make_config(PLAIN))
    path = tmp_path / 'spoiled.pth'
    runner.register_hook(CheckpointGuard(str(path), resume=True))
    whole = trained.read_bytes()
    path.write_bytes(whole)
    runner.resume(str(path))
    assert runner.iter == 4
    for spoil, words in SPOILED:
        checkpoint = load(trained)
        spoil(checkpoint)
        torch.save(checkpoint, path)
        with pytest.raises(ValueError, match=rf'{path}.*{words}'):
            runner.resume(str(path))
    # and the tool does so
    code, output = run_tool('train.py', make_config(PLAIN).filename, '--resume', path, '--work-dir', tmp_path / 'new')
    assert code == 1
    assert re.match(rf'--resume {path}: it has no meta\.iter', error_of(output))


def test_resume_runs_nothing(make_config, run_tool, trained, tmp_path):
    checkpoint = load(trained)
    checkpoint['meta']['config'] = f"open('{tmp_path}/ran', 'w')\n"
    checkpoint['meta']['cfg'] += f"\nopen('{tmp_path}/ran', 'w')\nmore = __import__('os').getpid()\n"
    torch.save(checkpoint, trained)
    code, output = run_tool('train.py', make_config(PLAIN).filename, '--resume')
    assert code == 0, output
    assert not (tmp_path / 'ran').exists()


def test_resume_with_another_method_optimizer_or_seed(make_config, run_tool, trained):
    code, output = run_tool('train.py', make_config(PLAIN, model=dino_config()).filename, '--resume', trained)
    assert code == 1
    assert 'model.type was CMID and is now DINOMC: its weights are of another method' in error_of(output)
    options = ['--cfg-options', 'optim_wrapper.optimizer.type=AdamW']
    code, output = run_tool('train.py', make_config(PLAIN).filename, '--resume', trained, *options)
    assert code == 1
    assert 'optim_wrapper.optimizer.type was BlockAdan and is now AdamW' in error_of(output)
    options = ['--cfg-options', 'train_cfg.max_epochs=1', 'param_scheduler=[]']
    save_at(trained, epoch=2, iteration=8)
    code, output = run_tool('train.py', make_config(PLAIN).filename, '--resume', trained, *options)
    assert code == 1
    assert 'train_cfg.max_epochs=1 is passed already' in error_of(output)
    save_at(trained, epoch=1, iteration=4)
    options = ['--cfg-options', 'randomness.seed=3']
    code, output = run_tool('train.py', make_config(PLAIN).filename, '--resume', trained, *options)
    assert code == 0, output
    assert 'randomness.seed' in output
    assert load(trained.with_name('epoch_2.pth'))['meta']['seed'] == 3


def save_at(path, epoch, iteration):
    checkpoint = load(path)
    checkpoint['meta'].update(epoch=epoch, iter=iteration)
    torch.save(checkpoint, path)


@pytest.mark.parametrize(('build', 'other'), [(build_cmid, dino_config), (build_dino, cmid_config)])
def test_weights_of_another_method(make_config, run_tool, tmp_path, build, other):
    torch.save(dict(state_dict=build().state_dict(), meta={}), tmp_path / 'other.pth')
    options = ['--cfg-options', f'load_from={tmp_path / "other.pth"}', 'train_cfg.max_epochs=2']
    code, output = run_tool('train.py', make_config(PLAIN, model=other()).filename, *options)
    assert code == 1
    error = error_of(output)
    assert 'weights of the model are not in it and would stay random' in error
    assert '--allow-missing' in error
    allowed = ['--allow-missing', '*head*', 'neck*', '*center*', '*mask_token*', 'teacher.module.neck*']
    code, output = run_tool('train.py', make_config(PLAIN, model=other()).filename, *options, *allowed)
    assert code == 0, output
