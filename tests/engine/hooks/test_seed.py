"""Draws of a step depend on seed and epoch, not on who loads the data."""

import torch

from tests.conftest import train


def draws(cfg, **loader):
    """What torch would draw first in every step of two epochs."""
    seen = []
    cfg.train_dataloader.update(loader)
    train(cfg, before_train_iter=lambda runner, batch: seen.append(torch.get_rng_state()[:64].tolist()))
    return seen


def test_workers_that_persist_change_no_draw(make_config):
    """Workers are started in the first epoch, with a draw for their seed, and not again in the second."""
    here = draws(make_config())
    there = draws(make_config(), num_workers=1, persistent_workers=True)
    assert len(here) == 8
    assert there == here
    assert here[4] != here[0]
