"""The quick checks at the start of a training."""

import random

import numpy as np
import pytest
import torch

from mmrs_ssl.cli.checks.findings import Finding
from mmrs_ssl.cli.checks.planned import random_state_kept
from mmrs_ssl.cli.checks.quick import look_at
from mmrs_ssl.datasets.samplers import sample_rng
from tests.cli.checks.planning import plan
from tests.conftest import log_of

OTHER_UNITS = 'model.data_preprocessor.std=[0.2,0.2,0.2]'


def draws():
    return random.random(), np.random.rand(), float(torch.rand(()))  # noqa: NPY002


def test_random_numbers_are_what_they_would_be():
    def seed():
        random.seed(1)
        np.random.seed(2)  # noqa: NPY002
        torch.manual_seed(3)

    seed()
    expected = draws()
    seed()
    with random_state_kept():
        sample_rng(5)
        draws()
    assert draws() == expected


def test_warnings_go_to_the_log_and_errors_end_the_run(make_config, run_tool, tmp_path):
    cfg = make_config()
    code, output = run_tool('train.py', cfg.filename, '--cfg-options', OTHER_UNITS)
    assert code == 1
    assert 'check: learning rate: ' in output
    paragraph = output.rsplit('\nerror: ', 1)[1]
    assert 'statistics: pixels of 16 images (uint8) have mean' in paragraph
    assert 'Change: model.data_preprocessor.mean = [' in paragraph
    assert '--no-check trains all the same' in paragraph
    assert not list((tmp_path / 'work').glob('*.pth'))
    code, output = run_tool('train.py', cfg.filename, '--no-check', '--cfg-options', OTHER_UNITS, 'epochs=1')
    assert code == 0, output
    assert 'check: ' not in output  # runs of one second share their log


def test_a_training_is_the_same_with_and_without(make_config, run_tool, tmp_path):
    name, weights = make_config().filename, []
    for option in ((), ('--no-check',)):
        code, output = run_tool('train.py', name, '--overwrite', *option, '--cfg-options', 'epochs=1')
        assert code == 0, output
        weights.append(torch.load(tmp_path / 'work/epoch_1.pth', weights_only=True)['state_dict'])
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_a_warning_does_not_end_it(make_config, run_tool, tmp_path):
    code, output = run_tool('train.py', make_config().filename, '--cfg-options', 'epochs=1')
    assert code == 0, output
    lines = [line for line in log_of(tmp_path / 'work').splitlines() if 'check: ' in line]
    assert len(lines) == 1
    assert 'check: learning rate: lr = 0.004 is that of 256 images, a step has 4' in lines[0]


def test_a_sample_that_cannot_be_loaded(make_config):
    planned = plan(make_config())
    planned.dataset.pipeline.transforms[1].views[0].transforms[0].size = 0
    found = [each for each in look_at(planned) if each.about == 'a sample']
    assert [each.level for each in found] == ['error']


def test_a_pipeline_that_does_not_end(make_config):
    cfg = make_config()
    cfg.train_dataloader.dataset.pipeline.pop()
    found = [each for each in look_at(plan(cfg)) if each.about == 'a sample']
    assert 'pipeline gives no inputs to the model; expected that it ends with dict' in found[0].seen


@pytest.mark.parametrize('level', ['error', 'warning', 'note'])
def test_a_finding_in_a_sentence(level):
    assert str(Finding(level, 'a', 'b', 'c', 'd')) == 'a: b; expected c. Change: d'
    assert str(Finding(level, 'a', 'b')) == 'a: b'
