"""Save checkpoints that are never half, by epochs, iterations, minutes and when the run is to end."""

import os
import time
from collections.abc import Callable
from fnmatch import fnmatch
from numbers import Real
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop
from torch import Tensor

from mmrs_ssl.engine.checkpoint_files import (
    INTERIM,
    MARKER,
    address_said,
    asked_marker,
    find_newest,
    part_of,
    write_whole,
)
from mmrs_ssl.engine.interruption import EXIT_CODE, Agreement, Interrupted, Signals, Wish
from mmrs_ssl.engine.loops import ResumableTrainLoop
from mmrs_ssl.options import POSITIVE, check_numbers, or_none
from mmrs_ssl.registry import HOOKS


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """Save as mmengine's ``CheckpointHook`` does, so that whatever happens there is a checkpoint to go on from.

    A file is written beside its place, put on the disk and renamed; the oldest one goes when the new one stands.
    ``last_checkpoint`` is relative to its folder, which may be moved. Besides:

    - Every ``minutes`` the run is saved as ``interim.pth``, of which one is kept, and which counts for no
      ``max_keep_ckpts``.
    - SIGTERM, SIGUSR1, SIGHUP and a first Ctrl-C let the step end, save ``interim.pth``, leave a file ``interrupted``
      in the work dir that names it, and end the run with exit code 75. A second Ctrl-C ends it at once.
    - A checkpoint is of the end of a step: where gradients are accumulated, what falls due between two steps of the
      optimizer is saved at the next one. Its place inside the epoch is kept (see ``ResumableTrainLoop``).

    Args:
        interval: epochs, or iterations, between two checkpoints, as of mmengine's hook.
        minutes: between two saves of ``interim.pth``, measured by the first process; None for none.
        **options: of mmengine's ``CheckpointHook``.
    """

    file_backend: Any
    best_ckpt_path: str | None

    def __init__(self, interval: int = -1, minutes: float | None = 15, **options: Any) -> None:
        check_numbers(self, or_none(POSITIVE), minutes=minutes)
        super().__init__(interval, **options)
        self.minutes = minutes
        self._late: int | None = None  # the epoch or iteration of a checkpoint that waits for the end of a step
        self._due = Wish.NOTHING
        self._named = -1  # the iteration of the last checkpoint of an epoch or interval

    def before_run(self, runner: Any) -> None:
        """Let mmengine's own automatic resume find the newest readable checkpoint too."""
        if runner._resume and runner._load_from is None:
            newest, faults = find_newest(Path(runner.work_dir))
            for fault in faults:
                runner.logger.warning(f'passed over: {fault}')
            if newest is None and faults:
                raise ValueError(f'no checkpoint in {runner.work_dir} can be read: {"; ".join(faults)}')
            if newest is None:
                address_said(Path(runner.work_dir), self.out_dir)  # where mmengine goes next
            runner._load_from = None if newest is None else str(newest)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Take away the text that mmengine would run as Python when it resumes; it writes none itself (but ``cfg``)."""
        if isinstance(checkpoint, dict) and isinstance(meta := checkpoint.get('meta'), dict):
            meta.pop('config', None)

    def before_train(self, runner: Any) -> None:
        """Listen to signals, start the clock, and remove what an earlier run left behind.

        Raises:
            ValueError: if the run goes on inside an epoch in a loop that cannot, or from a checkpoint whose notes of
                this hook are not this hook's.
        """
        check_notes(runner)
        super().before_train(runner)
        loop = runner.train_loop
        begins_again = isinstance(loop, EpochBasedTrainLoop) and not isinstance(loop, ResumableTrainLoop)
        if begins_again and (seen := runner.iter - runner.epoch * len(runner.train_dataloader)) != 0:
            raise ValueError(
                f'the checkpoint stands {seen} iterations inside epoch {runner.epoch + 1}, which '
                f"{type(loop).__name__} would begin again: set train_cfg.type='mmrs_ssl.ResumableTrainLoop', as "
                'tools/train.py does'
            )
        self._local = isinstance(self.file_backend, LocalBackend)
        self._own_best(runner)
        self._signals = Signals()
        self._signals.listen()
        self._agreement = Agreement()
        self._saved = time.monotonic()
        if is_main_process():
            self._marker(runner).unlink(missing_ok=True)
            if self._local:
                for part in Path(str(self.out_dir)).glob(part_of(Path('*.pth')).name):
                    part.unlink()

    def _own_best(self, runner: Any) -> None:
        """Look for the best weights so far in this run's own folder; a run that it goes on from keeps its own.

        They are removed when better ones stand: what a checkpoint names otherwise than this hook does stays.
        """

        def here(path: Any) -> str | None:
            name = os.path.basename(path) if isinstance(path, str) else ''
            if fnmatch(name, 'best_*.pth'):
                return str(self.file_backend.join_path(self.out_dir, name))
            if path is not None:
                runner.logger.warning(f'{runner._load_from} names {path!r:.200} as the best weights: it is left alone')
            return None

        if getattr(self, 'best_ckpt_path', None):
            self.best_ckpt_path = here(self.best_ckpt_path)
        for key, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            self.best_ckpt_path_dict[key] = here(path)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Write into the meta data what a resumed run compares with its own settings, and what bands are called."""
        checkpoint['meta']['world_size'] = get_world_size()
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            checkpoint['meta']['epoch_length'] = len(runner.train_dataloader)
        if 'optimizer' in checkpoint and 'state' in checkpoint['optimizer']:
            checkpoint['meta']['optimizer_states'] = len(checkpoint['optimizer']['state'])
        names = getattr(runner.train_dataloader.dataset, 'band_names', None)
        if isinstance(names, dict):  # what files call the bands that are loaded, by modality
            checkpoint['meta']['band_names'] = names

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save what has fallen due, if a step of the optimizer ends here; end the run if that is wanted."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self._due = max(self._due, self._agreement.highest(self._wish()))
        if not ends_step(runner):
            return
        position = dict(epoch=runner.epoch, iter=runner.iter + 1)
        if self._late is not None:
            late, self._late = self._late, None
            self._save_checkpoint_with_step(runner, late if self.by_epoch else runner.iter + 1, position)
        due, self._due = self._due, Wish.NOTHING
        if due >= Wish.SAVE:
            self._write(runner, INTERIM, position)
        if due == Wish.STOP:
            self._end(runner, position)

    def after_train(self, runner: Any) -> None:
        """Give the signals back, and remove ``interim.pth`` where the last checkpoint has come as far."""
        super().after_train(runner)
        self._signals.ignore()
        self._agreement.finish()
        self._agreement.meet()  # a training that is finished already ends before the others have found each other
        if is_main_process() and self._local and self._named == runner.iter:
            Path(str(self.out_dir), INTERIM).unlink(missing_ok=True)

    def _wish(self) -> Wish:
        if self._signals.pending():
            return Wish.STOP
        if self.minutes is None or not is_main_process() or time.monotonic() - self._saved < 60 * self.minutes:
            return Wish.NOTHING
        self._saved = time.monotonic()
        return Wish.SAVE

    def _end(self, runner: Any, position: dict[str, int]) -> None:
        reason = self._signals.pending() or 'a signal to another process'
        file = self.file_backend.join_path(self.out_dir, INTERIM)
        if is_main_process():
            for marker in (self._marker(runner), *filter(None, [asked_marker()])):
                write_whole(marker, lambda part: part.write_text(f'{file}\n{reason}\n'))
            runner.logger.warning(
                f'interrupted ({reason}): saved {file} at epoch {position["epoch"] + 1}, iteration {position["iter"]}; '
                f'go on with --resume (exit code {EXIT_CODE})'
            )
        self._agreement.meet()  # a launcher may end the others as soon as one has ended
        raise Interrupted

    @staticmethod
    def _marker(runner: Any) -> Path:
        return Path(runner.work_dir, MARKER)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict[str, int]) -> None:
        """Save the checkpoint of an epoch or iteration, then remove the oldest if there are too many."""
        if not ends_step(runner):
            self._late = step
            return
        name = self.filename_tmpl.format(step)
        outdated = None
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._write(runner, name, meta, self.by_epoch)
        self._named = meta['iter']
        if is_main_process() and outdated is not None:
            path = self.file_backend.join_path(self.out_dir, outdated)
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):  # of deepspeed
                self.file_backend.rmtree(path)

    def _save_best_checkpoint(self, runner: Any, metrics: dict[str, Any]) -> None:
        """Save the best weights so far as mmengine does, and remove those before when these stand."""
        backend = self.file_backend
        outdated: list[tuple[Callable[[str], None], str]] = []
        save = runner.save_checkpoint

        def save_whole(out_dir: str, filename: str, *args: Any, **options: Any) -> None:
            if is_main_process() and self._local:
                write_whole(Path(out_dir, filename), lambda part: save(out_dir, part.name, *args, **options))
            else:
                save(out_dir, filename, *args, **options)

        self.file_backend, runner.save_checkpoint = RemovesLater(backend, outdated, self._local), save_whole
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend, runner.save_checkpoint = backend, save
        for remove, path in outdated:
            remove(path)

    def _write(self, runner: Any, name: str, meta: dict[str, int], by_epoch: bool = False) -> None:
        """Save a checkpoint whole, and its name in ``last_checkpoint``.

        Raises:
            OSError: naming the file and what to do; nothing that was saved before is lost.
        """
        for hook in runner.hooks:  # those whose state is spread over the processes
            if hasattr(hook, 'before_save_together'):
                hook.before_save_together(runner)
        self._saved = time.monotonic()
        options = dict(
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        pointer = Path(runner.work_dir, 'last_checkpoint')
        if not is_main_process() or not self._local:
            runner.save_checkpoint(self.out_dir, name, self.file_client_args, **options)
            if is_main_process():  # an object store has no half files; the address stands for itself
                write_whole(pointer, lambda part: part.write_text(self.file_backend.join_path(self.out_dir, name)))
            return
        path = Path(str(self.out_dir), name)
        relative = os.path.relpath(path, runner.work_dir)
        try:
            write_whole(
                path, lambda part: runner.save_checkpoint(self.out_dir, part.name, self.file_client_args, **options)
            )
            write_whole(pointer, lambda part: part.write_text(relative))
        except OSError as error:
            newest, _ = find_newest(path.parent)
            raise OSError(
                error.errno,
                f'{path} cannot be written ({error.strerror or error}): make room there, or let the folder be written '
                f'to; then go on with --resume. The newest checkpoint that stands: {newest or "none"}',
            ) from error


class RemovesLater:
    """A file backend that notes what it is to remove.

    On this machine that is a file: a folder is never what the hook has saved there.
    """

    def __init__(self, backend: Any, noted: list[tuple[Callable[[str], None], str]], local: bool) -> None:
        self._backend = backend
        self._noted = noted
        self._local = local

    def isdir(self, path: str) -> bool:
        """Tell whether a folder is to be removed."""
        return not self._local and bool(self._backend.isdir(path))

    def __getattr__(self, name: str) -> Any:
        if name not in ('remove', 'rmtree'):
            return getattr(self._backend, name)
        return lambda path: self._noted.append((getattr(self._backend, name), path))


def check_notes(runner: Any) -> None:
    """Refuse notes of the checkpoint hook that it did not write: it removes files by them.

    Raises:
        ValueError: naming the file that the run goes on from.
    """
    notes = runner.message_hub.runtime_info
    kept = notes.get('keep_ckpt_ids', [])
    if not isinstance(kept, list) or not all(type(each) is int for each in kept):
        raise ValueError(
            f'{runner._load_from}: keep_ckpt_ids in its message_hub is {kept!r:.200}, expected a list of epochs or '
            'iterations: it was changed, go on from another'
        )
    for key, score in notes.items():
        if key.startswith('best_score') and (isinstance(score, bool) or not isinstance(score, Real | Tensor)):
            raise ValueError(
                f'{runner._load_from}: {key} in its message_hub is {score!r:.200}, expected a number: it was changed, '
                'go on from another'
            )


def ends_step(runner: Any) -> bool:
    """Tell whether the last iteration ended with a step of the optimizer, so that no gradients are kept."""
    wrapper = runner.optim_wrapper
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return all(each.should_update() for each in wrappers)
