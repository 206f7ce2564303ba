"""A loss that is not a number: where to go on from, and what is not saved."""

import math
import os

import pytest
import torch

from mmrs_ssl.engine.hooks.finite_loss import newest_finite_checkpoint
from tests.conftest import train


def save(path, weight, iteration, epoch=0):
    meta = dict(iter=iteration, epoch=epoch)
    torch.save(dict(state_dict=dict(weight=torch.full((999,), weight)), optimizer={}, message_hub={}, meta=meta), path)


def test_the_newest_good_checkpoint_is_named(tmp_path):
    """The one furthest in the training, whatever its name and time say."""
    for number, weight in enumerate((1.0, 2.0, float('nan'))):
        path = tmp_path / f'epoch_{9 - number}.pth'
        save(path, weight, iteration=10 * number)
        os.utime(path, (1000 - number, 1000 - number))
    assert newest_finite_checkpoint(tmp_path) == tmp_path / 'epoch_8.pth'
    (tmp_path / 'epoch_8.pth').write_bytes(b'cut off')
    assert newest_finite_checkpoint(tmp_path) == tmp_path / 'epoch_9.pth'


def test_a_file_with_flipped_bytes_is_not_named(tmp_path):
    """torch reads it without a word."""
    for number in (1, 2):
        save(tmp_path / f'epoch_{number}.pth', 1.0, iteration=number)
    newest = tmp_path / 'epoch_2.pth'
    content = bytearray(newest.read_bytes())
    place = content.index(torch.ones(9).numpy().tobytes())
    content[place] ^= 1
    newest.write_bytes(content)
    weights = torch.load(newest, weights_only=True)['state_dict']['weight']
    assert weights.isfinite().all()
    assert weights[0] != 1
    assert newest_finite_checkpoint(tmp_path) == tmp_path / 'epoch_1.pth'


def test_weights_that_are_no_numbers_are_not_saved(make_config, tmp_path):
    """Though every loss so far was one."""
    cfg = make_config('default_hooks = dict(checkpoint=dict(interval=3, by_epoch=False))')
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if 'Picture' not in hook['type']]

    def spoil(runner):
        if runner.iter == 6:
            next(runner.model.backbone.parameters()).data[0] = math.nan
            runner.save_checkpoint(str(tmp_path), 'spoilt.pth', by_epoch=False)

    with pytest.raises(
        FloatingPointError, match=r'not finite after iteration 7 \(1 of \d+, first backbone.conv1.weight'
    ):
        train(cfg, after_train_iter=spoil)
    assert not (tmp_path / 'spoilt.pth').exists()
    assert sorted(path.name for path in (tmp_path / 'work').glob('*.pth')) == ['iter_3.pth', 'iter_6.pth']
