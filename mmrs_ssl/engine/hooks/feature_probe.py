"""Say while training what the features are worth, on a small folder of labelled images."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import broadcast, broadcast_object_list, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.runner import EpochBasedTrainLoop
from mmpretrain.utils import get_ori_model
from torch import Tensor, nn

from mmrs_ssl.datasets.transforms.loading import LoadRaster
from mmrs_ssl.evaluation.features import SquareImages, features_of
from mmrs_ssl.evaluation.knn import evaluating
from mmrs_ssl.evaluation.labelled import check_learnable, halves, read_labelled
from mmrs_ssl.evaluation.probes import by_linear_probe, by_neighbors, check_features, score
from mmrs_ssl.models.backbones.pooling import vector_of
from mmrs_ssl.models.protocol import branch_backbones
from mmrs_ssl.options import COUNT, WHOLE, check_numbers, or_none
from mmrs_ssl.rasters.access import access_to
from mmrs_ssl.registry import HOOKS
from mmrs_ssl.transfer.records import Record, read_record


@HOOKS.register_module()
class FeatureProbeHook(Hook):
    """Measure nearest neighbors and a linear classifier on frozen features of student and teacher as training goes on.

    It is done before the first epoch, which is what random weights are worth, after every ``interval`` epochs and after
    the last. ``student_knn_acc``, ``student_linear_acc``, ``teacher_knn_acc`` and ``teacher_linear_acc``, in percent
    (``..._mAP`` where images have several labels), go to the log and the visualizer, and to hooks that save the best
    checkpoint or stop early: ``checkpoint=dict(save_best='teacher_linear_acc')``. Nothing else of the training changes,
    its random state neither. Several processes share the images.

    Works with any method that has a ``backbone``; of one without a teacher there are the student's figures alone.

    Args:
        data: a folder with a folder for each class, or a list, see :func:`mmrs_ssl.evaluation.labelled.read_labelled`.
        root: folder that the paths of a list start from.
        interval: epochs between two measurements.
        size: side of the images in pixels; by default that of the (global) views in training.
        loader: options of :class:`LoadRaster`; by default those of the training's own.
        neighbors: how many of them.
        seed: of the split into two halves.
        batch_size: images at once.
        prefix: of the figures' names, which tells several of these hooks apart, e.g. ``'roofs_'``.

    Raises:
        TypeError: in a loop that counts iterations.
        ValueError: if the config does not say how pixels are normalized, or the size; for a class with one image; for
            two of these hooks with one prefix; if a hook waits for a figure that is not measured.
    """

    def __init__(
        self,
        data: str,
        root: str | None = None,
        interval: int = 5,
        size: int | None = None,
        loader: dict | None = None,
        neighbors: int = 20,
        seed: int = 0,
        batch_size: int = 64,
        prefix: str = '',
    ) -> None:
        check_numbers(self, COUNT, interval=interval, neighbors=neighbors, batch_size=batch_size)
        check_numbers(self, or_none(COUNT), size=size)
        check_numbers(self, WHOLE, seed=seed)
        self.labelled, self.held_out = halves(read_labelled(data, root), seed)
        check_learnable(self.labelled)
        if len(self.labelled.paths) < neighbors:
            raise ValueError(
                f'{data} has {len(self.labelled.paths)} images to label, fewer than neighbors={neighbors}: give more '
                'images or fewer neighbors'
            )
        self.interval, self.size, self.loader, self.prefix = interval, size, loader, prefix
        self.neighbors, self.seed, self.batch_size = neighbors, seed, batch_size
        self.access = access_to({str(Path(path).parent) for path in (*self.labelled.paths, *self.held_out.paths)})
        self._measured = -1  # the number of epochs after which it was measured last

    def before_train(self, runner: Any) -> None:
        """Find out how pixels are read and normalized in this training."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise TypeError(f'FeatureProbeHook counts epochs, {type(runner.train_loop).__name__} counts iterations')
        self._check_names(runner)
        names = dict.fromkeys(get_ori_model(runner.model).state_dict())
        self.record = read_record(dict(meta=dict(cfg=runner.cfg.pretty_text), state_dict=names))
        size = self.size or self.record.size
        if size is None or self.record.mean is None:
            raise ValueError(
                'FeatureProbeHook: the config does not say the size of its views or how pixels are normalized: set '
                'size=... of the hook, and mean and std of model.data_preprocessor'
            )
        options = self.loader if self.loader is not None else self.record.loader or dict(bands=self.record.bands)
        transform = LoadRaster(**options)

        def load(path: str) -> np.ndarray:
            return np.asarray(transform.transform(dict(img_path=path, access=self.access))['img'])

        self.images = [SquareImages(part.paths, load, size) for part in (self.labelled, self.held_out)]

    def names_of(self, branch: str) -> dict[str, str]:
        """Name the figures of a network, by probe."""
        kind = 'mAP' if self.held_out.labels.ndim == 2 else 'acc'
        return {probe: f'{self.prefix}{branch}_{probe}_{kind}' for probe in ('knn', 'linear')}

    def _check_names(self, runner: Any) -> None:
        """Refuse names that two hooks would give, and hooks that wait for others."""
        probes = [hook for hook in runner.hooks if isinstance(hook, FeatureProbeHook)]
        if sum(hook.prefix == self.prefix for hook in probes) > 1:
            raise ValueError(
                f'two FeatureProbeHooks have prefix={self.prefix!r}, and their figures one name; give each its own'
            )
        branches = branch_backbones(get_ori_model(runner.model))
        measured = [{name for branch in branches for name in hook.names_of(branch).values()} for hook in probes]
        for hook in runner.hooks if runner.val_loop is None else ():
            if (wanted := wanted_by(hook)) and not any(wanted <= names for names in measured):
                raise ValueError(
                    f'{type(hook).__name__} waits for {", ".join(sorted(wanted))}; expected figures of one '
                    f'FeatureProbeHook: {", ".join(sorted(set().union(*measured)))}'
                )

    def before_train_epoch(self, runner: Any) -> None:
        """Measure what the epochs before have made, if it is time; not where a run goes on inside an epoch."""
        if runner.epoch % self.interval == 0 and runner.iter == runner.epoch * len(runner.train_dataloader):
            self.measure(runner)

    def after_train(self, runner: Any) -> None:
        """Measure what the whole training has made."""
        self.measure(runner)

    def measure(self, runner: Any) -> None:
        """Measure all networks, log the figures, and tell the hooks that want them."""
        if self._measured == runner.epoch:
            return
        self._measured = runner.epoch
        model = get_ori_model(runner.model)
        # the loaders draw a seed from torch's generator; nothing here draws from Python's or numpy's
        with torch.random.fork_rng(devices=[]):
            figures = self.figures(model)
        shared = [figures]
        broadcast_object_list(shared)  # all have to agree which checkpoint is the best one
        figures = shared[0]
        words = '  '.join(f'{name}: {value:.1f}' for name, value in figures.items())
        runner.logger.info(f'Probe after epoch {runner.epoch}: {words}')
        runner.visualizer.add_scalars(figures, step=runner.epoch)
        for name, value in figures.items():
            runner.message_hub.update_scalar(f'val/{name}', value)
        if runner.epoch:  # random weights are no best ones
            for hook in runner.hooks:
                if isinstance(hook, CheckpointHook | EarlyStoppingHook) and wanted_by(hook) <= figures.keys():
                    hook.after_val_epoch(runner, figures)

    def figures(self, model: Any) -> dict[str, float]:
        """Compute the figures of all networks; of several processes the first one has them."""
        found = {}
        for name, backbone in branch_backbones(model).items():
            with evaluating(backbone), buffers_of_first(backbone):
                encoder = encoder_of(backbone, self.record)
                device = str(next(backbone.parameters()).device)
                train, test = (features_of(encoder, each, self.batch_size, device=device) for each in self.images)
            if is_main_process():
                for features, part in ((train, self.labelled), (test, self.held_out)):
                    check_features(features, of=f'FeatureProbeHook, {name}', paths=part.paths)
                given = train, self.labelled.labels, test
                predicted = dict(
                    knn=by_neighbors(*given, neighbors=self.neighbors), linear=by_linear_probe(*given, self.seed)
                )
                for probe, each in predicted.items():
                    found[self.names_of(name)[probe]] = 100 * score(self.held_out.labels, each)
        return found


def wanted_by(hook: Hook) -> set[str]:
    """Name the figures by which a hook chooses the best checkpoint, or the end of the training."""
    if isinstance(hook, EarlyStoppingHook):
        return {hook.monitor}
    chosen = hook.key_indicators if isinstance(hook, CheckpointHook) and hook.save_best else ()
    return {name for name in chosen if name != 'auto'}  # which is the first there is


def encoder_of(backbone: nn.Module, record: Record) -> Callable[[Tensor], Tensor]:
    """Make a function from pixels in the rasters' units (B, C, H, W) to vectors (B, D), of a backbone in training.

    Hooks on the backbone, by which others watch its passes, do not see these.
    """
    device = next(backbone.parameters()).device

    def column(values: Sequence[float] | None) -> Tensor:
        return torch.tensor(values, device=device).view(-1, 1, 1)

    mean, std = column(record.mean), column(record.std)
    masked = 'mask' in inspect.signature(backbone.forward).parameters  # MAE's and SimMIM's: nothing is to be masked
    given: dict[str, Any] = dict(mask=None) if masked else {}

    def encode(pixels: Tensor) -> Tensor:
        pixels = pixels.flip(1) if record.reverses else pixels
        outputs = backbone.forward((pixels.float() - mean) / std, **given)
        return vector_of(outputs[-1], getattr(backbone, 'num_extra_tokens', 0))

    return encode


@contextmanager
def buffers_of_first(network: nn.Module) -> Iterator[None]:
    """Give all processes the first one's buffers for a while: those of BatchNorm differ, and checkpoints have these."""
    own = [buffer.clone() for buffer in network.buffers()] if get_world_size() > 1 else []
    for buffer in network.buffers():
        broadcast(buffer)
    try:
        yield
    finally:
        for buffer, before in zip(network.buffers(), own, strict=False):  # of one process nothing was kept
            buffer.copy_(before)
