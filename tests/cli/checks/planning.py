"""Trainings that are planned, and never run."""

from mmengine.registry import DATASETS, MODELS, init_default_scope

from mmrs_ssl.cli.checks.machine import Machine
from mmrs_ssl.cli.checks.planned import PlannedTraining

GPU = Machine('cuda', 'a GPU', 8, 80 * 10**9, bfloat16=True)


def plan(cfg, **given):
    """What a config trains, built."""
    init_default_scope('mmpretrain')
    dataset, model = DATASETS.build(cfg.train_dataloader.dataset), MODELS.build(cfg.model)
    return PlannedTraining(cfg, dataset, model, **{'machine': GPU, **given})


def above_notes(findings):
    """Errors and warnings."""
    return [each for each in findings if each.level != 'note']


def only(findings):
    """The single finding above a note."""
    (found,) = above_notes(findings)
    return found
