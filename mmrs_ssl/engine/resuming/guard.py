"""Look at a checkpoint before a run takes anything from it."""

from collections.abc import Sequence
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop

from mmrs_ssl.engine.checkpoint_files import position_of
from mmrs_ssl.engine.normalization import ADOPTED
from mmrs_ssl.engine.resuming.parts import check_averages, check_content, check_message_hub
from mmrs_ssl.engine.resuming.position import as_built, convert, length_before, replay
from mmrs_ssl.engine.resuming.settings import Difference, compare_settings, table
from mmrs_ssl.engine.resuming.weights import check_optimizer, check_weights
from mmrs_ssl.transfer.own_checkpoints import read_settings


class CheckpointGuard(Hook):
    """Refuse a checkpoint that does not fit; when a run goes on, the config rules and the checkpoint says where it is.

    The command-line tools register it, for models of any library; OpenMMLab's own entry points do without.

    Args:
        file: name of the checkpoint.
        resume: a training goes on from it; otherwise its weights are loaded.
        allow_missing: patterns of weights that may stay as they are initialized, e.g. ``'head.*'``.
    """

    priority = 'HIGHEST'

    def __init__(self, file: str, resume: bool, allow_missing: Sequence[str] = ()) -> None:
        self.file = file
        self.resume = resume
        self.allow_missing = tuple(allow_missing)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Check the weights, and bring position and schedules to the config.

        Raises:
            ValueError: if the checkpoint does not fit the model, its optimizer or the config.
        """
        check_content(checkpoint, self.file)
        if isinstance(checkpoint.get('meta'), dict):
            checkpoint['meta'].pop('config', None)  # mmengine's Runner would run it as Python
        differences: list[Difference] = []
        if self.resume:
            try:
                position_of(checkpoint)
            except ValueError as error:
                raise ValueError(f'{self.file}: {error}') from None
            differences = self._compare(runner, checkpoint['meta'])
        unknown = check_weights(runner.model, checkpoint, self.file, self.allow_missing, self.resume)
        if unknown:
            runner.logger.info(f'{self.file}: {len(unknown)} weights are not of this model and left: {unknown[:6]} ...')
        if self.resume:
            check_message_hub(checkpoint, self.file)
            check_averages(runner, checkpoint, self.file)
            check_optimizer(runner, checkpoint, self.file)
            self._plan(runner, checkpoint, differences)

    def _compare(self, runner: Any, meta: dict[str, Any]) -> list[Difference]:
        before = read_settings(meta.get('cfg') or '')
        now = read_settings(runner.cfg.pretty_text)
        if not before:
            runner.logger.warning(f'{self.file} does not say its settings: they are not compared with the config')
            now = {}
        for key, name, value in (
            ('world_size', 'processes', get_world_size()),
            ('epoch_length', 'iterations per epoch', _epoch_length(runner)),
        ):
            if key in meta and value is not None:
                before[name], now[name] = meta[key], value
        differences = compare_settings(before, now)
        if ADOPTED in meta and any(getattr(hook, 'normalization', None) == 'adopt' for hook in runner.hooks):
            # the hook takes these from the checkpoint again, whatever the config says
            differences = [each for each in differences if 'data_preprocessor' not in each.path.split('.')]
        if not differences:
            return []
        text = f'{self.file} was made with other settings:\n{table(differences)}'
        for each in differences:
            if each.refused:
                raise ValueError(
                    f'{text}\n{each.path} was {each.before} and is now {each.now}: {each.refused}. Go on with the '
                    'config it was made with, or start a training of its own in another work dir'
                )
        runner.logger.warning(text)
        return differences

    def _plan(self, runner: Any, checkpoint: dict[str, Any], differences: list[Difference]) -> None:
        meta = checkpoint['meta']
        if (seed := runner._randomness_cfg.get('seed')) is not None:
            meta['seed'] = seed  # the config's, where mmengine would take over the checkpoint's
        iteration, epoch = begin = position_of(checkpoint)
        length = _epoch_length(runner)
        if length is not None:
            other_batch = any(each.path in ('train_dataloader.batch_size', 'processes') for each in differences)
            before = meta.get('epoch_length') or length_before(begin, length, other_batch)
            step = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
            iteration, epoch = convert((iteration, epoch), before, length, step)
            if epoch > runner.max_epochs:
                raise ValueError(
                    f'{self.file} stands after epoch {epoch}, and train_cfg.max_epochs={runner.max_epochs} is passed '
                    'already: train longer'
                )
            if epoch == runner.max_epochs:
                runner.logger.warning(f'{self.file}: the training is finished, all {epoch} epochs are done')
            meta['iter'], meta['epoch'] = iteration, epoch
        elif iteration > runner.max_iters:
            raise ValueError(
                f'{self.file} stands after iteration {iteration}, and train_cfg.max_iters={runner.max_iters} is passed '
                'already: train longer'
            )
        moved = (iteration, epoch) != begin
        if moved or any(each.planned for each in differences) or not as_built(runner, checkpoint, iteration, epoch):
            replay(runner, checkpoint, iteration, epoch, length or iteration + 1)
            wrapper = runner.optim_wrapper
            wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
            rates = sorted({round(group['lr'], 12) for each in wrappers for group in each.param_groups})
            runner.logger.warning(
                f'planned anew: the training goes on at epoch {epoch + 1} of {runner.max_epochs}, iteration '
                f'{iteration} of {runner.max_iters}, with a learning rate of {", ".join(map(str, rates[-3:]))}'
            )


def _epoch_length(runner: Any) -> int | None:
    """Count the iterations of an epoch; None for a training that is counted in iterations alone."""
    return len(runner.train_dataloader) if isinstance(runner.train_loop, EpochBasedTrainLoop) else None
