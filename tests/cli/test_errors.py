"""The one line at the end of a program that failed says what is wrong and what to do."""

import pytest
from torch._utils import ExceptionWrapper

from mmrs_ssl.cli.errors import explain
from tests.conftest import cmid_config, dino_config, log_of
from tests.tools.test_train import error_of


@pytest.mark.parametrize(
    ('option', 'expected'),
    [
        ('model.mask_ration=0.5', "unknown config key 'mask_ration' of CMID; did you mean 'mask_ratio'?"),
        (
            'model.local_head.num_prototype=8',
            "unknown config key 'num_prototype' of PrototypeHead; did you mean 'num_prototypes'?",
        ),
        (
            'train_dataloader.dataset.max_unreadble=0.5',
            "unknown config key 'max_unreadble' of ImageFolder; did you mean 'max_unreadable'?",
        ),
        (
            'train_dataloader.dataset.pipeline.0.band=4',
            "unknown config key 'band' of LoadRaster; did you mean 'bands'?",
        ),
        (
            'optim_wrapper.optimizer.weight_decai=0.1',
            "unknown config key 'weight_decai' of BlockAdan; did you mean 'weight_decay'?",
        ),
        ('custom_hooks.4.intervall=3', "unknown config key 'intervall' of FiniteLossHook"),
    ],
)
def test_unknown_constructor_key(make_config, run_tool, option, expected):
    code, output = run_tool('train.py', make_config().filename, '--cfg-options', option)
    assert code == 1
    assert error_of(output).startswith(expected)


@pytest.mark.parametrize('method', [cmid_config, dino_config])
def test_fewer_images_than_a_batch(method, make_config, run_tool, tmp_path):
    cfg = make_config(model=method())
    options = ['--work-dir', tmp_path / 'none', '--cfg-options', 'train_dataloader.batch_size=17']
    code, output = run_tool('train.py', cfg.filename, *options)
    assert code == 1
    assert '16 training samples are fewer than a batch of 17' in error_of(output)
    assert 'train_dataloader.batch_size to 16' in error_of(output)


def test_the_traceback_is_in_the_log_or_asked_for(make_config, run_tool, tmp_path):
    """Here the model is built when the log exists already."""
    cfg = make_config()
    options = ['--work-dir', tmp_path / 'run', '--cfg-options', 'model.num_matches=0']
    code, output = run_tool('train.py', cfg.filename, *options)
    assert code == 1
    expected = 'CMID: num_matches=0, expected a whole number of at least 1 (in the config: model.num_matches)'
    assert error_of(output).strip() == expected
    assert 'raise error' in log_of(tmp_path / 'run')
    code, output = run_tool('train.py', cfg.filename, '--traceback', *options)
    assert code == 1
    assert 'Traceback (most recent call last)' in output
    assert 'where it was raised' not in output
    assert output.strip().endswith(expected)


def test_an_option_without_a_value(make_config, run_tool):
    code, output = run_tool('train.py', make_config().filename, '--cfg-options', 'train_cfg.max_epochs')
    assert code == 1
    assert error_of(output).startswith('--cfg-options train_cfg.max_epochs: expected KEY=VALUE')
    assert '(where it was raised: ' in output


def test_errors_of_data_workers_lose_their_traceback():
    try:
        raise ValueError('picture.tif is broken')
    except ValueError:
        wrapped = ExceptionWrapper(where='in DataLoader worker process 0')  # what a worker sends
    with pytest.raises(ValueError, match='Caught') as caught:
        wrapped.reraise()
    assert explain(caught.value) == 'picture.tif is broken'
    assert explain(KeyError('no such key')) == 'no such key'
