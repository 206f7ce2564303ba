"""Signals and deaths under the launchers: torchrun itself, and Slurm's programs played by small scripts."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmrs_ssl.engine.checkpoint_files import find_newest
from tests.conftest import ROOT, cmid_config
from tests.engine.test_distributed import environment, free_port
from tests.forked import differences, load

pytestmark = pytest.mark.slow

LOADER = """
train_dataloader.update(num_workers=2, persistent_workers=True, batch_size=2)
train_cfg = dict(max_epochs=40)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=100))
"""


def config(make_config, model=None):
    cfg = make_config(LOADER, model=model)
    return cfg.filename, Path(cfg.work_dir)


class Started:
    """A launcher in a session of its own, and the processes it has started."""

    def __init__(self, folder: Path, *command: object, **env: str) -> None:
        self.log = folder / 'output.txt'
        with self.log.open('a') as out:
            self.process = subprocess.Popen(
                [*map(str, command)],
                env=environment(PYTHON=sys.executable, PORT=str(free_port()), **env),
                cwd=folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def until(self, pattern: str, seconds: float = 240) -> None:
        """Wait until the output has this."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.log.read_text()):
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            time.sleep(0.02)

    def ranks(self) -> list[int]:
        """The processes that train: the launcher's children."""
        found = subprocess.run(['ps', '-o', 'pid=', '--ppid', str(self.process.pid)], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]


def gone(pids, seconds):
    end = time.monotonic() + seconds
    while any(Path(f'/proc/{pid}').exists() and 'Z' not in state(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def state(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0]
    except OSError:
        return 'Z'


@pytest.mark.parametrize('kind', [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
def test_torchrun_passes_signals_on(make_config, tmp_path, kind):
    """All ranks save at the same step, and the resumed run is the uninterrupted one."""
    filename, work = config(make_config)
    script = ROOT / 'tools' / 'dist_train.sh'
    run = Started(tmp_path, 'bash', script, filename, '2')
    run.until(r'Epoch\(train\) +\[3\]\[2/4\]')
    run.process.send_signal(kind)
    assert run.process.wait(60) != 0
    file, reason = (work / 'interrupted').read_text().splitlines()
    assert reason in (kind.name, 'a signal to another process')
    assert load(Path(file))['meta']['world_size'] == 2
    if kind is not signal.SIGUSR1:
        return
    whole = Started(tmp_path, 'bash', script, filename, '2', '--work-dir', tmp_path / 'whole')
    assert whole.process.wait(300) == 0, whole.log.read_text()[-3000:]
    again = Started(tmp_path, 'bash', script, filename, '2', '--resume')
    assert again.process.wait(300) == 0, again.log.read_text()[-3000:]
    assert not (work / 'interrupted').exists()
    assert differences(load(tmp_path / 'whole' / 'epoch_40.pth'), load(work / 'epoch_40.pth')) == []


def test_ranks_end_when_their_launcher_is_gone(make_config, tmp_path):
    filename, work = config(make_config)
    run = Started(tmp_path, 'bash', ROOT / 'tools' / 'dist_train.sh', filename, '2')
    run.until(r'Epoch\(train\) +\[2\]\[1/4\]')
    ranks = run.ranks()
    assert len(ranks) == 2
    run.process.kill()
    run.process.wait()
    assert gone(ranks, 10)
    assert (work / 'interrupted').read_text().splitlines()[1] == 'torchrun is gone'
    assert find_newest(work)[0] == work / 'interim.pth'


def test_the_others_end_when_a_rank_is_killed(make_config, tmp_path):
    filename, work = config(make_config, cmid_config())
    run = Started(
        tmp_path,
        'bash',
        ROOT / 'tools' / 'dist_train.sh',
        filename,
        '2',
        '--cfg-options',
        'default_hooks.checkpoint.interval=1',
    )
    run.until(r'Epoch\(train\) +\[2\]\[1/4\]')
    ranks = run.ranks()
    os.kill(ranks[1], signal.SIGKILL)
    assert gone(ranks, 10)
    assert run.process.wait(40) != 0
    assert find_newest(work)[0] is not None


SRUN = """#!/usr/bin/env bash
while [[ $1 == -* ]]; do shift; done
"${@/#slurm/none}" &
if [ ! -e early ]; then  # before the training listens
    touch early
    kill -USR1 $!
elif [ ! -e signaled ]; then
    until grep -q 'Epoch(train) .*\\[2\\]\\[2/8\\]' job.txt; do sleep 0.05; done
    touch signaled
    kill -USR1 $!
fi
wait $!
"""
SBATCH = """#!/usr/bin/env bash
printf '%s\\n' "$@" > sbatch_arguments
cat > job
SLURM_JOB_ID=7 bash job >> job.txt 2>&1
"""
SCONTROL = """#!/usr/bin/env bash
echo "$@" > requeued
SLURM_RESTART_COUNT=1 exec bash job
"""


def test_slurm_asks_for_a_signal_and_queues_again(make_config, tmp_path):
    filename, _ = config(make_config)
    work = tmp_path / 'of the config'
    with Path(filename).open('a') as file:
        file.write(f'work_dir = {str(work)!r}\n')
    work.mkdir()
    (work / 'epoch_9.pth').write_text('of an earlier run')
    (tmp_path / 'bin').mkdir()
    for name, text in dict(srun=SRUN, sbatch=SBATCH, scontrol=SCONTROL).items():
        (tmp_path / 'bin' / name).write_text(text)
        (tmp_path / 'bin' / name).chmod(0o755)
    path = f'{tmp_path / "bin"}:{os.environ["PATH"]}'
    options = ['--cfg-options', 'train_cfg.max_epochs=4']
    run = Started(
        tmp_path,
        'bash',
        ROOT / 'tools' / 'slurm_train.sh',
        'gpu',
        'a name',
        filename,
        '--overwrite',
        *options,
        PATH=path,
        LEAD='300',
        TIME='1:00:00',
    )
    job = tmp_path / 'job.txt'
    assert run.process.wait(300) == 0, job.read_text()[-3000:] if job.exists() else run.log.read_text()
    arguments = (tmp_path / 'sbatch_arguments').read_text().splitlines()
    assert {'--signal=USR1@300', '--requeue', '--time=1:00:00', '--job-name=a name'} <= set(arguments)
    assert (tmp_path / 'requeued').read_text() == 'requeue 7\n'
    assert job.read_text().count('interrupted: queued again') == 2
    assert '--resume: going on from' in job.read_text()
    assert not list(tmp_path.glob('.interrupted*'))
    assert not (work / 'epoch_9.pth').exists()
    assert not list(work.glob('.*.overwritten'))
    assert (work / 'epoch_4.pth').exists()
    assert not (work / 'interrupted').exists()
