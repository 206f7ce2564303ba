"""Two processes of a machine without a GPU do what one does."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from torch import nn
from torch.utils.data import DataLoader

from mmrs_ssl.engine import CPUDistributedDataParallel, ResumableTrainLoop, start_gloo
from mmrs_ssl.models.algorithms import cmid
from mmrs_ssl.models.masks import cross_modal
from tests.conftest import ROOT
from tests.engine import workers

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='gloo is for machines without a GPU')


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def environment(**changes):
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), **changes}


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    """What two processes found."""
    folder = tmp_path_factory.mktemp('two')
    assert workers.run_two(free_port(), folder) == [0, 0]
    return [torch.load(folder / f'rank{rank}.pth', weights_only=True) for rank in range(2)]


@pytest.fixture(scope='module')
def one():
    """What one process finds with the whole batch."""
    try:
        return {method: workers.steps(method) for method in workers.METHODS}
    finally:
        workers.draw_masks_again()


def keys(found, kind):
    return [key for key in found if f'/{kind}/' in key]


PARTS = dict(
    cmid=('backbone', 'mask_token', 'neck', 'local_head', 'reconstruction_head'),
    cnn=('backbone.bn1', 'backbone.layer1', 'mask_token', 'neck', 'local_head', 'reconstruction_head'),
    dino=('backbone', 'head.mlp', 'head.last_layer'),
    balanced=('backbone', 'head.mlp', 'head.last_layer'),
    mssdf=('backbone', 'fusion', 'decoder', 'terms'),
)
MOVING = dict(
    cmid='center.value',
    cnn='teacher.module.backbone.bn1.running_mean',
    dino='center.value',
    balanced='center.value',
    mssdf='teacher.module.backbone.layers.0.attn.qkv.weight',
)


def assert_same(found, expected, method, key):
    """To rounding, which BatchNorm of a ResNet's last maps, of few places, makes larger."""
    if method == 'cnn':
        assert (found - expected).float().norm() <= 1e-2 * expected.float().norm() + 1e-5, key
    else:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=lambda m: f'{key}: {m}')


@pytest.mark.parametrize('method', PARTS)
def test_terms_and_gradients_of_two_processes_are_those_of_one(one, two, method):
    one, two = one[method], [found[method] for found in two]
    assert len(keys(one, 'grad')) > 30
    for rank in range(2):
        for key in keys(one, 'grad') + keys(one, 'term'):
            assert_same(two[rank][key], one[key], method, key)
    for part in PARTS[method]:
        assert any(f'/grad/{part}' in key and one[key].abs().max() > 1e-4 for key in keys(one, 'grad')), part


@pytest.mark.parametrize('method', PARTS)
def test_teacher_center_and_queue_of_two_processes_are_those_of_one(one, two, method):
    one, two = one[method], [found[method] for found in two]
    for step in range(workers.STEPS):
        for rank in range(2):
            for key in keys(one, 'state'):
                if key.startswith(f'step{step}') and not key.endswith('global_head.queue'):
                    assert_same(two[rank][key], one[key], method, key)
            if method not in ('cmid', 'cnn'):
                continue
            mine, reference = (found[f'step{step}/state/global_head.queue'] for found in (one, two[rank]))
            near = 1e-5 if method == 'cmid' else 1e-3
            assert torch.cdist(mine, reference).min(1).values.max() < near  # the same rows, in whatever order
            assert torch.cdist(reference, mine).min(1).values.max() < near
        assert method != 'cmid' or one[f'step{step}/state/global_head.queue_position'] == 2 * workers.BATCH * (step + 1)
    assert not torch.equal(*(one[f'step{step}/state/{MOVING[method]}'] for step in range(2)))
    for key in one:  # and the two processes stay together
        if '/state/' in key:
            assert torch.equal(two[0][key], two[1][key]), key


@pytest.mark.parametrize('method', PARTS)
def test_each_share_alone_is_something_else(one, monkeypatch, method):
    """Else the tests above would show nothing: without the other process the gradients and the center differ."""
    one = one[method]
    monkeypatch.setattr(workers, 'get_dist_info', lambda: (0, 2))
    monkeypatch.setattr(cmid, 'block_mask', cmid.block_mask)
    monkeypatch.setattr(cross_modal, 'draw_mask', cross_modal.draw_mask)
    alone = workers.steps(method)
    key = f'step0/grad/backbone.{"conv1" if method == "cnn" else "layers.0.attn.qkv"}.weight'
    assert (alone[key] - one[key]).norm() > 0.1 * one[key].norm()
    moved = f'step0/state/{MOVING[method]}'
    assert (alone[moved] - one[moved]).abs().max() > 1e-5


def test_sync_batchnorm_becomes_one_of_gloo(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1)
    try:
        module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4), nn.Sequential(nn.SyncBatchNorm(4)))
        module[1].weight.data.fill_(3.0)
        wrapped = CPUDistributedDataParallel(module)
        assert isinstance(wrapped, MMDistributedDataParallel)
        assert not any(isinstance(m, nn.SyncBatchNorm) for m in wrapped.modules())
        norms = [m for m in wrapped.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        assert len(norms) == 2
        assert (norms[0].weight == 3).all()
        out = wrapped(torch.randn(6, 3, 5, 5))
        torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow  # two interpreters under a third; in one process tests/tools/test_kills.py trains on two processes
def test_dist_train_sh_trains_on_two_processes(make_config):
    """Generous with time: two interpreters start on a machine that may be busy."""
    cfg = make_config('train_cfg = dict(max_epochs=2)\ndefault_hooks = dict(checkpoint=dict(interval=2))')
    run = subprocess.run(
        ['bash', str(ROOT / 'tools' / 'dist_train.sh'), cfg.filename, '2', '--cfg-options', 'randomness.seed=3'],
        env=environment(PYTHON=sys.executable, PORT=str(free_port())),
        cwd=cfg.work_dir.rsplit('/', 1)[0],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    checkpoint = torch.load(f'{cfg.work_dir}/epoch_2.pth', weights_only=True)
    assert checkpoint['meta']['iter'] == 4  # 16 images in batches of 4 on each of two processes, twice
    assert checkpoint['meta']['seed'] == 3
    assert all(not key.startswith('module.') for key in checkpoint['state_dict'])
    assert all(value.isfinite().all() for value in checkpoint['state_dict'].values() if value.is_floating_point())
    # each iteration puts 8 keys of each of two processes into the queue of 24
    assert checkpoint['state_dict']['global_head.queue_position'] == 4 * 16 % 24


def test_what_a_process_has_forked_ends_with_it(monkeypatch):
    """Else its data workers keep its connections open, and the others wait for it."""
    for name, value in dict(RANK=0, WORLD_SIZE=1, MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port()).items():
        monkeypatch.setenv(name, str(value))
    reading, writing = os.pipe()
    if (process := os.fork()) == 0:
        start_gloo()
        if os.fork() == 0:
            os.write(writing, b'here')
            time.sleep(60)
        else:
            time.sleep(60)
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 4) == b'here'
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert select.select([reading], [], [], 30)[0]  # as soon as nobody can write any more
    assert os.read(reading, 1) == b''
    os.close(reading)


def test_a_data_worker_whose_process_has_ended_already_ends():
    """It is killed as it starts workers; these would else wait for it for good."""
    loader = DataLoader([0], worker_init_fn=None)
    parent = os.fork()
    if parent == 0:
        loop = ResumableTrainLoop(SimpleNamespace(), loader, 1)
        codes = []
        for late in (False, True):
            reading, writing = os.pipe()
            middle = os.fork()  # stands for the training's process, which starts a worker and ends
            if middle == 0:
                start = partial(loop.dataloader.worker_init_fn.func, os.getpid(), None)
                if os.fork() == 0:
                    while late and os.getppid() == start.args[0]:
                        time.sleep(0.001)
                    start(0)
                    os.write(writing, b'started')
                    os._exit(0)
                time.sleep(0 if late else 0.5)
                os._exit(0)
            os.waitpid(middle, 0)
            os.close(writing)
            codes.append(os.read(reading, 10))
        os._exit(0 if codes == [b'started', b''] and loop.dataloader.worker_init_fn.args[0] == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == 0
