"""Log whether the features collapse, and say it once in plain words."""

from collections import deque
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.hooks import Hook
from mmpretrain.utils import get_ori_model
from torch import Tensor

from mmrs_ssl.engine.distributed import gather_tables
from mmrs_ssl.engine.hooks.deferred_log import is_due
from mmrs_ssl.evaluation.collapse import choice_sums, information_of, stds_and_ranks
from mmrs_ssl.models.backbones.pooling import averaged
from mmrs_ssl.models.protocol import Monitored, Monitors
from mmrs_ssl.models.watch import BackboneWatch, main_output
from mmrs_ssl.options import COUNT, NOT_NEGATIVE, SHARE, WHOLE, Number, check_numbers, or_none
from mmrs_ssl.registry import HOOKS

# Below these limits a representation is useless in practice. The standard deviation is relative to features spread
# over the whole sphere (1): pooled ResNet features were seen at 0.5 to 0.7, untrained and trained, collapsed ones below
# 0.01. The effective rank is of a window of at most 256 samples; healthy features use tens of directions or more.
MIN_STD = 0.05
MIN_RANK = 2.0
# Of a teacher that chooses prototypes: below this it says the same about all images, which the backbone's features need
# not show yet.
MIN_INFORMATION = 0.01
SAVED = 'collapse_monitor'  # the key in checkpoints


class Rows(NamedTuple):
    """Features of the last steps, the oldest first."""

    features: Tensor  # (N, D)
    origins: Tensor  # (N, 2): iteration and rank

    def last(self, count: int) -> 'Rows':
        """Return the last rows in the order of their iterations."""
        order = self.origins[:, 0].argsort(stable=True)[-count:]
        return Rows(self.features[order], self.origins[order])

    @staticmethod
    def joined(parts: list['Rows']) -> 'Rows':
        """Put rows of several processes below each other."""
        return Rows(*(torch.cat(each) for each in zip(*parts, strict=True)))


@HOOKS.register_module()
class CollapseMonitorHook(Hook):
    """Watch the spread of the pooled backbone features of student and teacher.

    When the logger writes a line it logs ``student_std``, ``student_rank``, ``teacher_std`` and ``teacher_rank`` of the
    last ``window`` samples (see :mod:`mmrs_ssl.evaluation.collapse`); where the teacher chooses prototypes also
    ``teacher_information``, of the last batch. It warns once when one of them is below its limit after ``warmup``
    iterations.

    Where a method has several features of each (``student_rgb_class``, ``student_dsm_map``), the line has the lowest of
    the student's and of the teacher's. Those of each by itself, ``student_rgb_class_std`` and so on, go to the
    visualizer (``vis_data/scalars.json``, TensorBoard) and, as ``monitor/...``, to the message hub; the warning names
    the ones that are too low.

    Several processes put their samples together when they measure and before ``SafeCheckpointHook`` saves. Checkpoints
    keep the window and whether it was warned, so that a resumed run goes on as if nothing had happened. In a checkpoint
    that is saved otherwise, by rank 0 alone, the other processes' samples since the last measurement are missing; after
    a resume their part of the window fills anew.

    A method says what these are (``monitor``, see :mod:`mmrs_ssl.models.protocol`). Of one that does not, ``student``
    is what its ``backbone`` returns: all passes of a step, averaged over places or tokens.

    Args:
        interval: iterations between two measurements, which make the host wait for the device; by default the logger's.
        window: samples measured together, of all processes; a single batch may be too small to tell a rank.
        warmup: iterations before the first warning.
        min_std: limit of the relative standard deviation, between 0 and 1.
        min_rank: limit of the effective rank, at least 1.
        min_information: limit of the information in the teacher's choices, between 0 and 1.
    """

    def __init__(
        self,
        interval: int | None = None,
        window: int = 256,
        warmup: int = 100,
        min_std: float = MIN_STD,
        min_rank: float = MIN_RANK,
        min_information: float = MIN_INFORMATION,
    ) -> None:
        check_numbers(self, or_none(COUNT), interval=interval)
        check_numbers(self, Number(2, whole=True), window=window)
        check_numbers(self, WHOLE, warmup=warmup)
        check_numbers(self, SHARE, min_std=min_std, min_information=min_information)
        check_numbers(self, NOT_NEGATIVE, min_rank=min_rank)
        self.interval = interval
        self.window = window
        self.warmup = warmup
        self.limits = dict(std=min_std, rank=min_rank, information=min_information)
        self.warned = False
        self._seen: dict[str, deque[tuple[int, Tensor]]] = {}  # by name: iterations and features (B, D)
        self._gathered: dict[str, Rows] = {}  # of all processes, when they last met
        self._loaded: dict[str, Any] | None = None
        self._watch: BackboneWatch | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Take what a checkpoint has of this hook; it counts if a training goes on from it."""
        self._loaded = checkpoint.get(SAVED)

    def before_train(self, runner: Any) -> None:
        """Restore this process's part of a resumed window; watch the backbone of a method without ``monitor``."""
        if self._loaded is not None and runner.iter > 0:  # not where only the weights were loaded
            self.warned = self._loaded['warned']
            for name, (features, origins) in self._loaded['window'].items():
                self._gathered[name] = Rows(features, origins)
                own = origins[:, 1] == get_rank()
                features, iterations = features[own], origins[own, 0]
                self._seen[name] = deque((int(i), features[iterations == i]) for i in iterations.unique())
        model = get_ori_model(runner.model)
        if not isinstance(model, Monitors):
            self._watch = BackboneWatch(model, type(self).__name__, lambda seen: averaged([main_output(seen.output)]))
            self._watch.start()

    def before_save_together(self, runner: Any) -> None:
        """Learn the other processes' samples; every process calls this before a checkpoint."""
        if self._seen and get_world_size() > 1:
            self._gather()

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Write the window into the checkpoint, at most ``window`` samples; other processes do not take part."""
        window = {}
        for name in self._seen:
            rows = self._own_rows(name)
            if name in self._gathered:
                known = self._gathered[name]
                others = known.origins[:, 1] != get_rank()
                rows = Rows.joined([rows, Rows(*(each[others] for each in known))])
            window[name] = [each.cpu() for each in rows.last(self.window)]
        checkpoint[SAVED] = dict(warned=self.warned, window=window)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Forget what the backbone did outside of training steps."""
        if self._watch is not None:
            self._watch.kept.clear()

    def after_train(self, runner: Any) -> None:
        """Stop watching the backbone."""
        if self._watch is not None:
            self._watch.stop()

    def monitored(self, model: Any) -> Monitored:
        """Return what is to be measured of the last step."""
        if self._watch is None:
            return model.monitor()
        return Monitored(dict(student=torch.cat(self._watch.collect())))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Collect this batch's features; measure and log when it is time."""
        features_of, choices = self.monitored(get_ori_model(runner.model))
        # The window of a checkpoint may have names that the method no longer gives.
        self._seen = {name: self._seen.get(name, deque()) for name in features_of}
        self._gathered = {name: rows for name, rows in self._gathered.items() if name in features_of}
        for name, features in features_of.items():
            batches = self._seen[name]
            batches.append((runner.iter, features))
            # As many steps as fill the window; the last one is whole, so a large batch is not thinned out.
            steps = max(1, self.window // (len(features) * get_world_size()))
            while batches[0][0] <= runner.iter - steps:
                batches.popleft()
        every = self.interval
        if not (self.every_n_train_iters(runner, every) if every else is_due(self, runner, batch_idx)):
            return
        measured = self._measure()
        if choices is not None:
            sums = choice_sums(choices)
            all_reduce(sums)
            measured['teacher_information'] = information_of(sums)
        self._log(runner, measured)
        self._warn(runner, measured)

    def _measure(self) -> dict[str, float]:
        self._gather()
        rows = [self._gathered[name].features for name in self._seen]
        measured: dict[str, float] = {}
        for name, (std, rank) in zip(self._seen, stds_and_ranks(rows), strict=True):
            measured |= {f'{name}_std': std, f'{name}_rank': rank}
        return measured

    def _log(self, runner: Any, measured: dict[str, float]) -> None:
        shown: dict[str, float] = {}  # student_rgb_map_std counts as student_std
        for name, value in measured.items():
            first, *_, last = name.split('_')
            shown[f'{first}_{last}'] = min(value, shown.get(f'{first}_{last}', value))
        for name, value in shown.items():
            runner.message_hub.update_scalar(f'train/{name}', value)
        if details := {name: value for name, value in measured.items() if name not in shown}:
            for name, value in details.items():
                runner.message_hub.update_scalar(f'monitor/{name}', value)  # which the logger's line leaves out
            runner.visualizer.add_scalars(details, step=runner.iter + 1)

    def _own_rows(self, name: str) -> Rows:
        batches = self._seen[name]
        device = batches[-1][1].device  # a resumed window comes from the CPU
        origins = [(iteration, get_rank()) for iteration, features in batches for _ in features]
        return Rows(torch.cat([features.to(device) for _, features in batches]), torch.tensor(origins, device=device))

    def _gather(self) -> None:
        own = [self._own_rows(name) for name in self._seen]
        features, origins = (gather_tables([rows[part] for rows in own]) for part in range(2))
        for name, *parts in zip(self._seen, features, origins, strict=True):
            self._gathered[name] = Rows(*(torch.cat(part) for part in parts)).last(self.window)

    def _warn(self, runner: Any, measured: dict[str, float]) -> None:
        low = {name: value for name, value in measured.items() if value < self.limits[name.rsplit('_', 1)[1]]}
        if not low or self.warned or runner.iter < self.warmup:
            return
        self.warned = True
        found = ', '.join(f'{name}={value:.3g}' for name, value in low.items())
        runner.logger.warning(
            f'The representation has collapsed, or nearly: {found} at iteration '
            f'{runner.iter + 1} (limits: {", ".join(f"{name} {value}" for name, value in self.limits.items())}). All '
            'images look alike to the network, so these weights will be of no use downstream. Common causes: learning '
            'rate too high for the batch size, teacher temperature or momentum too low, more prototypes than images, '
            'views that share no content. This is said once.'
        )
