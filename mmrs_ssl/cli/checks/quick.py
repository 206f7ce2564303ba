"""All checks that take seconds, for ``tools/check.py`` and for every start of a training."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.utils import get_ori_model

from mmrs_ssl.cli.checks.bands import check_bands, check_spread, check_statistics, check_white
from mmrs_ssl.cli.checks.batches import check_batch_norm, check_epoch, check_prototypes, check_queue
from mmrs_ssl.cli.checks.findings import Finding
from mmrs_ssl.cli.checks.machine import check_device, check_disk, check_precision, check_versions
from mmrs_ssl.cli.checks.planned import PlannedTraining, random_state_kept
from mmrs_ssl.cli.checks.schedule import check_learning_rate, check_size, check_temperatures, check_warmup
from mmrs_ssl.cli.checks.sizes import check_crops, check_masks, check_patches, check_windows
from mmrs_ssl.cli.errors import explain

SAMPLES_AT_START = 16
CHECKS: tuple[Callable[[PlannedTraining], Iterator[Finding]], ...] = (
    check_bands,
    check_statistics,
    check_white,
    check_spread,
    check_crops,
    check_patches,
    check_windows,
    check_masks,
    check_epoch,
    check_queue,
    check_prototypes,
    check_batch_norm,
    check_learning_rate,
    check_size,
    check_temperatures,
    check_warmup,
)


def look_at(planned: PlannedTraining, work_dir: str | Path | None = None) -> Iterator[Finding]:
    """Make all quick checks of a pre-training.

    Args:
        planned: the training.
        work_dir: by default the config's.
    """
    yield from check_versions()
    yield from check_device(planned.machine)
    yield from check_precision(planned.cfg, planned.machine)
    yield from check_disk(planned.cfg, planned.model, work_dir)
    if not isinstance(planned.model, BaseSelfSupervisor):
        yield Finding('note', 'method', f'{planned.method} is no pre-training: only the machine was looked at')
        return
    try:
        planned.load_samples()
    except Exception as error:  # of the user's files and pipeline, whatever it is
        yield Finding('error', 'a sample', explain(error), 'a sample that can be loaded', 'see the message')
        return
    for check in CHECKS:
        yield from check(planned)


class StartCheck(Hook):
    """Make the quick checks when a run has built all its parts, before any weight is set: the tools register it.

    Warnings go to the log, an error ends the run. A run of anything but a pre-training is let go on. Random numbers
    are what they would be without.
    """

    priority = 'LOWEST'

    def before_run(self, runner: Any) -> None:
        """Look at the parts of the runner.

        Raises:
            ValueError: with all errors.
        """
        model, loader = get_ori_model(runner.model), runner.train_loop.dataloader
        if not isinstance(model, BaseSelfSupervisor) or 'batch_size' not in (runner.cfg.get('train_dataloader') or {}):
            return
        planned = PlannedTraining(runner.cfg, loader.dataset, model, devices=get_world_size(), samples=SAMPLES_AT_START)
        with random_state_kept():  # checks draw masks; weights are still to be drawn
            findings = list(look_at(planned, runner.work_dir))
        for each in findings:
            if each.level == 'warning':
                runner.logger.warning(f'check: {each}')
        errors = [str(each) for each in findings if each.level == 'error']
        if errors:
            raise ValueError(
                '\n'.join(errors) + '\nThis was found before the training began; --no-check trains all the same'
            )
