"""Which settings of a checkpoint and a config differ, and what becomes of each."""

import pytest

from mmrs_ssl.engine.resuming.settings import compare_settings, table


def settings(**changes):
    base = dict(
        model=dict(
            type='mmrs_ssl.CMID',
            backbone=dict(type='ResNet', depth=18),
            data_preprocessor=dict(type='mmrs_ssl.BandPreprocessor', mean=[1.0, 2.0], std=[1.0, 1.0]),
        ),
        train_dataloader=dict(
            batch_size=4,
            num_workers=2,
            dataset=dict(pipeline=[dict(type='mmrs_ssl.ColorJitter', prob=0.5), dict(type='mmrs_ssl.PackViews')]),
        ),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95))),
        custom_hooks=[
            dict(type='mmrs_ssl.ScheduleHook', path='a', start=0.0),
            dict(type='mmrs_ssl.ScheduleHook', path='b', start=1.0),
            dict(type='mmrs_ssl.StepSeedHook'),
            dict(type='mmrs_ssl.PictureHook', interval=3),
        ],
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=3),
        work_dir='here',
    )
    return {**base, **changes}


def test_what_a_training_does_not_depend_on_is_not_compared():
    other = settings(
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=4),
        work_dir='there',
        custom_hooks=[dict(type='mmrs_ssl.EpochSeedHook'), *settings()['custom_hooks'][:2]],
    )
    other['train_dataloader']['num_workers'] = 8
    other['train_dataloader']['dataset']['pipeline'][0]['type'] = 'mmrs_ssl.ColourJitter'
    other['optim_wrapper']['optimizer']['betas'] = [0.9, 0.95]
    assert compare_settings(settings(), other) == []


@pytest.mark.parametrize(
    ('change', 'path', 'outcome'),
    [
        (lambda s: s['model'].update(type='mmrs_ssl.DINOMC'), 'model.type', 'refused'),
        (lambda s: s['model']['backbone'].update(type='ViT'), 'model.backbone.type', 'refused'),
        (lambda s: s['optim_wrapper']['optimizer'].update(type='SGD'), 'optim_wrapper.optimizer.type', 'refused'),
        (lambda s: s['optim_wrapper']['optimizer'].update(lr=2e-3), 'optim_wrapper.optimizer.lr', 'planned anew'),
        (lambda s: s['train_cfg'].update(max_epochs=6), 'train_cfg.max_epochs', 'planned anew'),
        (lambda s: s['train_dataloader'].update(batch_size=8), 'train_dataloader.batch_size', 'planned anew'),
        (lambda s: s['model']['data_preprocessor'].update(mean=[1.0, 3.0]), 'model.data_preprocessor.mean', 'taken'),
        (lambda s: s['custom_hooks'][1].update(start=2.0), 'custom_hooks.ScheduleHook(2).start', 'taken'),
        (lambda s: s.update({'processes': 2}), 'processes', 'planned anew'),
        (
            lambda s: s['train_dataloader']['dataset']['pipeline'][0].update(prob=1.0),
            'train_dataloader.dataset.pipeline.ColorJitter.prob',
            'taken',
        ),
    ],
)
def test_what_becomes_of_a_difference(change, path, outcome):
    now = settings()
    change(now)
    (difference,) = compare_settings(settings(), now)
    assert difference.path == path
    lines = table([difference]).splitlines()
    assert len(lines) == 3
    assert outcome in lines[2]
    assert str(difference.before)[:20] in lines[2]
    assert str(difference.now)[:20] in lines[2]
    assert bool(difference.refused) == (outcome == 'refused')
    assert difference.planned == (outcome == 'planned anew' or path.startswith('optim_wrapper'))


def test_other_bands_are_refused():
    now = settings()
    now['model']['data_preprocessor'].update(mean=[1.0, 2.0, 3.0], std=[1.0] * 3)
    refused = [each for each in compare_settings(settings(), now) if each.refused]
    assert [(each.path, each.before, each.now) for each in refused] == [('bands', 2, 3)]
