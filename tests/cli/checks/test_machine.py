"""Findings about the machine, each with one mistake planted."""

import shutil
from dataclasses import replace
from importlib.metadata import version

import pytest
import torch
from mmengine.config import Config

from mmrs_ssl.cli.checks import machine as machines
from mmrs_ssl.cli.checks.machine import (
    Machine,
    bfloat16_speed,
    check_device,
    check_disk,
    check_precision,
    check_versions,
    checkpoint_size,
    main_memory,
)
from tests.cli.checks.planning import GPU, above_notes, only


def test_a_version_outside_of_what_is_declared():
    installed = version('torch')
    found = only(check_versions([f'torch<{installed.split("+")[0]}', 'numpy>=1', 'no-such-package>=3']))
    assert found.level == 'warning'
    assert found.seen == f'torch {installed}'
    assert found.change.startswith('pip install "torch<')


def test_requirements_of_other_extras_do_not_count():
    texts = ['numpy<1; extra == "downstream"', 'numpy<2; extra == "pretrain"']
    assert only(check_versions(texts)).expected == 'numpy<2'
    assert not list(check_versions([]))


def test_this_machine():
    here = Machine.here()
    assert 0 < here.memory <= main_memory() or here.device == 'cuda'
    assert here.cores >= 1
    (note,) = check_device(replace(here, unseen_gpu=False))
    assert note.seen.startswith(f'{here.name}, ')


def test_a_gpu_that_torch_does_not_see():
    found = only(check_device(Machine('cpu', 'a processor', 2, 10**10, bfloat16=False, unseen_gpu=True)))
    assert 'sees no GPU' in found.seen
    assert 'CUDA_VISIBLE_DEVICES' in found.change


@pytest.mark.parametrize(
    ('wrapper', 'machine', 'change'),
    [
        (dict(type='mmrs_ssl.CPUAmpOptimWrapper'), Machine('cpu', 'old', 2, 1, False), "type = 'OptimWrapper'"),
        (dict(type='AmpOptimWrapper', dtype='bfloat16'), replace(GPU, bfloat16=False), "dtype = 'float16'"),
    ],
)
def test_bfloat16_without_instructions_for_it(wrapper, machine, change):
    cfg = Config(dict(optim_wrapper=wrapper))
    found = only(check_precision(cfg, machine))
    assert 'no instructions for it, or is slower with them' in found.seen
    assert change in found.change
    assert not list(check_precision(cfg, replace(machine, bfloat16=True)))


@pytest.mark.parametrize(
    ('flags', 'speed', 'worth'),
    [('avx512_bf16', 1.5, True), ('avx512_bf16', 0.6, False), ('avx2', 1.5, False)],
    ids=['faster', 'slower', 'emulated'],
)
def test_instructions_for_bfloat16_count_where_they_are_faster(flags, speed, worth, tmp_path, monkeypatch):
    """Processors with the same instructions were measured at 1.6 and at 0.6 times the speed of float32."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(machines, 'bfloat16_speed', lambda: speed)
    read_text = machines.Path.read_text
    said = f'model name\t: a processor\nflags\t\t: fpu {flags} sse\n'
    monkeypatch.setattr(
        machines.Path, 'read_text', lambda self: said if str(self) == '/proc/cpuinfo' else read_text(self)
    )
    assert Machine.here().bfloat16 is worth


def test_speed_of_bfloat16_is_measured_without_a_trace():
    bfloat16_speed.cache_clear()
    state = torch.random.get_rng_state()
    with torch.no_grad():
        assert 0.01 < bfloat16_speed() < 100
    assert torch.equal(torch.random.get_rng_state(), state)


def test_bfloat16_that_is_not_used():
    (note,) = check_precision(Config(dict(optim_wrapper=dict(type='OptimWrapper'))), GPU)
    assert (note.level, note.change) == ('note', '--amp')


def disk_config(keep, interval=1):
    return Config(
        dict(
            train_cfg=dict(max_epochs=100),
            optim_wrapper=dict(optimizer=dict(type='SGD')),
            default_hooks=dict(checkpoint=dict(interval=interval, max_keep_ckpts=keep)),
        )
    )


@pytest.mark.parametrize(
    ('keep', 'checkpoints', 'level'), [(3, 4.5, 'warning'), (3, 1.5, 'error'), (-1, 11.5, 'warning'), (-1, 12.5, None)]
)
def test_a_disk_that_is_too_small(keep, checkpoints, level, tmp_path, monkeypatch):
    """Room for so many checkpoints, of which two more are needed than are kept."""
    model = torch.nn.Linear(100, 100)
    cfg = disk_config(keep, interval=10)
    size = checkpoint_size(cfg, model)
    assert size == 2 * 4 * (100 * 100 + 100)  # weights and a momentum
    asked = []

    def usage(folder):
        asked.append(folder)
        return shutil._ntuple_diskusage(0, 0, int(checkpoints * size))

    monkeypatch.setattr(shutil, 'disk_usage', usage)
    findings = list(check_disk(cfg, model, tmp_path / 'not' / 'there'))
    assert asked == [tmp_path]
    assert [each.level for each in above_notes(findings)] == ([level] if level else [])
    if level == 'warning':
        assert findings[0].change == f'default_hooks.checkpoint.max_keep_ckpts = {int(checkpoints) - 2}'
    if level == 'error':
        assert findings[0].change == 'work_dir = a folder on another disk'
