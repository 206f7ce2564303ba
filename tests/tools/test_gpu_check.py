"""tools/gpu_check.sh: what its figures mean, how it keeps its time, and that it runs."""

import math
import os
import subprocess
import sys
import time

import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn

from mmrs_ssl.benchmarks import gpu_parity, gpu_precision, gpu_speed, gpu_table
from mmrs_ssl.benchmarks.gpu_parity import Draws, compare_gradients
from mmrs_ssl.benchmarks.gpu_plan import Row, plan, run_plan
from mmrs_ssl.benchmarks.gpu_setup import Workshop
from mmrs_ssl.benchmarks.gpu_speed import count_flops, peak_flops, utilisation
from mmrs_ssl.benchmarks.gpu_table import Deadline, Differs, NotRun, OutOfTime, Table, read_figures, read_rows
from mmrs_ssl.benchmarks.gpu_training import split_files
from tests.conftest import ROOT


class Attention(nn.Module):
    """Queries, keys and values of one linear layer; one head."""

    def __init__(self, width):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, tokens):
        query, key, value = self.qkv(tokens)[:, None].chunk(3, dim=-1)
        return nn.functional.scaled_dot_product_attention(query, key, value)


def test_flops_of_a_step_are_those_counted_by_hand():
    """A multiplication and an addition are two; gradients of weights and of inputs cost as much as the output."""
    batch, size, width, length = 2, 8, 4, 16
    conv, attention = nn.Conv2d(3, width, 3, padding=1), Attention(width)
    tokens = torch.randn(batch, length, width)

    def step():
        maps = conv(torch.randn(batch, 3, size, size))
        (maps.sum() + attention(tokens).sum()).backward()

    convolution = 2 * batch * width * 3 * 3 * 3 * size**2
    projection = 2 * batch * length * width * 3 * width
    products = 2 * (2 * batch * length * length * width)  # scores, and the values' mean
    # no gradient of the inputs of conv and qkv is asked for; each product has two inputs
    assert count_flops(step) == 2 * convolution + 2 * projection + 3 * products


def test_utilisation_is_relative_to_the_device_of_that_name():
    assert utilisation(989e12, 2.0, 'NVIDIA H100 80GB HBM3') == {'TFLOP/s': 494.5, 'MFU': 0.5}
    assert utilisation(378e12, 0.5, 'NVIDIA H100 PCIe') == {'TFLOP/s': 756, 'MFU': 1}
    assert peak_flops('NVIDIA L40S') == 362e12
    assert peak_flops('NVIDIA L4') == 121e12
    assert utilisation(1e12, 1.0, 'Some Other') == {'TFLOP/s': 1, 'MFU': 'peak_unknown'}


def test_draws_are_given_again_and_other_draws_are_refused():
    def draw(size):
        return torch.rand(size), torch.randperm(size), torch.empty(size).exponential_()

    with Draws() as first:
        expected = draw(5)
    with Draws(first.recorded):
        found = draw(5)
    assert all(map(torch.equal, expected, found))
    for given, size, problem in (
        (first.recorded, 6, r'aten\.rand draws \(6,\) where aten\.rand drew \(5,\)'),
        (list(first.recorded)[1:], 5, r'aten\.rand draws \(5,\) where aten\.randperm drew \(5,\)'),
        ([], 5, r'aten\.rand draws \(5,\) where nothing drew'),
    ):
        with Draws(given), pytest.raises(RuntimeError, match=problem):
            draw(size)


def test_gradients_that_are_longer_or_turned_are_told_apart():
    one, other = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    one.weight.grad, other.weight.grad = torch.tensor([[3.0, 4.0]]), torch.tensor([[6.0, 8.0]])
    assert compare_gradients(one, other) == {'norm': pytest.approx(1), '1-cosine': pytest.approx(0, abs=1e-12)}
    other.weight.grad = torch.tensor([[4.0, 3.0]])
    assert compare_gradients(one, other) == {'norm': pytest.approx(0), '1-cosine': pytest.approx(0.04)}
    assert torch.equal(other.weight.grad, one.weight.grad)
    other.weight.grad = None
    with pytest.raises(ArithmeticError, match='weight has a gradient on one side only'):
        compare_gradients(one, other)


def slow(shop):
    time.sleep(3)


def broken(shop):
    raise ValueError('no | such\nthing')


def unequal(shop):
    raise Differs('x 2 is above 1', dict(x=2.0))


def unable(shop):
    raise NotRun('needs a GPU')


ROWS = [
    Row('first', 'slow', 3e-4, slow),
    Row('first', 'late', 3e-4, broken),
    Row('second', 'broken', 1, broken),
    Row('second', 'unequal', 1, unequal),
    Row('second', 'unable', 1, unable),
    Row('second', 'fine', 1, lambda shop: dict(share=0.25, rate=1234.4, tiny=1e-9, text='two words')),
]


def test_every_row_ends_in_its_time_and_says_what_became_of_it(tmp_path, capsys):
    """The first part has a third of a second; an error in one row leaves the others alone."""
    path = tmp_path / 'table.md'
    shop = Workshop(tmp_path, True, None, Deadline(1000))
    assert run_plan(ROWS, shop, Table(path)) == 1
    rows = read_rows(path.read_text())
    assert [(row['part'], row['what'], row['state']) for row in rows] == [
        ('first', 'slow', 'not run: out of time'),
        ('first', 'late', 'not run: out of time'),
        ('second', 'broken', 'failed: ValueError: no / such thing'),
        ('second', 'unequal', 'failed: x 2 is above 1'),
        ('second', 'unable', 'not run: needs a GPU'),
        ('second', 'fine', 'ok'),
    ]
    assert read_figures(rows[3]) == dict(x='2')
    assert read_figures(rows[5]) == dict(share='0.25', rate='1234', tiny='1e-09', text='two_words')
    assert capsys.readouterr().out == path.read_text()


class Slow:
    """Takes its time to go, as a loader that waits for its workers; what is raised meanwhile is dropped by Python."""

    def __del__(self):
        time.sleep(0.2)


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_time_that_runs_out_while_an_object_goes_is_not_forgotten(monkeypatch):
    monkeypatch.setattr(gpu_table, 'RING_AGAIN', 0.2)

    def work():
        each = Slow()
        del each
        time.sleep(5)

    with pytest.raises(OutOfTime), Deadline(0.1).interrupting():
        work()


def test_no_method_is_left_out_where_time_runs_out():
    first = [row.what.split(', ')[0] for row in plan(small=False) if row.part == 'bf16']
    assert set(first[:5]) == {'CMID MoCo', 'CMID BYOL', 'DINO-MC', 'DINO-TP', 'MSSDF'}
    whats = [row.what for row in plan(small=False) if row.part == 'fp32 against the CPU']
    assert len(whats) == len(set(whats)) == 17


def test_another_process_goes_on_after_the_row_that_ended_the_first(tmp_path):
    path = tmp_path / 'table.md'
    table = Table(path)
    table.add('second', 'unable', {}, 0.1, 'ok')
    table.begin('second', 'broken')
    path.write_text(path.read_text() + '| second | unequ')  # it was ended while it wrote
    shop = Workshop(tmp_path, True, None, Deadline(60))
    assert run_plan(ROWS[2:], shop, Table(path, go_on=True)) == 1
    states = {row['what']: row['state'] for row in read_rows(path.read_text())}
    assert states == dict(
        unable='ok', broken='failed: its process was ended', unequal='failed: x 2 is above 1', fine='ok'
    )


def test_images_are_split_within_their_classes(tmp_path):
    names = [f'{kind}/{number}.png' for kind in ('field', 'forest') for number in range(6)]
    for name in [*names, 'notes.txt']:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    train, held_out = split_files(tmp_path)
    assert held_out == ['field/2.png', 'field/5.png', 'forest/2.png', 'forest/5.png']
    assert sorted(train + held_out) == names
    assert split_files(tmp_path / 'field') == ([f'{number}.png' for number in range(6)], [])
    with pytest.raises(FileNotFoundError, match='no image'):
        split_files(tmp_path / 'field' / 'none')


@pytest.fixture
def shop(tmp_path):
    init_default_scope('mmpretrain')
    return Workshop(tmp_path, True, None, Deadline(1000))


def test_a_device_that_computes_otherwise_is_noticed(shop, monkeypatch):
    figures = gpu_parity.compare_method(shop, 'MSSDF', 'ViT')
    assert {'loss_reconstruction', 'norm', '1-cosine', 'step', 'teacher', 'buffers'} <= figures.keys()
    assert all(0 <= value < 1e-4 for value in figures.values())
    make_pair = gpu_parity.make_pair

    def unequal(cfg):
        reference, checked = make_pair(cfg)
        checked.model.decoder.predictors['all'].weight.data *= 1.01
        return reference, checked

    monkeypatch.setattr(gpu_parity, 'make_pair', unequal)
    with pytest.raises(Differs, match=r'loss_reconstruction 0\.\d+ is above 0\.001') as caught:
        gpu_parity.compare_method(shop, 'MSSDF', 'ViT')
    assert caught.value.figures['loss_modality'] < 1e-4


@pytest.mark.slow
def test_mixed_precision_trains_and_a_step_is_timed(shop):
    figures = gpu_precision.train_mixed(shop, 'MSSDF', 'ViT', 'bfloat16')
    assert 0 < figures['difference'] < 0.1
    assert figures['last'] < 0.95 * figures['first']
    assert (figures['steps'], figures['teacher_moved']) == (20, True)
    name = next(name for name in gpu_speed.PUBLISHED if name.startswith('mssdf'))
    two, four = (gpu_speed.speed(shop, name, size) for size in (2, 4))
    flops = [row['TFLOP/s'] * row['step_ms'] for row in (two, four)]
    assert flops[1] == pytest.approx(2 * flops[0])
    assert four['images/s'] * four['step_ms'] == pytest.approx(4000)
    shop.too_large[name] = 4
    with pytest.raises(NotRun, match='a batch of 4 did not fit'):
        gpu_speed.speed(shop, name, 8)


@pytest.mark.slow
def test_the_reduced_check_runs_every_row(tmp_path):
    """On the CPU, through the shell script; what needs a GPU says so."""
    table = tmp_path / 'table.md'
    run = subprocess.run(
        [ROOT / 'tools' / 'gpu_check.sh', '--cpu', '--minutes', '30', '--out', table],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHON': sys.executable},
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout == table.read_text()
    rows = read_rows(run.stdout)
    assert [(row['part'], row['what']) for row in rows] == [(row.part, row.what) for row in plan(small=True)]
    assert {row['state'] for row in rows if row['part'] != 'fp16'} == {'ok'}
    assert {row['state'] for row in rows if row['part'] == 'fp16'} == {'not run: float16 and its loss scale need a GPU'}
    found = {(row['part'], row['what']): read_figures(row) for row in rows}
    expected = {
        'fp32 against the CPU': {'norm', '1-cosine', 'step', 'teacher', 'buffers'},
        'bf16': {'difference', 'first', 'last', 'steps', 'teacher_moved'},
        'resume': {'resumed', 'moved'},
        'speed': {'images/s'},
        'options': {'on_ms', 'off_ms', 'faster_by'},
        'training': {'images', 'epochs', 'images/s', 'first_loss', 'last_loss', '20-NN_before', '20-NN_after'},
    }
    for (part, what), figures in found.items():
        assert expected.get(part, set()) <= figures.keys(), (part, what)
        if part in ('fp32 against the CPU', 'speed', 'options'):
            numbers = {name: float(value) for name, value in figures.items() if name != 'MFU'}
            assert all(map(math.isfinite, numbers.values())), (part, what)
    assert found['resume', 'CMID MoCo, ResNet']['resumed'] == '0'
    assert any(float(figures['norm']) > 0 for (part, _), figures in found.items() if part.startswith('fp32'))
