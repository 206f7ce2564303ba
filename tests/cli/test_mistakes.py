"""Mistakes that people make in configs and on the command line: each ends in a paragraph that says what to mend.

They are planted in configs that ship, as ``--cfg-options`` would, and only the part they are in is built.
"""

import argparse
import copy
import functools
import gc
import re

import pytest
import torch
from mmengine.registry import DATASETS, HOOKS, MODELS, TRANSFORMS, init_default_scope

from mmrs_ssl import get_config
from mmrs_ssl.cli.config import check_schedule, override, read_config_file
from mmrs_ssl.cli.errors import explain
from mmrs_ssl.cli.option_action import OptionAction
from mmrs_ssl.cli.settings import check_settings
from tests.conftest import build_cmid, build_mssdf, cmid_config, dino_config, make_batch, make_modalities, mssdf_config
from tests.test_mmpretrain_configs import SMALL

CONFIGS = dict(
    cmid='cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px.py',
    dino='dino_mc/dino-mc_resnet18_1xb64-coslr-100e_folder-224px.py',
    mssdf='mssdf/mssdf_vit-mini_1xb16-coslr-28e_demo-96px.py',
    tiffs='cmid/cmid_resnet18_1xb64-coslr-100e_geotiff-224px.py',
    moco='mmpretrain/mocov2_resnet50_1xb64-coslr-200e_folder-224px.py',
    byol='mmpretrain/byol_resnet50_1xb64-coslr-200e_folder-224px.py',
    mae='mmpretrain/mae_vit-base-p16_1xb64-coslr-300e_folder-224px.py',
    simmim='mmpretrain/simmim_swin-base_1xb64-coslr-100e_folder-224px.py',
)
TINY = dict(cmid=cmid_config(), dino=dino_config(), mssdf=mssdf_config(), tiffs=cmid_config())
COUNT, SHARE, INSIDE = 'a whole number of at least 1', 'at least 0 and at most 1', 'above 0 and below 1'


@functools.cache
def shipped(name):
    """A config as it ships, its model small."""
    cfg = get_config(CONFIGS[name])
    if name in TINY:
        cfg.model = copy.deepcopy(TINY[name])
    else:
        for part, options in SMALL[{'moco': 'mocov2'}.get(name, name)].items():
            make_small(cfg.model, part, options)
    return cfg


def make_small(node, key, options):
    """Set an option, or those of a part; what makes up a network (``arch``) is replaced as a whole."""
    if isinstance(options, dict) and key != 'arch':
        for each, value in options.items():
            make_small(node[key], each, value)
    else:
        node[key] = options


def attempt(name, option):
    """Do with a config what the tools do before anything is trained, as far as the option's part is concerned."""
    cfg = copy.deepcopy(shipped(name))
    try:
        parser = argparse.ArgumentParser()
        parser.add_argument('--cfg-options', nargs='+', action=OptionAction)
        options = parser.parse_args(['--cfg-options', option]).cfg_options
        override(cfg, {numbered(cfg, key): value for key, value in options.items()})
        init_default_scope(cfg.default_scope)
        check_settings(cfg)
        check_schedule(cfg)
        if option.startswith('model'):
            MODELS.build(cfg.model)
        for hook in (*cfg.custom_hooks, *cfg.default_hooks.values()):
            HOOKS.build(hook)
        if not option.startswith('model'):
            for transform in cfg.train_dataloader.dataset.pipeline:
                TRANSFORMS.build(transform)
            DATASETS.build(cfg.train_dataloader.dataset)
    except Exception as error:
        return explain(error)
    return None


def numbered(cfg, path):
    """Name an element of a list by its type in place of its number."""
    node, parts = cfg, []
    for part in path.split('.'):
        if isinstance(node, list) and not part.isdigit():
            part = str([each.type.rsplit('.', 1)[-1] for each in node].index(part))
        parts.append(part)
        node = node[int(part)] if isinstance(node, list) else (node.get(part) if hasattr(node, 'get') else None)
    return '.'.join(parts)


PIPELINE = 'train_dataloader.dataset.pipeline'
OPTIMIZER = 'optim_wrapper.optimizer'
MISTAKES = [
    # the command line
    ('cmid', 'epochs', r'--cfg-options epochs: expected KEY=VALUE'),
    ('cmid', '=3', r'--cfg-options =3: expected KEY=VALUE'),
    ('cmid', 'custom_hooks=[dict(type="A",', r'the value cannot be read .*expected a number, a word, a list'),
    ('cmid', "custom_hooks=[dict(__import__('os'))]", r'the value cannot be read .*neither a literal nor dict'),
    ('cmid', 'statistics=[[1,2', r'--cfg-options statistics=.* cannot be read .*Imbalanced brackets'),
    ('cmid', 'epoch=3', r"--cfg-options epoch: the config has no key 'epoch'; did you mean epochs"),
    ('cmid', 'lr=high', r'--cfg-options lr=high: expected a number as 0\.\d+'),
    ('cmid', 'size=[64]', r'--cfg-options size=\[64\]: expected a number as 224'),
    # training
    ('cmid', f'{OPTIMIZER}.lr=high', rf"{OPTIMIZER}\.lr='high', expected a number of at least 0"),
    ('cmid', f'{OPTIMIZER}.lr=-0.1', rf'{OPTIMIZER}\.lr=-0\.1, expected a number of at least 0'),
    ('dino', f'{OPTIMIZER}.lr=nan', rf'{OPTIMIZER}\.lr=nan, expected a number of at least 0'),
    ('cmid', f'{OPTIMIZER}.type=AdmW', rf"{OPTIMIZER}\.type='AdmW', expected an optimizer .*AdamW"),
    ('moco', f'{OPTIMIZER}.type=BlockAdam', r"type='BlockAdam', expected an optimizer .*mmrs_ssl\.BlockAdan|BlockAdan"),
    ('moco', f'{OPTIMIZER}.momentum=1.5', rf'{OPTIMIZER}\.momentum=1\.5, expected .*below 1'),
    ('dino', f'{OPTIMIZER}.weight_decay=-1', rf'{OPTIMIZER}\.weight_decay=-1, expected a number of at least 0'),
    ('mssdf', f'{OPTIMIZER}.betas=[0.9,2]', rf'{OPTIMIZER}\.betas=\[0\.9, 2\], expected a list .*below 1'),
    ('cmid', 'optim_wrapper.clip_grad.max_norm=0', r'clip_grad\.max_norm=0, expected a number above 0'),
    ('cmid', 'optim_wrapper.clip_grad.norm=3', r'clip_grad=.*, expected dict\(max_norm=NUMBER\)'),
    ('cmid', 'optim_wrapper.clip_grad=3', r'clip_grad=3, expected dict\(max_norm=NUMBER\)'),
    ('cmid', 'optim_wrapper.accumulative_counts=0', rf'accumulative_counts=0, expected {COUNT}'),
    ('mssdf', 'optim_wrapper.paramwise_cfg.norm_decay_mult=-1', r'norm_decay_mult=-1, expected a number of at least 0'),
    ('cmid', 'optim_wrapper.paramwise_cfg.custom_keys.mask_token.decay_mult=no', r"decay_mult='no', expected a number"),
    ('cmid', 'train_cfg.max_epochs=0', rf'train_cfg\.max_epochs=0, expected {COUNT}'),
    ('moco', 'train_cfg.max_epochs=ten', rf"train_cfg\.max_epochs='ten', expected {COUNT}"),
    ('moco', 'train_cfg.max_epochs=1.5', rf'train_cfg\.max_epochs=1\.5, expected {COUNT}'),
    ('dino', 'train_cfg.max_iters=100', r'expected either max_epochs or max_iters'),
    ('cmid', 'train_cfg.max_epochs=None', rf'train_cfg\.max_epochs=None, expected {COUNT}'),
    ('cmid', 'train_cfg=10', r'train_cfg=10, expected a dict with its options'),
    ('cmid', 'train_cfg.val_interval=0', rf'val_interval=0, expected {COUNT}'),
    ('cmid', 'warmup=1.5', r'param_scheduler\.0\.share=1\.5, expected a number of at least 0 and below 1'),
    ('cmid', 'param_scheduler.WarmupLR.start_factor=2', r'start_factor=2, expected a number above 0 and at most 1'),
    ('cmid', 'param_scheduler.CosineAnnealingLR.eta_min=-1', r'eta_min=-1, expected a number of at least 0, or None'),
    ('cmid', 'param_scheduler.CosineAnnealingLR.T_max=0', rf'T_max=0, expected {COUNT}, or None'),
    ('cmid', 'param_scheduler.CosineAnnealingLR.begin=200', r'max_epochs=100 ends before param_scheduler\.1'),
    ('cmid', 'param_scheduler=3', r'param_scheduler=3, expected a list of dicts'),
    ('cmid', 'param_scheduler=[dict(share=0.1)]', r"param_scheduler\.0=.*, expected a type, too: dict\(type='NAME'"),
    ('cmid', 'auto_scale_lr.base_batch_size=0', rf'base_batch_size=0, expected {COUNT}'),
    ('cmid', 'randomness.seed=-1', r'randomness\.seed=-1, expected a whole number of at least 0, or None'),
    ('cmid', 'randomness.seed=first', r"randomness\.seed='first', expected a whole number"),
    ('cmid', 'auto_scale_lr=5', r'auto_scale_lr=5, expected a dict with its options'),
    ('cmid', 'compile=maybe', r"compile='maybe', expected a dict with its options, or True or False"),
    ('cmid', 'log_level=LOUD', r"log_level='LOUD', expected one of 'DEBUG', 'INFO'"),
    ('dino', 'sync_bn=foo', r"sync_bn='foo', expected one of None, 'torch', 'mmcv'"),
    ('cmid', 'env_cfg.mp_cfg.mp_start_method=foo', r"mp_start_method='foo', expected one of None, 'fork'"),
    ('cmid', 'optim_wrapper.dtype=float8', r"optim_wrapper\.dtype='float8', expected one of None, 'float16'"),
    ('cmid', 'model=None', r'model=None, expected a dict with its options, as there is a train_cfg'),
    ('cmid', 'train_dataloader=None', r'train_dataloader=None, expected a dict with its options'),
    ('moco', 'model.feat_dim=64', r'model\.feat_dim=64, expected model\.neck\.out_channels=8: both are the width'),
    ('byol', 'model.head.predictor.out_channels=5', r'predictor\.out_channels=5, expected model\.neck\.out_channels='),
    ('dino', 'model.center_momentum=1', r'center_momentum=1, expected a number of at least 0 and below 1'),
    # loading
    ('cmid', 'train_dataloader.num_workers=x', r"num_workers='x', expected a whole number of at least 0"),
    ('cmid', 'train_dataloader.num_workers=-1', r'num_workers=-1, expected a whole number of at least 0'),
    ('cmid', 'train_dataloader.num_workers=0', r'persistent_workers=True, expected False where .*num_workers=0: set'),
    ('cmid', 'train_dataloader.batch_size=0', rf'train_dataloader\.batch_size=0, expected {COUNT}'),
    ('cmid', 'batch=big', r'--cfg-options batch=big: expected a number as 64'),
    ('cmid', 'train_dataloader.prefetch_factor=0', rf'prefetch_factor=0, expected {COUNT}, or None'),
    ('cmid', 'train_dataloader.drop_last=yes', r"drop_last='yes', expected True or False"),
    ('cmid', 'train_dataloader.num_worker=3', r'num_worker is no option of a data loader; did you mean num_workers\?'),
    (
        'dino',
        'train_dataloader.sampler.type=InfiniteSampler',
        r'expected a sampler whose epochs end, as .*EpochSampler',
    ),
    ('cmid', 'train_dataloader.sampler.shuffle=on', r"sampler\.shuffle='on', expected True or False"),
    ('cmid', 'train_dataloader.dataset=images', r"train_dataloader\.dataset='images', expected a dict"),
    ('cmid', 'data_root=None', r'ImageFolder: data_root=None, expected a folder, a pattern or a file, or a list'),
    ('tiffs', 'data_root=3', r'SceneDataset: data_root=3, expected a folder, a pattern or a file: --cfg-options'),
    ('cmid', 'train_dataloader.dataset.max_unreadable=5', rf'ImageFolder: max_unreadable=5, expected .*{SHARE}'),
    ('cmid', 'train_dataloader.dataset.max_unreadable=-1', rf'ImageFolder: max_unreadable=-1, expected .*{SHARE}'),
    (
        'cmid',
        'train_dataloader.dataset.roots=archive',
        r"roots='archive', expected a list of names, e\.g\. \['archive'\]",
    ),
    ('cmid', 'train_dataloader.dataset.type=ImageFolders', r"unknown type 'ImageFolders' of a dataset .*ImageFolder"),
    ('tiffs', 'window=0', r'SceneDataset: window=0, expected a number above 0'),
    ('tiffs', 'train_dataloader.dataset.stride=-8', r'SceneDataset: stride=-8, expected a number above 0'),
    ('tiffs', 'train_dataloader.dataset.max_bad=nan', rf'SceneDataset: max_bad=nan, expected .*{SHARE}'),
    ('tiffs', 'train_dataloader.dataset.dates=0', rf'SceneDataset: dates=0, expected {COUNT}'),
    (
        'tiffs',
        'train_dataloader.dataset.max_value=0',
        r'SceneDataset: max_value=0, expected a number above 0, or a list',
    ),
    ('tiffs', 'train_dataloader.dataset.band_files=B04', r"band_files='B04', expected a list of names"),
    ('tiffs', f'{PIPELINE}.LoadRaster.bands=red', r"LoadRaster: bands='red', expected how many"),
    ('cmid', f'{PIPELINE}.LoadRaster.bands=0', r'LoadRaster: bands=0, expected how many'),
    ('cmid', f'{PIPELINE}.LoadRaster.size=0', rf'LoadRaster: size=0, expected {COUNT}, or None'),
    ('cmid', f'{PIPELINE}.LoadRaster.stretch=[0.9,0.1]', r'LoadRaster: stretch=.*, expected two quantiles in \[0, 1\]'),
    ('tiffs', f'{PIPELINE}.LoadRaster.nodata=empty', r"LoadRaster: nodata='empty', expected a number, or 'none'"),
    ('cmid', f'{PIPELINE}.LoadRaster.alpha=mask', r"alpha='mask' is not one of None, True, False"),
    ('cmid', f'{PIPELINE}.LoadRaster.resampling=best', r"resampling='best' is not one of nearest, bilinear"),
    ('mssdf', f'{PIPELINE}.LoadModalities.modalities=rgb', r"modalities='rgb', expected a dict for each by name"),
    # views
    (
        'cmid',
        f'{PIPELINE}.CMIDViews.size=0',
        rf'CMIDViews: size=0, expected {COUNT} \(in the config: {PIPELINE}\.1\.size',
    ),
    ('cmid', f'{PIPELINE}.CMIDViews.scale=[0,0]', r'CMIDViews: scale=\[0, 0\], expected \(smallest, largest\), each'),
    ('cmid', f'{PIPELINE}.CMIDViews.scale=[2,3]', r'CMIDViews: scale=\[2, 3\], expected .*above 0 and at most 1'),
    ('cmid', f'{PIPELINE}.CMIDViews.scale=0.3', r'CMIDViews: scale=0\.3, expected \(smallest, largest\)'),
    ('cmid', f'{PIPELINE}.CMIDViews.ratio=[1]', r'CMIDViews: ratio=\[1\], expected \(smallest, largest\)'),
    (
        'cmid',
        f'{PIPELINE}.CMIDViews.blur_sigma=[2,1]',
        r'CMIDViews: blur_sigma=\[2, 1\], expected \(smallest, largest\)',
    ),
    ('cmid', f'{PIPELINE}.CMIDViews.colors=maybe', r"CMIDViews: colors='maybe', expected True or False"),
    ('dino', f'{PIPELINE}.MultiSizeCrops.local_sizes=[]', r'MultiSizeCrops: local_sizes=\[\], expected a list'),
    ('dino', f'{PIPELINE}.MultiSizeCrops.global_size=big', rf"global_size='big', expected {COUNT}"),
    ('dino', f'{PIPELINE}.MultiSizeCrops.local_jitter=[1,1]', r'local_jitter=\[1, 1\], expected a list of 4 numbers'),
    ('moco', f'{PIPELINE}.ContrastViews.blur_prob=[2,0]', r'ContrastViews: blur_prob=\[2, 0\], expected a list of 2'),
    ('tiffs', f'{PIPELINE}.RandomFlip.prob=2', rf'RandomFlip: prob=2, expected .*{SHARE}'),
    ('mssdf', f'{PIPELINE}.RandomCropResize.flip_prob=-1', rf'RandomCropResize: flip_prob=-1, expected .*{SHARE}'),
    ('mssdf', f'{PIPELINE}.RandomCropResize.scale=[0.5,nan]', r'RandomCropResize: scale=\[0\.5, nan\], expected'),
    ('simmim', f'{PIPELINE}.SimMIMMaskGenerator.mask_ratio=1', rf'mask_ratio=1, expected a number {INSIDE}'),
    # hooks
    ('cmid', 'custom_hooks.TeacherMomentumHook.start=2.0', rf'TeacherMomentumHook: start=2\.0, expected .*{SHARE}'),
    ('mssdf', 'custom_hooks.TeacherMomentumHook.start_left=0', rf'start_left=0, expected a number {INSIDE}'),
    ('cmid', 'custom_hooks.ScheduleHook.length=0', rf'ScheduleHook: length=0, expected {COUNT}, or None'),
    ('cmid', 'custom_hooks.ScheduleHook.start=0', r'ScheduleHook: start=0, expected a number above 0 \(in the config'),
    ('cmid', 'custom_hooks.ScheduleHook.rise=1', r"an option of the schedule 'linear'='rise' is not one of none"),
    ('mssdf', 'custom_hooks.ScheduleHook.every=0', rf'ScheduleHook: every=0, expected {COUNT}'),
    ('mssdf', 'custom_hooks.ScheduleHook.evry=3', r"an option of the schedule 'step'='evry' is not one of every, rise"),
    ('mssdf', 'custom_hooks.ScheduleHook.end=1.5', r'ScheduleHook: end=1\.5, expected .*below 1'),
    (
        'cmid',
        'custom_hooks.PictureHook.interval=0',
        rf'PictureHook: interval=0, expected {COUNT} \(in the config: custom_hooks\.\d+\.interval',
    ),
    ('cmid', 'custom_hooks.PictureHook.samples=0', rf'PictureHook: samples=0, expected {COUNT}'),
    ('cmid', 'custom_hooks.CollapseMonitorHook.window=1', r'CollapseMonitorHook: window=1, expected .*at least 2'),
    ('dino', 'custom_hooks.CollapseMonitorHook.min_std=3', rf'CollapseMonitorHook: min_std=3, expected .*{SHARE}'),
    ('dino', 'custom_hooks.FreezeHook.epochs=-1', rf'FreezeHook: epochs=-1, expected {COUNT}'),
    ('dino', 'custom_hooks.ClipEachGradientHook.max_norm=0', r'ClipEachGradientHook: max_norm=0, expected'),
    (
        'dino',
        'custom_hooks.FreezeHook.type=FreezHook',
        r"unknown type 'FreezHook' of a hook .*did you mean .*FreezeHook",
    ),
    ('dino', 'custom_hooks=[FreezeHook]', r"custom_hooks\.0='FreezeHook', expected a dict with a type"),
    ('cmid', 'custom_hooks=none', r"custom_hooks='none', expected a list of dicts"),
    ('cmid', 'default_hooks.checkpoint.interval=0', rf'checkpoint\.interval=0, expected {COUNT}, or -1 for never'),
    ('cmid', 'default_hooks.checkpoint.max_keep_ckpts=0', rf'max_keep_ckpts=0, expected {COUNT}, or -1 for all'),
    (
        'cmid',
        'default_hooks.checkpoint.minutes=-1',
        r'SafeCheckpointHook: minutes=-1, expected a number above 0, or None',
    ),
    ('cmid', 'default_hooks.logger.interval=0', rf'default_hooks\.logger\.interval=0, expected {COUNT}'),
    # models
    ('cmid', 'model.loss_weights.loss_locl=0', r"a term of loss_weights='loss_locl' is not one of loss_spatial, "),
    ('cmid', 'model.loss_weights.loss_local=-1', r'loss_local=-1, expected a number of at least 0'),
    ('cmid', 'model.loss_weights=2', r'a term of loss_weights: 2, expected factors by name'),
    ('cmid', 'model.num_matches=0', rf'CMID: num_matches=0, expected {COUNT} \(in the config: model\.num_matches\)'),
    ('cmid', 'model.mask_ratio=1', rf'CMID: mask_ratio=1, expected a number {INSIDE}'),
    ('cmid', 'model.mask_block=0', rf'CMID: mask_block=0, expected {COUNT}'),
    ('cmid', 'model.student_temperature=nan', r'CMID: student_temperature=nan, expected a number above 0'),
    (
        'cmid',
        'model.teacher_momentum=2',
        rf'teacher_momentum=2, expected .*{SHARE} \(in the config: model\.teacher_mom',
    ),
    ('cmid', 'model.global_head.queue_length=0', rf'QueueContrastHead: queue_length=0, expected {COUNT}'),
    ('cmid', 'model.local_head.num_prototypes=0', r'PrototypeHead: num_prototypes=0, expected .*at least 2'),
    (
        'cmid',
        'model.local_head.num_prototypes=1',
        r'num_prototypes=1, .* \(in the config: model\.local_head\.num_proto',
    ),
    ('cmid', 'model.neck.in_channels=7', r'model\.neck\.in_channels=7, but the channels of the last map .* give that'),
    ('cmid', 'model.data_preprocessor.std=[1,nan,1]', r'BandPreprocessor: std=\[1, nan, 1\], expected a list of 3'),
    ('cmid', 'model.data_preprocessor.std=[1,1]', r'BandPreprocessor: std=\[1, 1\], expected a list of 3 numbers'),
    ('cmid', 'model.data_preprocessor.mean=120', r'BandPreprocessor: mean=120, expected a list of numbers'),
    ('cmid', 'model.reconstruction_head.spectral_weight=-1', r'spectral_weight=-1, expected a number of at least 0'),
    ('cmid', 'model.backbone.type=ResNt', r"unknown type 'ResNt' .*in the config: model\.backbone\.type.*ResNet"),
    ('dino', 'model.head.hidden_channels=x', rf"PrototypeHead: hidden_channels='x', expected {COUNT}"),
    ('dino', 'model.center_momentum=1.5', r'DINOMC: center_momentum=1\.5, expected .*at least 0 and below 1'),
    ('dino', 'model.num_global=0', rf'DINOMC: num_global=0, expected {COUNT}'),
    ('dino', 'model.num_images=0', rf'num_images=0, expected {COUNT}'),
    ('dino', 'model.init_std=0', r'DINOMC: init_std=0, expected a number above 0, or None'),
    (
        'mssdf',
        'model.masking.ratio=1.5',
        rf'ModalityMasking: ratio=1\.5, expected .*{INSIDE} \(in the config: model\.mask',
    ),
    ('mssdf', 'model.masking.substitution=1', r'ModalityMasking: substitution=1, expected .*below 1'),
    ('mssdf', 'model.terms.alignment.temperature=0', r'AlignmentTerm: temperature=0, expected a number above 0'),
    ('mssdf', 'model.terms.alignment.weight=-1', r'AlignmentTerm: weight=-1, expected a number of at least 0'),
    ('mssdf', 'model.terms.alignmnt.weight=1', r"a term='alignmnt' is not one of reconstruction, alignment"),
    ('mssdf', 'model.terms=1', r'MSSDF: terms=1, expected a dict for each by name'),
    ('mssdf', 'model.fusion.heads=5', r'heads=5 do not divide channels=24'),
    ('mssdf', 'model.decoder.layers=0', rf'ModalityDecoder: layers=0, expected {COUNT}'),
    ('mssdf', 'model.compared_places=0', r'MSSDF: compared_places=0, expected a whole number of at least 2'),
    ('moco', 'model.queue_len=0', rf'model\.queue_len=0, expected {COUNT}'),
    ('moco', 'model.head.temperature=0', r'model\.head\.temperature=0, expected a number above 0'),
    ('byol', 'model.base_momentum=2', rf'model\.base_momentum=2, expected .*{SHARE}'),
    ('mae', 'model.backbone.mask_ratio=1.5', rf'model\.backbone\.mask_ratio=1\.5, expected a number {INSIDE}'),
    ('mae', 'model.neck.img_size=100', r'images of 100 pixels are no whole number of patches of 16'),
]


@pytest.mark.parametrize(
    ('name', 'option', 'words'), MISTAKES, ids=[f'{name}: {option}' for name, option, _ in MISTAKES]
)
def test_says_what_is_wrong(name, option, words):
    said = attempt(name, option)
    assert said is not None, 'it was taken'
    assert re.search(words, said), said
    assert '\n' not in said
    assert len(said) > 30


@pytest.mark.parametrize('name', CONFIGS)
def test_nothing_is_wrong_with_what_ships(name):
    assert attempt(name, 'model.init_cfg=None') is None


@pytest.mark.parametrize(
    'option',
    [
        'default_hooks.checkpoint.interval=-1',
        'default_hooks.checkpoint.max_keep_ckpts=-1',
        'default_hooks.checkpoint=None',
        'default_hooks.logger.interval=1e2',
        'train_cfg.max_epochs=150.0',
        'optim_wrapper.clip_grad=None',
        'optim_wrapper.clip_grad=dict(type="value", clip_value=1)',
        'optim_wrapper.optimizer.lr=0',
        'param_scheduler=[]',
        'custom_hooks=[]',
        "custom_hooks=[dict(type='mmrs_ssl.PictureHook', interval=5, bands=(0, 1, 2))]",
        'randomness.seed=None',
        'randomness.deterministic=True',
        'train_dataloader.prefetch_factor=4',
        f'{PIPELINE}.CMIDViews.scale=[1,1]',
        'model.loss_weights.loss_local=0',
    ],
)
def test_what_can_be_meant_is_taken(option):
    cfg = copy.deepcopy(shipped('cmid'))
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction)
    options = parser.parse_args(['--cfg-options', option]).cfg_options
    override(cfg, {numbered(cfg, key): value for key, value in options.items()})
    init_default_scope(cfg.default_scope)
    check_settings(cfg)
    check_schedule(cfg)


def test_loading_in_this_process_is_taken():
    cfg = copy.deepcopy(shipped('cmid'))
    override(cfg, {'train_dataloader.num_workers': 0, 'train_dataloader.persistent_workers': False})
    check_settings(cfg)


def test_views_of_two_sizes():
    model = build_cmid()
    data = model.data_preprocessor(make_batch())
    data['inputs'][1] = data['inputs'][1][..., :32]
    with pytest.raises(ValueError, match=r'two views of one size, the pipeline makes 2 \(64 x 64, 64 x 32 pixels\)'):
        model.loss(**data)
    with pytest.raises(ValueError, match=r'the pipeline makes 1 \(64 x 64 pixels\): give .*CMIDViews'):
        model.loss(data['inputs'][:1], data['data_samples'])


def test_a_crop_that_is_no_whole_number_of_patches():
    modalities = dict(rgb=3, dsm=1)
    model = build_mssdf(modalities)
    data = model.data_preprocessor(make_modalities(modalities, size=60))
    with pytest.raises(ValueError, match=r'images of 60 x 60 pixels are no whole number of patches of 16: crop to 64'):
        model.loss(**data)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (
            dict(neck=dict(in_channels=7)),
            r'model\.neck\.mlp\.0 takes features of width 7 and was given 64: .*in_channels',
        ),
        (
            dict(data_preprocessor=dict(mean=[1.0] * 4, std=[1.0] * 4)),
            r'conv1 takes .* 3 and was given 4.*bands of images',
        ),
    ],
)
def test_parts_that_do_not_fit_each_other(change, words):
    cfg = copy.deepcopy(shipped('moco'))
    cfg.merge_from_dict(dict(model=change))
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).train()
    bands = len(cfg.model.data_preprocessor.mean)
    data = model.data_preprocessor(dict(inputs=[torch.zeros(2, bands, 64, 64)] * 2, data_samples=[]))
    with pytest.raises(RuntimeError) as caught:
        model(**data, mode='loss')
    assert re.search(words, explain(caught.value))


@pytest.mark.filterwarnings('ignore::ResourceWarning')  # mmengine leaves a temporary file open
@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('model = dict(\n', r'own\.py, line 1 .*SyntaxError: .*Mend this file'),
        ('a = 1\nb = dict(c=3]\n', r'own\.py, line 2 \(b = dict\(c=3\]\): SyntaxError'),
        ('a = 1\n\nb = c + 1\n', r"own\.py, line 3: NameError: name 'c' is not defined"),
        ("_base_ = 'nowhere.py'\n", r'nowhere\.py.*Mend this file'),
        ("_base_ = ['base.py', 'base.py']\n", r'own\.py: KeyError: Duplicate key is not allowed among bases'),
        ("_base_ = 'broken.py'\n", r'broken\.py, line 1 .*SyntaxError'),
    ],
)
def test_a_file_that_is_no_config(tmp_path, text, words):
    (tmp_path / 'own.py').write_text(text)
    (tmp_path / 'base.py').write_text('a = 1\n')
    (tmp_path / 'broken.py').write_text('a = = 1\n')
    with pytest.raises(ValueError, match=words):
        read_config_file(str(tmp_path / 'own.py'))
    gc.collect()
