"""A loss that is not a number: where to go on from."""

import os

import torch

from mmrs_ssl.engine.hooks.finite_loss import newest_finite_checkpoint


def test_the_newest_good_checkpoint_is_named(tmp_path):
    for number, weight in enumerate((1.0, 2.0, float('nan'))):
        path = tmp_path / f'epoch_{9 - number}.pth'  # names say nothing of their age
        torch.save(dict(state_dict=dict(weight=torch.tensor([weight]))), path)
        os.utime(path, (1000 + number, 1000 + number))
    assert newest_finite_checkpoint(tmp_path) == tmp_path / 'epoch_8.pth'
    (tmp_path / 'epoch_8.pth').write_bytes(b'cut off')
    assert newest_finite_checkpoint(tmp_path) == tmp_path / 'epoch_9.pth'
