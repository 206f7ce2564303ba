"""Compare a resumed training with an uninterrupted one, with the loader and precision that ship."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmrs_ssl.benchmarks.gpu_parity import relative
from mmrs_ssl.benchmarks.gpu_setup import Workshop, fit_machine, method_config
from mmrs_ssl.benchmarks.gpu_table import Differs
from mmrs_ssl.models.quiet import quiet

TRAININGS = (('CMID MoCo', 'ResNet'), ('DINO-MC', 'ViT'), ('MSSDF', 'ViT'))
EPOCHS, SCENES = 2, 8
# Where a GPU adds in an order of its own, two equal runs differ too: by so many times may the resumed run differ more.
NOISE = 10


class StopHook(Hook):
    """End the training after its first epoch; its schedules still expect the rest."""

    priority = 'LOWEST'

    def after_train_epoch(self, runner: Any) -> None:
        """Ask the loop to stop."""
        runner.train_loop.stop_training = True


def resume(shop: Workshop, method: str, family: str) -> dict[str, Any]:
    """Measure the relative difference of all weights and buffers between a resumed and an uninterrupted run.

    Networks are small on a GPU too: what counts is what the runner, its workers and the checkpoint keep.

    Raises:
        Differs: if they are not equal, and differ by more than two uninterrupted runs do.
    """
    cfg = short_config(shop, method, family)
    whole = train(shop, cfg, 'whole')
    half = train(shop, cfg, 'parts', stop=True)
    resumed = train(shop, cfg, 'parts', resume=True)
    difference = relative(resumed, whole)
    figures = dict(resumed=difference, moved=relative(whole, half))
    noise = 0.0
    if difference:
        noise = figures['repeated'] = relative(train(shop, cfg, 'again'), whole)
    if not figures['moved']:
        raise Differs('the second epoch changes nothing', figures)
    if not difference <= NOISE * noise:
        raise Differs(f'resumed and uninterrupted differ by {difference:.3g}, two equal runs by {noise:.3g}', figures)
    return figures


def short_config(shop: Workshop, method: str, family: str) -> Config:
    """Make a config of two epochs of a small model; all else is as the published config has it."""
    cfg = method_config(method, family, small=True)
    fit_machine(cfg)
    cfg.train_dataloader.dataset = shop.dataset(cfg, SCENES)
    cfg.train_dataloader.batch_size = 2
    cfg.train_dataloader.dataset.indices = SCENES
    cfg.train_cfg.max_epochs = EPOCHS
    for schedule in cfg.param_scheduler:  # one epoch of warm-up
        if 'share' in schedule:
            schedule.share = 1 / EPOCHS
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1)
    return cfg


def train(shop: Workshop, cfg: Config, name: str, stop: bool = False, resume: bool = False) -> Tensor:
    """Train in the work dir of this name; return all that the checkpoint would hold of the model, as one vector."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = str(shop.folder / f'{cfg.model.type}_{name}')
    cfg.experiment_name = f'{cfg.model.type}_{name}_{resume}'  # mmengine keeps one logger and message hub a name
    cfg.resume = resume
    with quiet():
        runner = Runner.from_cfg(cfg)
        if stop:
            runner.register_hook(StopHook())
        runner.train()
    if stop != (runner.epoch < EPOCHS):
        raise Differs(f'the training ended after {runner.epoch} of {EPOCHS} epochs', {})
    state = runner.model.state_dict().values()
    return torch.cat([value.detach().cpu().double().flatten() for value in state])


def checks(small: bool) -> Iterator[tuple[str, Callable[[Workshop], dict[str, Any]]]]:
    """List the rows: one training of each method; for a CPU one."""
    for method, family in TRAININGS[:1] if small else TRAININGS:
        yield f'{method}, {family}', partial(resume, method=method, family=family)
