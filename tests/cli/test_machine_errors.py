"""A full disk, a place that cannot be written, a process that was killed: what a user reads, and what is left."""

import ctypes
import json
import os
import resource
import signal
import subprocess
from multiprocessing import get_context
from pathlib import Path

import pytest

from mmrs_ssl.cli.errors import explain
from mmrs_ssl.engine.checkpoint_files import read_checkpoint
from tests.conftest import train
from tests.engine.test_hooks import without
from tests.tools.test_train import error_of

NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000


def small_disk(folder: Path, options: str) -> None:
    """Put a small file system of this process's own at a folder."""
    unshare = ctypes.CDLL(None).unshare
    if unshare(NEW_MOUNTS) != 0 and unshare(NEW_MOUNTS | NEW_USER) != 0:
        raise PermissionError('this machine lets no process have mounts of its own')
    folder.mkdir(exist_ok=True)
    for command in ('--make-rprivate /', f'-t tmpfs -o {options} tmpfs {folder}'):
        subprocess.run(['mount', *command.split()], check=True, capture_output=True)


def run_on_small_disk(cfg, disk: Path, options: str, file: Path) -> None:
    """Train with it; note what was said and what is left, which is gone with the process."""
    work = Path(cfg.work_dir)
    try:
        small_disk(disk, options)
    except (OSError, subprocess.CalledProcessError) as error:
        found = dict(skip=f'no file system to fill: {error}')
    else:
        try:
            train(cfg)
            found = dict(said='')
        except Exception as error:
            found = dict(said=explain(error))
        left = sorted(path.name for path in work.iterdir())
        found |= dict(left=left, readable=[name for name in left if '.pth' in name and read_checkpoint(work / name)])
    file.write_text(json.dumps(found))
    os._exit(0)


def on_small_disk(cfg, options, tmp_path, disk=None):
    file = tmp_path / 'found.json'
    args = cfg, disk or Path(cfg.work_dir), options, file
    process = get_context('fork').Process(target=run_on_small_disk, args=args)
    process.start()
    process.join(120)
    found = json.loads(file.read_text())
    if 'skip' in found:
        pytest.skip(found['skip'])
    return found


def quiet(make_config, **options):
    cfg = without(make_config(**options), 'PictureHook')
    cfg.train_cfg.max_epochs = 3
    return cfg


def test_a_disk_that_is_full(make_config, tmp_path):
    cfg = quiet(make_config)
    found = on_small_disk(cfg, f'size={int(2.5 * size_of_checkpoint(make_config))}', tmp_path)
    work = Path(cfg.work_dir)
    assert f'{work}/epoch_3.pth could not be written: ' in found['said']
    assert ' MB are free on its disk' in found['said']
    assert 'and it needs about ' in found['said']
    assert f'--resume goes on from {work}/epoch_2.pth' in found['said']
    assert found['readable'] == ['epoch_1.pth', 'epoch_2.pth']
    assert not [name for name in found['left'] if 'epoch_3' in name]


def test_a_disk_that_cannot_be_written(make_config, tmp_path):
    cfg = quiet(make_config)
    found = on_small_disk(cfg, 'ro', tmp_path)
    assert cfg.work_dir in found['said']
    assert 'cannot be written: the file system is read-only; make its folder writable, or give' in found['said']


@pytest.mark.slow
def test_shared_memory_that_is_full(make_config, tmp_path):
    cfg = quiet(make_config)
    cfg.train_dataloader.update(num_workers=1, persistent_workers=True)
    found = on_small_disk(cfg, 'size=64k', tmp_path, Path('/dev/shm'))
    assert '/dev/shm' in found['said']
    assert 'or lower train_dataloader.num_workers' in found['said']


def size_of_checkpoint(make_config):
    cfg = quiet(make_config, name='measured')
    cfg.work_dir += '_measured'
    cfg.train_cfg.max_epochs = 1
    cfg.param_scheduler = []
    train(cfg)
    return Path(cfg.work_dir, 'epoch_1.pth').stat().st_size


def test_files_that_may_not_be_so_large(make_config, run_tool, tmp_path):
    """As under ``ulimit -f``; training goes on when the limit is gone."""
    cfg = make_config('custom_hooks = [h for h in _base_.custom_hooks if "Picture" not in h["type"]]')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert run_tool('train.py', cfg.filename, '--cfg-options', 'train_cfg.max_epochs=1', 'param_scheduler=[]')[0] == 0
    work = Path(cfg.work_dir)
    limit = (work / 'epoch_1.pth').stat().st_size // 2
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        options = ['--resume', '--cfg-options', 'train_cfg.max_epochs=2', 'param_scheduler=[]']
        code, output = run_tool('train.py', cfg.filename, *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1
    said = error_of(output)
    assert f'{work}/epoch_2.pth could not be written: this process may write files of {limit / 1e6:.3g} MB' in said
    assert f'--resume goes on from {work}/epoch_1.pth' in said
    assert [path.name for path in work.glob('*epoch*')] == ['epoch_1.pth']
    assert read_checkpoint(work / 'epoch_1.pth')['meta']['epoch'] == 1
    code, output = run_tool('train.py', cfg.filename, *options)
    assert code == 0, output
    assert (work / 'epoch_2.pth').is_file()


def test_a_file_in_the_way_of_the_work_dir(make_config, run_tool, tmp_path):
    (tmp_path / 'notes').write_text('mine')
    code, output = run_tool('train.py', make_config().filename, '--work-dir', tmp_path / 'notes' / 'run')
    assert code == 1
    said = error_of(output)
    assert said.startswith(f'the work dir {tmp_path / "notes" / "run"} cannot be written to (Not a directory): ')
    with pytest.raises(NotADirectoryError) as caught:
        (tmp_path / 'notes' / 'pictures').mkdir()
    assert explain(caught.value) == (
        f'{tmp_path}/notes/pictures cannot be made: {tmp_path}/notes is a file, no folder; move it, or give another '
        '--work-dir'
    )


def test_a_device_without_room():
    with pytest.raises(OSError, match='No space left') as caught:
        Path('/dev/full').write_text('x')
    assert explain(caught.value).startswith('/dev/full could not be written: ')


def test_a_killed_data_worker(make_config):
    cfg = quiet(make_config)
    cfg.train_dataloader.update(num_workers=1, persistent_workers=True)
    pids = []

    def kill(runner, batch):
        if runner.iter == 5:
            pids.append(runner.train_dataloader._iterator._workers[0].pid)
            os.kill(pids[0], signal.SIGKILL)

    with pytest.raises(RuntimeError, match='DataLoader worker') as caught:
        train(cfg, before_train_iter=kill)
    said = explain(caught.value)
    assert f'data worker {pids[0]} was killed from outside' in said
    assert 'lower train_dataloader.num_workers' in said
    assert f'--resume goes on from {cfg.work_dir}/epoch_1.pth' in said
