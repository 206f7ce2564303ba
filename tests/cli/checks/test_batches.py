"""Findings about batches, each with one mistake planted; there are 16 images, and a batch has 4."""

import pytest

from mmrs_ssl import get_config
from mmrs_ssl.cli.checks.batches import check_batch_norm, check_epoch, check_prototypes, check_queue
from mmrs_ssl.cli.config import override
from tests.cli.checks.planning import above_notes, only, plan
from tests.conftest import cmid_config, dino_config, mssdf_config
from tests.test_mmpretrain_configs import shrink

ALL = (check_batch_norm, check_epoch, check_prototypes, check_queue)


def changed(cfg, **options):
    override(cfg, {key.replace('__', '.'): value for key, value in options.items()})
    return plan(cfg)


def moco(image_folder, **model):
    cfg = get_config('mmpretrain/mocov2_resnet50_1xb64-coslr-200e_folder-224px')
    override(cfg, dict(data_root=str(image_folder), size=64, batch=4))
    shrink(cfg, 'mocov2')
    cfg.model.update(model)
    return cfg


def test_what_fits_is_a_note(make_config):
    for model in (cmid_config(), dino_config('vit'), mssdf_config()):
        planned = plan(make_config(model=model))
        assert not [each for check in ALL for each in above_notes(check(planned))]
    (note,) = check_epoch(planned)
    assert note.seen == '16 images, 4 steps an epoch, 8 in all'


@pytest.mark.parametrize(
    ('options', 'devices', 'level', 'words'),
    [
        (dict(batch=17), 1, 'error', '16 images are fewer than a batch of 17, and drop_last leaves no step'),
        (dict(batch=6), 3, 'error', '5 images for each of 3 devices are fewer than a batch of 6'),
        (dict(batch=17, train_dataloader__drop_last=False), 1, 'warning', 'a step is a whole epoch'),
        (
            dict(batch=5, train_dataloader__drop_last=False),
            1,
            'warning',
            'the last batch of an epoch has 1 image of 16',
        ),
    ],
)
def test_images_that_make_no_batches(make_config, options, devices, level, words):
    planned = changed(make_config(), **options)
    planned.devices = devices
    found = only(check_epoch(planned))
    assert found.level == level
    assert words in found.seen
    assert found.change.startswith(
        f'batch = {16 // devices // 4} (' if options['batch'] > 5 else 'train_dataloader.drop_last'
    )


@pytest.mark.parametrize(
    ('length', 'words', 'length_wanted'),
    [
        (7, 'a queue of 7 keys is smaller than the 8 of one step', 64),
        (321, 'holds those of 10 epochs of 16 images', 32),
        (8, None, None),
        (320, None, None),
    ],
)
def test_a_queue_of_cmid(make_config, length, words, length_wanted):
    """Keys of both views enter it."""
    planned = changed(make_config(), model__global_head__queue_length=length)
    found = above_notes(check_queue(planned))
    assert len(found) == (words is not None)
    if words:
        assert words in found[0].seen
        assert found[0].change == f'model.global_head.queue_length = {length_wanted}'


@pytest.mark.parametrize(
    ('length', 'level', 'change'), [(18, 'error', 16), (164, 'warning', 16), (160, None, None), (4, None, None)]
)
def test_a_queue_of_moco(image_folder, length, level, change):
    """Whole batches of one key an image enter it."""
    found = above_notes(check_queue(plan(moco(image_folder, queue_len=length))))
    assert [each.level for each in found] == ([level] if level else [])
    if found:
        assert found[0].change == f'model.queue_len = {change}'


def test_a_batch_of_several_devices_enters_the_queue(image_folder):
    planned = plan(moco(image_folder, queue_len=16))
    planned.devices = 3
    assert only(check_queue(planned)).seen == 'a queue of 16 keys, 12 come in a step'


@pytest.mark.parametrize(('prototypes', 'found'), [(512, 0), (513, 1)])
def test_more_prototypes_than_images(make_config, prototypes, found):
    model = dino_config('vit')
    model['head']['num_prototypes'] = prototypes
    findings = above_notes(check_prototypes(plan(make_config(model=model))))
    assert len(findings) == found
    if found:
        assert findings[0].seen == '513 prototypes for 16 images: most are never chosen'
        assert findings[0].change == 'model.head.num_prototypes = 256 (or leave it out)'


@pytest.mark.parametrize(
    ('batch', 'devices', 'sync', 'levels'),
    [
        (1, 1, None, ['warning']),
        (3, 1, None, ['warning']),
        (4, 1, None, []),
        (2, 2, None, ['warning']),
        (2, 2, 'torch', []),
    ],
)
def test_batch_norm_of_few_images(make_config, batch, devices, sync, levels):
    planned = changed(make_config(), batch=batch)
    planned.devices, planned.cfg.sync_bn = devices, sync
    found = above_notes(check_batch_norm(planned))
    assert [each.level for each in found] == levels
    if devices > 1 and found:
        assert found[0].change.endswith(", or sync_bn = 'torch'")


def test_batch_norm_of_a_single_vector_is_an_error(make_config):
    planned = changed(make_config(model=cmid_config(byol=True)), batch=1)
    found = only(check_batch_norm(planned))
    assert (found.level, found.seen) == ('error', 'a batch of 1 on each device makes statistics of 1 images')
    assert not list(check_batch_norm(changed(make_config(model=dino_config('vit')), batch=1)))
