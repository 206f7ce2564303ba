"""Compare the batch with what is counted in it or kept of it: images, queue, prototypes, BatchNorm."""

from collections.abc import Iterator

from torch import Tensor, nn

from mmrs_ssl.cli.checks.findings import Finding, setting
from mmrs_ssl.cli.checks.planned import PlannedTraining
from mmrs_ssl.models import DINOMC
from mmrs_ssl.models.batch_norms import is_batch_norm
from mmrs_ssl.models.heads import PrototypeHead, QueueContrastHead
from mmrs_ssl.models.heads.sizing import head_size

QUEUE_EPOCHS = 10  # a queue that holds keys of more epochs holds the old keys of every image many times
FEW_FOR_BATCH_NORM = 4


def check_epoch(planned: PlannedTraining) -> Iterator[Finding]:
    """Compare the number of images with the batch."""
    cfg, batch = planned.cfg, planned.batch
    own = planned.images // planned.devices
    each = f' for each of {planned.devices} devices' if planned.devices > 1 else ''
    smaller = setting(cfg, 'batch', max(own // 4, 1), 'train_dataloader.batch_size')
    if own < batch:
        drops = cfg.train_dataloader.get('drop_last', False)
        yield Finding(
            'error' if drops else 'warning',
            'images',
            f'{own} images{each} are fewer than a batch of {batch}'
            + (', and drop_last leaves no step' if drops else ': a step is a whole epoch'),
            'several batches an epoch',
            f'{smaller}, or more images',
        )
        return
    seen = f'{own} images{each}, {planned.steps_per_epoch} steps an epoch, {planned.steps} in all'
    yield Finding('note', 'images', seen)
    if (
        not cfg.train_dataloader.get('drop_last')
        and own % batch == 1
        and any(map(is_batch_norm, planned.model.modules()))
    ):
        yield Finding(
            'warning',
            'images',
            f'the last batch of an epoch has 1 image of {own}, and BatchNorm needs several',
            'no such batch',
            'train_dataloader.drop_last = True',
        )


def check_queue(planned: PlannedTraining) -> Iterator[Finding]:
    """Compare a queue of keys with a step's keys and with those of an epoch."""
    head = getattr(planned.model, 'global_head', None)
    batch = planned.batch * planned.devices
    if isinstance(head, QueueContrastHead):
        length, keys, path = len(head.queue), 2, 'model.global_head.queue_length'  # of both views
    elif planned.method == 'MoCo' and isinstance(planned.model.queue, Tensor):
        length, keys, path = planned.model.queue.shape[1], 1, 'model.queue_len'
        if length % batch:
            yield Finding(
                'error',
                'queue',
                f'a queue of {length} keys, {batch} come in a step',
                'a multiple of the batch',
                f'{path} = {max(1, round(length / batch)) * batch}',
            )
            return
    else:
        return
    if length < keys * batch:
        yield Finding(
            'warning',
            'queue',
            f'a queue of {length} keys is smaller than the {keys * batch} of one step',
            'keys of several steps',
            f'{path} = {8 * keys * batch}',
        )
    elif length > QUEUE_EPOCHS * keys * planned.images:
        fitting = max(1, keys * planned.images // batch) * batch
        yield Finding(
            'warning',
            'queue',
            f'a queue of {length} keys holds those of {length / keys / planned.images:.0f} epochs of {planned.images} '
            'images: most negatives are old keys of the same few images',
            f'keys of at most {QUEUE_EPOCHS} epochs',
            f'{path} = {fitting}',
        )


def check_prototypes(planned: PlannedTraining) -> Iterator[Finding]:
    """Compare the prototypes, of which every image chooses one, with the number of images."""
    if not isinstance(planned.model, DINOMC):
        return
    found, fitting = planned.model.head.num_prototypes, head_size(planned.images).num_prototypes
    if found > 2 * fitting:
        yield Finding(
            'warning',
            'prototypes',
            f'{found} prototypes for {planned.images} images: most are never chosen',
            'no more than images',
            f'model.head.num_prototypes = {fitting} (or leave it out)',
        )
    else:
        yield Finding('note', 'prototypes', f'{found} prototypes for {planned.images} images')


def check_batch_norm(planned: PlannedTraining) -> Iterator[Finding]:
    """Count what BatchNorm has to make its statistics of."""
    if not any(map(is_batch_norm, planned.model.modules())):
        return
    count = planned.batch * (planned.devices if planned.cfg.get('sync_bn') else 1)
    if count >= FEW_FOR_BATCH_NORM:
        return
    parts = [getattr(planned.model, name, None) for name in ('neck', 'head', 'global_head')]
    vectors = any(  # it refuses a single vector
        isinstance(layer, nn.BatchNorm1d)
        for part in parts
        if isinstance(part, nn.Module) and not isinstance(part, PrototypeHead)
        for layer in part.modules()
    )
    yield Finding(
        'error' if count == 1 and vectors else 'warning',
        'BatchNorm',
        f'a batch of {planned.batch} on each device makes statistics of {count} images',
        f'at least {FEW_FOR_BATCH_NORM} images, better 32',
        setting(planned.cfg, 'batch', 32, 'train_dataloader.batch_size')
        + (", or sync_bn = 'torch'" if planned.devices > 1 and not planned.cfg.get('sync_bn') else ''),
    )
