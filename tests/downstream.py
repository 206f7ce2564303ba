"""Downstream recipes made small enough for the CPU: their data, their options, and what their logs must say."""

import importlib.util
import re

import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS

from mmrs_ssl.synthetic.layouts import write_layout
from tests.conftest import ROOT

FOLDER = ROOT / 'configs' / 'downstream'
US3D = ('--image-suffix', '_RGB', '--height-suffix', '_AGL')
NO_OPENCD = 'needs open-cd: pip install peft transformers==4.49.0 git+https://github.com/likyoo/open-cd@v1.1.0'


def needs_library(name):
    """Skip the test where the library of a config is missing."""
    if name.startswith('change_detection') and importlib.util.find_spec('opencd') is None:
        pytest.skip(NO_OPENCD)


def prepare(layout, root, scenes, run_tool):
    """Generated data as the archive has it, brought into the config's layout; returns the data root."""
    write_layout(layout, root, scenes=scenes, size=128)
    out = root.parent / 'prepared'
    commands = dict(
        ucm=('classification.py', root / 'Images', '--out', root / 'meta', '--train-share', 0.5),
        eurosat=('classification.py', root, '--train-share', 0.5),
        bigearthnet=('bigearthnet.py', root, '--out', out),
        vaihingen=('segmentation.py', 'half', root),
        dota=('dota.py', root, '--out', out, '--size', 96, '--overlap', 32),
        us3d=('height.py', root / 'Track1-RGB', root / 'Track1-Truth', *US3D, '--out', out),
        second=('second.py', root, '--out', out),
    )
    if layout in commands:
        tool, *arguments = commands[layout]
        code, text = run_tool(f'prepare/{tool}', *arguments)
        assert code == 0, text
    return out if out.exists() else root


def small_options(name, layout, root, checkpoint):
    """Options of a config of this name: the data and weights to take, two iterations or one epoch, small images."""
    task = name.split('/')[0]
    options = [f'data_root={root}', f'custom_hooks.0.checkpoint={checkpoint}']
    options += ['train_dataloader.batch_size=2', 'default_hooks.logger.interval=1']
    for split in ('train', 'val', 'test'):
        options += [f'{split}_dataloader.num_workers=0', f'{split}_dataloader.persistent_workers=False']
    if task in ('classification', 'detection'):
        options += ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
        options += ['param_scheduler.0.end=1', 'param_scheduler.1.begin=0'] if '-ft-' in name else []
    else:
        options += ['train_cfg.max_iters=2', 'train_cfg.val_interval=2']
    if task in ('segmentation', 'height'):
        options += ['model.data_preprocessor.size=(128,128)', 'train_dataloader.dataset.pipeline.3.crop_size=(128,128)']
    if task == 'change_detection':
        options += ['train_dataloader.dataset.pipeline.2.crop_size=(64,64)']
    if layout == 'dota':
        options += ['model.test_cfg.score_thr=0.001']  # after two steps nothing scores more
    return options


def losses_of(log):
    """The total loss of every iteration that a log has; all finite."""
    losses = [float(value) for value in re.findall(r' loss: ([\d.naif]+)', log)]
    assert np.isfinite(losses).all()
    return losses


def pretrained_file(path, settings, seed=0, **statistics):
    """Write a checkpoint as pre-training with these settings of a backbone does; returns the backbone."""
    torch.manual_seed(seed)
    backbone = MODELS.build({**settings, 'type': f'mmpretrain.{settings["type"]}'})
    backbone.init_weights()
    preprocessor = dict(type='mmrs_ssl.BandPreprocessor', **statistics)
    model = dict(type='mmrs_ssl.CMID', data_preprocessor=preprocessor, backbone=settings)
    weights = {f'backbone.{key}': value for key, value in backbone.state_dict().items()}
    torch.save(dict(state_dict=weights, meta=dict(cfg=f'model = {model!r}', epoch=1, iter=1)), path)
    return backbone


def documented_lines(checkpoint):
    """The lines that README.md tells to add to any config, with this checkpoint."""
    section = (ROOT / 'README.md').read_text().split('## Use the backbone downstream')[1]
    return re.search(r'```python\n(.*?)```', section, re.DOTALL)[1].replace("'FILE'", repr(str(checkpoint)))
