"""The live line: on a terminal in place of mmengine's lines, which stay in the file; elsewhere nothing changes."""

import io
import os
import re
import sys
import threading
from contextlib import contextmanager, redirect_stdout

import pytest
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from rich.console import Console

from mmrs_ssl.cli.console import console_handlers
from mmrs_ssl.cli.live_line import describe_step, live_line
from mmrs_ssl_commands.main import run_command
from tests.conftest import TestProbe, log_of

EXTRA = 'custom_hooks = [*_base_.custom_hooks, dict(type="TestProbe")]'


@contextmanager
def terminal(monkeypatch):
    """Make the standard output a terminal of 240 columns; yields a list of what is shown on it, whole in the end."""
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '240')
    leader, follower = os.openpty()
    shown = []

    def read():
        try:
            while part := os.read(leader, 4096):
                shown.append(part.decode())
        except OSError:  # all is read, and nobody writes
            os.close(leader)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(follower, 'w') as stream:
        with redirect_stdout(stream):
            yield shown
        for handler in console_handlers(MMLogger.get_current_instance()):
            handler.setStream(sys.stdout)
    reader.join(timeout=20)


def test_on_a_terminal(make_config, monkeypatch):
    """A training by the tool: one line, which says all that is promised, and messages above it."""
    cfg = make_config()
    with terminal(monkeypatch) as parts:
        assert run_command('train', [cfg.filename]) == 0
    shown = ''.join(parts)
    assert 'Epoch(train)' not in shown
    assert 'Exp name' not in shown
    *lines, last = re.split(r'[\r\n]+', re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', shown).strip())
    assert all(re.match(r'\d\d/\d\d ', line) for line in lines if ' - mmengine - ' in line)
    wanted = r'epoch 2/2  step 4/4  ETA 0:00:00  loss [\d.]+  waiting for data \d+%  student_std [\d.]+  student_rank '
    assert re.match(wanted, last), last
    assert 'Saving checkpoint at 2 epochs' in shown
    assert shown.count('\x1b[?25l') == shown.count('\x1b[?25h') == 1  # the cursor comes back
    log = log_of(cfg.work_dir)
    assert log.count('Epoch(train)') == 8  # interval=1, two epochs of four steps
    assert 'Saving checkpoint at 2 epochs' in log
    assert 'waiting for data' not in log


def test_elsewhere_nothing_changes(make_config, capfd):
    cfg = make_config()
    assert run_command('train', [cfg.filename, '--cfg-options', 'train_cfg.max_epochs=1']) == 0
    said = capfd.readouterr().out
    assert said.count('Epoch(train)') == 4
    assert 'waiting for data' not in said


def test_an_error_ends_the_line(make_config, monkeypatch):
    """The cursor and the standard output come back, and the log's lines with them."""

    def fail(*_):
        raise RuntimeError('enough')

    TestProbe.calls = {'after_train_iter': fail}
    cfg = make_config(EXTRA)
    with terminal(monkeypatch) as parts:
        runner = Runner.from_cfg(cfg)
        before = sys.stdout
        with pytest.raises(RuntimeError, match='enough'), live_line(runner):
            runner.train()
        assert sys.stdout is before
        runner.logger.info('Epoch(train) once more')
    shown = ''.join(parts)
    assert shown.count('\x1b[?25h') == 1
    assert 'Epoch(train) once more' in shown.rsplit('\x1b[?25h')[-1]


def test_by_iterations_and_averages(make_config):
    """Losses of the last ten steps, and the share of their time that passed without data."""
    TestProbe.calls = {}
    loop = 'train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=3)\nparam_scheduler = []'
    base = '\ndefault_hooks = dict(logger=dict(interval=1), checkpoint=dict(by_epoch=False, interval=100))'
    hooks = 'custom_hooks = [dict(type="mmrs_ssl.TeacherUpdateHook"), dict(type="TestProbe")]'
    runner = Runner.from_cfg(make_config(f'{hooks}\n{loop}{base}'))
    said, losses = [], []

    def note(runner):
        losses.append(runner.message_hub.get_scalar('train/loss').current())
        runner.message_hub.get_scalar('train/data_time')._log_history[:] = 0.2
        runner.message_hub.get_scalar('train/time')._log_history[:] = 0.8
        said.append(describe_step(runner, 0))

    TestProbe.calls['after_train_iter'] = note
    console = Console(file=io.StringIO(), force_terminal=True, width=240)
    with live_line(runner, console):
        runner.train()
    assert said[1].startswith('step 2/3  ETA 0:00:0')
    assert f'loss {sum(losses) / 3:.4g}  waiting for data 25%' in said[2]
    assert 'step 3/3' in console.file.getvalue()
