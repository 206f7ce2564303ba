"""Files that are whole or not there, and checkpoints that are read whole or refused by name."""

import os
import signal
import time

import numpy as np
import pytest
import torch
from torch import nn

from mmrs_ssl.engine.checkpoint_files import (
    WorkDirLock,
    find_newest,
    list_checkpoints,
    position_of,
    read_checkpoint,
    write_whole,
)


def save(path, iteration=4, epoch=1, **changes):
    content = dict(
        meta=dict(iter=iteration, epoch=epoch),
        state_dict=dict(weight=torch.arange(5000.0)),
        optimizer=dict(state={}, param_groups=[]),
        message_hub={},
    )
    torch.save({key: value for key, value in {**content, **changes}.items() if value is not None}, path)
    return path


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / 'a.pth'
    path.write_text('old')

    def fail(part):
        part.write_text('half')
        raise OSError(28, 'No space left on device')

    with pytest.raises(OSError, match='No space'):
        write_whole(path, fail)
    assert path.read_text() == 'old'
    assert [file.name for file in tmp_path.iterdir()] == ['a.pth']
    write_whole(path, lambda part: part.write_text('new'))
    assert path.read_text() == 'new'
    assert [file.name for file in tmp_path.iterdir()] == ['a.pth']


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def legacy_module(path):
    with pytest.warns(DeprecationWarning, match='torch.jit'):
        torch.jit.script(nn.Linear(2, 2)).save(str(path))


DAMAGE = {
    'empty': (lambda path: path.write_bytes(b''), 'is empty'),
    'text': (lambda path: path.write_text('work_dirs/epoch_3.pth'), 'damaged or no checkpoint'),
    'cut': (lambda path: path.write_bytes(path.read_bytes()[:-3000]), 'damaged'),
    'flipped': (flipped, 'does not have its checksum'),
    'legacy': (lambda path: torch.save(nn.Linear(2, 2), path, _use_new_zipfile_serialization=False), 'asks for torch'),
    'TorchScript': (legacy_module, 'nothing in it was run'),
}


@pytest.mark.parametrize('kind', DAMAGE)
def test_what_is_no_checkpoint_is_refused_by_name(tmp_path, kind):
    damage, words = DAMAGE[kind]
    path = save(tmp_path / 'epoch_2.pth')
    assert read_checkpoint(path)['meta']['iter'] == 4
    damage(path)
    with pytest.raises(ValueError, match=words) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert 'weights_only' not in str(caught.value)
    save(tmp_path / 'epoch_1.pth', 2, 0)
    newest, faults = find_newest(tmp_path)
    assert newest == tmp_path / 'epoch_1.pth'
    assert len(faults) == 1
    assert str(path) in faults[0]


def test_the_newest_is_the_one_that_has_come_furthest(tmp_path):
    """Not the one that was written, copied or touched last; what a training cannot go on from does not count."""
    for name, position in {'epoch_9.pth': (36, 9), 'epoch_10.pth': (40, 10), 'interim.pth': (38, 9)}.items():
        save(tmp_path / name, *position)
    os.utime(tmp_path / 'epoch_9.pth')
    torch.save(dict(state_dict={}, meta={}), tmp_path / 'backbone.pth')
    (tmp_path / '.epoch_11.pth.part').write_text('half')
    assert [found.path.name for found in list_checkpoints(tmp_path)] == ['epoch_10.pth', 'interim.pth', 'epoch_9.pth']
    assert find_newest(tmp_path) == (tmp_path / 'epoch_10.pth', [])
    save(tmp_path / 'epoch_12.pth', 48, 12, message_hub=None)
    newest, faults = find_newest(tmp_path)
    assert newest.name == 'epoch_10.pth'
    assert 'epoch_12.pth: it has no message_hub' in faults[0]


@pytest.mark.parametrize(
    'content', [3, {}, dict(meta=dict(iter=1, epoch='1'), state_dict={}, optimizer={}, message_hub={})]
)
def test_no_position(content):
    with pytest.raises(
        ValueError, match=r'it has no (state_dict, optimizer, message_hub, meta|meta.iter and meta.epoch)'
    ):
        position_of(content)


def test_a_work_dir_is_one_runs(tmp_path):
    """Its lock ends with the process that has it, even if it is killed and another inherited the file."""
    lock = WorkDirLock(tmp_path)
    pid = os.fork()
    if not pid:
        try:
            WorkDirLock(tmp_path)
        except RuntimeError as error:
            os._exit(0 if f'another run (process {os.getppid()} on ' in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    lock.release()
    ready, holder = tmp_path / 'ready', os.fork()
    if not holder:
        held = WorkDirLock(tmp_path)
        if not os.fork():  # like a data worker, it outlives its parent
            time.sleep(20)
            os._exit(0)
        ready.touch()
        time.sleep(20)
        os._exit(held.file.fileno())
    while not ready.exists():
        time.sleep(0.01)
    with pytest.raises(RuntimeError, match=f'process {holder}'):
        WorkDirLock(tmp_path)
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    WorkDirLock(tmp_path).release()


@pytest.mark.slow
def test_a_hundred_damaged_files(tmp_path):
    """Cut, with flipped bytes, with blocks of zeros: refused by name, or read with all that was in them."""
    rng = np.random.default_rng(0)
    path = save(tmp_path / 'epoch_3.pth')
    data, whole, refused = path.read_bytes(), read_checkpoint(path), []
    for number in range(100):
        damaged = bytearray(data)
        place, length = int(rng.integers(len(data))), int(rng.integers(1, 4000))
        if number % 3 == 0:
            del damaged[place:]
        elif number % 3 == 1:
            for each in rng.integers(len(data), size=4):
                damaged[each] ^= 1 << int(rng.integers(8))
        else:
            damaged[place : place + length] = bytes(len(damaged[place : place + length]))
        path.write_bytes(damaged)
        newest, faults = find_newest(tmp_path)
        try:
            content = read_checkpoint(path)
        except ValueError as error:
            refused.append((str(error), newest, faults))
        else:  # padding, of which nothing is read
            assert torch.equal(content['state_dict']['weight'], whole['state_dict']['weight'])
            assert content['meta'] == whole['meta']
    assert len(refused) > 90
    for error, newest, faults in refused:
        assert newest is None
        for text in (error, *faults):
            assert str(path) in text
            assert 'weights_only' not in text
