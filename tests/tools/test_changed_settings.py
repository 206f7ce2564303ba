"""Going on with other settings: the config rules, the checkpoint says where in the training it is."""

import math
import os
import re

import pytest
from mmengine.dist import is_main_process
from mmpretrain.utils import get_ori_model

from tests.conftest import TestProbe
from tests.forked import Run, load

PROBED = """
custom_hooks = [hook for hook in _base_.custom_hooks if 'Picture' not in hook['type']] + [dict(type='TestProbe')]
train_cfg = dict(max_epochs=4)
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=1 / 4, start_factor=0.01, by_epoch=True, convert_to_iter_based=True),
    dict(type='mmrs_ssl.CosineAfterWarmupLR', share=1 / 4, eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
]
"""
LR = 4e-3


def run(make_config, tmp_path, name, *args, ranks=1, options=()):
    """The values at the end of every iteration: of its epoch's schedule, and of the teacher's momentum."""
    cfg = make_config(PROBED)
    record = tmp_path / f'{name}.txt'

    def note(runner):
        if is_main_process():
            rate, momentum = runner.optim_wrapper.param_groups[0]['lr'], get_ori_model(runner.model).teacher.momentum
            with record.open('a') as file:
                file.write(f'{runner.epoch} {runner.iter} {rate!r} {momentum!r}\n')

    def stop(runner):
        if name == 'first' and runner.epoch == 1:
            os._exit(0)

    TestProbe.calls = dict(after_train_iter=note, after_train_epoch=stop)
    args = (*args, *(['--cfg-options', *options] if options else []))
    started = Run(tmp_path / f'{name}.log', 'train.py', cfg.filename, '--work-dir', tmp_path / name, *args, ranks=ranks)
    assert started.wait() == [0] * ranks, started.log.read_text()[-3000:]
    return [[float(value) for value in line.split()] for line in record.read_text().splitlines()]


def plan(epochs, length, lr):
    """Epoch, iteration, learning rate after the scheduler's step and momentum of every iteration, by formula."""
    total, warmup = epochs * length, max(1, round(epochs * length / 4))
    low, high = 0.0, 0.996
    for _ in range(50):  # the first momentum with which a hundredth of the random start is left in the teacher
        start = (low + high) / 2
        momenta = [1 - (1 - start) * (1 + math.cos(math.pi * i / total)) / 2 for i in range(total)]
        low, high = (low, start) if math.prod(momenta) > 0.01 else (start, high)
    rows = []
    for i in range(total):
        step = min(i + 1, total - 1)  # the schedulers step before the probe looks, but not after the last iteration
        if step < warmup:
            rate = lr * (0.01 + 0.99 * step / (warmup - 1)) if warmup > 1 else lr
        else:
            rate = 1e-6 + (lr - 1e-6) * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
        rows.append([i // length, i, rate, momenta[i]])
    return rows


@pytest.fixture(scope='module')
def halfway():
    """The checkpoint of the second epoch, once a test has made it."""
    return []


@pytest.mark.parametrize(
    ('change', 'ranks', 'expected', 'table'),
    [
        (
            ['train_dataloader.batch_size=8'],
            1,
            (4, 2, LR),
            ('train_dataloader.batch_size 4', 'iterations per epoch 4'),
        ),
        (['train_cfg.max_epochs=8'], 1, (8, 4, LR), ('train_cfg.max_epochs 4',)),
        pytest.param(
            ['optim_wrapper.optimizer.lr=1e-3'],
            1,
            (4, 4, 1e-3),
            ('optim_wrapper.optimizer.lr 0.004',),
            marks=pytest.mark.slow,
        ),
        ([], 2, (4, 2, LR), ('processes 1', 'iterations per epoch 4')),
    ],
    ids=['twice the batch', 'twice the epochs', 'another lr', 'two processes'],
)
def test_the_plan_is_the_configs(make_config, tmp_path, halfway, change, ranks, expected, table):
    """From the end of the second epoch of four on, every iteration's values are those of the new plan."""
    checkpoint = tmp_path / 'epoch_2.pth'
    if not halfway:
        run(make_config, tmp_path, 'first')
        halfway.append((tmp_path / 'first' / 'epoch_2.pth').read_bytes())
    checkpoint.write_bytes(halfway[0])
    found = run(make_config, tmp_path, 'second', '--resume', checkpoint, ranks=ranks, options=change)
    wanted = [row for row in plan(*expected) if row[0] >= 2]
    assert [row[:2] for row in found] == [row[:2] for row in wanted]
    for row, other in zip(found, wanted, strict=True):
        assert row == pytest.approx(other, rel=1e-6, abs=1e-9)
    text = (tmp_path / 'second.log').read_text()
    said = re.sub(' +', ' ', text)
    assert f'{checkpoint} was made with other settings' in text
    for line in table:
        assert line in said
    assert 'planned anew: the training goes on at epoch 3 of' in text
    epochs, length, _ = expected
    last = load(tmp_path / 'second' / f'epoch_{epochs}.pth')
    assert (last['meta']['epoch'], last['meta']['iter']) == (epochs, epochs * length)
