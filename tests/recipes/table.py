"""What the configs of a method build, for the tables of the published recipes in the methods' READMEs."""

import numpy as np
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.model import convert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, MODELS, TRANSFORMS
from torch.nn.modules.batchnorm import _BatchNorm

from mmrs_ssl import get_config
from mmrs_ssl.cli.launch import set_precision
from tests.conftest import ROOT
from tests.engine.optim.test_schedulers import run


def rows_of(method):
    """The first cells of the table of settings in a method's README."""
    text = (ROOT / 'configs' / method / 'README.md').read_text()
    table = text.split('| setting | public program | ours | why where different |\n', 1)[1].split('\n\n', 1)[0]
    return [line.split('|')[1].strip() for line in table.splitlines()[1:]]


class Checks(dict):
    """What asserts each row of a method's table, by the row's first cell."""

    def of(self, row):
        def register(function):
            self[row] = function
            return function

        return register


def pipeline_of(name):
    return [TRANSFORMS.build(step) for step in get_config(name).train_dataloader.dataset.pipeline]


def model_of(name, **options):
    """A config's model, with a small head; options override."""
    cfg = get_config(name)
    cfg.merge_from_dict({f'model.{key}': value for key, value in options.items()})
    return MODELS.build(cfg.model)


def hook_of(name, path=None, kind='ScheduleHook'):
    (config,) = [h for h in get_config(name).custom_hooks if h.type.endswith(kind) and h.get('path') == path]
    return HOOKS.build(config)


def curve(name):
    """Learning rates of every iteration, of two groups."""
    cfg = get_config(name)
    return np.array(run(cfg.param_scheduler[:2], cfg.train_cfg.max_epochs))


def decays(name, model):
    """Weight decay of every parameter in the optimizer that a config builds."""
    cfg = get_config(name)
    set_precision(cfg, amp=False)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    return {names[id(group['params'][0])]: group['weight_decay'] for group in wrapper.optimizer.param_groups}


def drop_paths(module):
    return [part.drop_prob for part in module.modules() if isinstance(part, DropPath)]


def plain_batch_norms(model):
    """BatchNorms that see one process alone, after what mmengine does on several GPUs."""
    synced = convert_sync_batchnorm(model, 'torch')
    count = sum(isinstance(part, torch.nn.SyncBatchNorm) for part in synced.modules())
    return count, [
        key
        for key, part in synced.named_modules()
        if isinstance(part, _BatchNorm) and not isinstance(part, torch.nn.SyncBatchNorm)
    ]


def crop_of(step):
    return (step.scale, step.ratio, step.flip_prob, step.prob)


def momentum_rises(name):
    hook = hook_of(name, kind='TeacherMomentumHook')
    assert not hook.by_epoch
    steps = np.arange(0, 1001, 100)
    expected = 1 - (1 - 0.996) * (1 + np.cos(np.pi * steps / 1000)) / 2
    np.testing.assert_allclose([hook.value(step, 1000) for step in steps], expected)
