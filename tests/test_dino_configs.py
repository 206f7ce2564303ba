"""The configs of DINO-MC and DINO-TP: what their names say, their schedules, and (slow) that they train."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS, init_default_scope
from mmengine.runner import Runner
from mmpretrain.models import ResNet, SwinTransformer, VisionTransformer

from mmrs_ssl import get_config
from mmrs_ssl.cli.config import check_schedule, count_images
from mmrs_ssl.cli.launch import set_precision
from mmrs_ssl.synthetic.layouts import write_layout
from tests.conftest import ROOT, TestProbe, dino_config, log_of, train
from tests.engine.test_hooks import option

NAMES = sorted(path.stem for path in ROOT.glob('configs/dino_mc/*.py'))
SECO = [name for name in NAMES if 'seco' in name]
CROPS = [184, 164, 144, 124, 104, 84]


def pipeline_step(cfg, kind):
    return next(step for step in cfg.train_dataloader.dataset.pipeline if step.type.endswith(kind))


def test_configs_are_found():
    for model in ('vit-small-p8', 'resnet50', 'wide-resnet50', 'swin-tiny'):
        assert any(f'dino-mc_{model}_' in name for name in SECO), model
    for model in ('vit-small-p8', 'resnet50'):
        assert any(f'dino-tp_{model}_' in name for name in SECO), model
    for kind in ('folder', 'geotiff', 'demo'):
        assert any(kind in name for name in NAMES), kind


@pytest.mark.parametrize('name', NAMES)
def test_config_is_consistent(name):
    cfg = get_config(f'dino_mc/{name}')
    lines = (ROOT / 'configs' / 'dino_mc' / f'{name}.py').read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 70
    assert cfg.data_root == cfg.train_dataloader.dataset.data_root
    devices, batch, epochs, size = map(int, re.search(r'_(\d+)xb(\d+)-.*-(\d+)e_.*-(\d+)px', name).groups())
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.auto_scale_lr.get('enable', False) or devices * batch == cfg.auto_scale_lr.base_batch_size == 256
    temporal = name.startswith('dino-tp')
    crops = pipeline_step(cfg, 'TemporalCrops' if temporal else 'MultiSizeCrops')
    assert crops.get('global_size', 224) == size
    assert cfg.model.get('num_global', 2) == (3 if temporal else 2)
    assert cfg.train_dataloader.dataset.get('dates', 1) == (3 if temporal else 1)
    assert ('amp' in name) == (cfg.optim_wrapper.type == 'AmpOptimWrapper')
    if 'amp' in name:  # float16 diverges with patches of 8 pixels
        assert cfg.optim_wrapper.dtype == 'bfloat16'
    own_data = (cfg.model.head.get('batch_norm', False), cfg.model.get('balanced', False))
    assert own_data == (2 * (name not in SECO,))
    if name in SECO:  # as published
        assert (cfg.model.head.num_prototypes, cfg.model.teacher_temperature) == (65536, 0.04)
        assert cfg.optim_wrapper.optimizer.lr == 5e-4
        assert 'num_images' not in cfg.model
    check_schedule(cfg)
    init_default_scope('mmpretrain')
    for hook in cfg.custom_hooks:
        HOOKS.build(hook)
    for hook in ('StepSeedHook', 'ClipEachGradientHook', 'FreezeHook', 'TeacherUpdateHook', 'FiniteLossHook'):
        assert sum(each.type == f'mmrs_ssl.{hook}' for each in cfg.custom_hooks) == 1, hook


@pytest.mark.parametrize(
    ('name', 'kind', 'width', 'million'),
    [  # millions of parameters as torchvision and DINO give them, without a classifier
        ('vit-small-p8', VisionTransformer, 384, 21.67),
        ('resnet50', ResNet, 2048, 23.51),
        ('wide-resnet50', ResNet, 2048, 66.83),
        ('swin-tiny', SwinTransformer, 768, 27.52),
    ],
)
def test_backbones(name, kind, width, million):
    config = get_config(f'dino_mc/dino-mc_{name}_4xb64-amp-coslr-300e_seco-224px').model
    config.head.num_prototypes = 64  # the rest as it is
    init_default_scope('mmpretrain')
    model = MODELS.build(config)
    assert isinstance(model.backbone, kind)
    assert sum(p.numel() for p in model.backbone.parameters()) / 1e6 == pytest.approx(million, abs=0.02)
    assert model.packed == (kind is VisionTransformer)
    model.eval()
    with torch.no_grad():  # the smallest published crop, which is smaller than a window of Swin
        assert model.encode(model.backbone, [torch.randn(2, 3, 84, 84)]).shape == (2, width)
    linear = [module for module in model.head.mlp if isinstance(module, torch.nn.Linear)]
    assert [layer.out_features for layer in linear] == [2048, 2048, 256]
    assert linear[0].in_features == width
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in model.head.mlp)
    assert not model.head.last_layer.parametrizations.weight.original0.requires_grad
    if kind is VisionTransformer:
        assert model.backbone.patch_embed(torch.randn(1, 3, 84, 84))[1] == (10, 10)
        drops = [layer.attn.out_drop.drop_prob for layer in model.backbone.layers]
        np.testing.assert_allclose(drops, np.linspace(0, 0.1, 12))


def test_schedules_are_the_golden_ones(make_config, image_folder, tmp_path, dino_golden):
    """Ten epochs of seven iterations, in a real run of the shipped schedule with a warm-up of three epochs."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for path in sorted(image_folder.glob('*/*.jpg'))[:7]:
        shutil.copy(path, folder)
    cfg = make_config(model=dino_config(), data_root=folder)
    base = Config.fromfile(ROOT / 'configs' / '_base_' / 'schedules' / 'dino_adamw_300e.py')
    assert base.optim_wrapper.optimizer.lr * 64 / 256 == dino_golden['schedule/lr'].max()
    cfg.param_scheduler = base.param_scheduler
    cfg.param_scheduler[0].share = cfg.param_scheduler[1].share = 0.3
    cfg.train_cfg.max_epochs = 10
    cfg.train_dataloader.batch_size = 1
    option(cfg, 'TeacherMomentumHook', start_left=0.9)  # as published, though 70 steps are few
    cfg.optim_wrapper.optimizer.lr *= 64 / 256
    cfg.default_hooks.logger.interval = 100
    cfg.default_hooks.checkpoint.interval = 100
    found = dict(lr=[], weight_decay=[], teacher_momentum=[], undecayed=[])

    def look(runner, batch):
        names = {id(parameter): name for name, parameter in runner.model.named_parameters()}
        groups = {names[id(group['params'][0])]: group for group in runner.optim_wrapper.optimizer.param_groups}
        weight = groups['head.mlp.0.weight']
        found['lr'].append(weight['lr'])
        found['weight_decay'].append(weight['weight_decay'])
        found['teacher_momentum'].append(runner.model.teacher.momentum)
        found['undecayed'] += [groups[n]['weight_decay'] for n in ('head.mlp.0.bias', 'backbone.bn1.weight')]

    train(cfg, before_train_iter=look)
    for name in ('lr', 'weight_decay', 'teacher_momentum'):
        np.testing.assert_allclose(found[name], dino_golden[f'schedule/{name}'], rtol=1e-5, atol=1e-12, err_msg=name)
    assert set(found['undecayed']) == {0}


def test_images_are_counted_for_the_head(image_folder):
    cfg = get_config('dino_mc/dino-mc_resnet18_1xb64-coslr-100e_folder-224px')
    cfg.train_dataloader.dataset.data_root = str(image_folder)
    init_default_scope('mmpretrain')
    count_images(cfg)
    assert cfg.model.num_images == 16
    assert MODELS.build(cfg.model).head.num_prototypes == 256
    cfg.model.num_images = 3000  # the user's word counts
    count_images(cfg)
    assert cfg.model.num_images == 3000
    given = get_config(f'dino_mc/{SECO[0]}')  # its data are not looked for where everything is given
    count_images(given)
    misspelt = Config(dict(model=dict(type='mmrs_ssl.DINO')))
    count_images(misspelt)  # the registry has better words for it
    assert 'num_images' not in {**given.model, **misspelt.model}
    other = get_config('cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px')
    count_images(other)
    assert 'num_images' not in other.model


def on_generated_data(cfg, name, folder):
    """The config's data set, of four places in SeCo's layout, or a time series of 4 bands, or a folder."""
    layout = 'seco' if 'seco' in name else 'folder'
    if 'geotiff' in name:
        layout = 'time_series'
        cfg.train_dataloader.dataset.files = '{scene}/{date}'
    write_layout(layout, folder, scenes=4, size=264, bands=4)
    cfg.train_dataloader.dataset.data_root = str(folder)
    if 'geotiff' in name:
        cfg.train_dataloader.dataset.max_value = 10_000


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_config_trains_two_iterations(name, tmp_path, monkeypatch):
    cfg = get_config(f'dino_mc/{name}')
    on_generated_data(cfg, name, tmp_path / 'data')
    cfg.work_dir = str(tmp_path / 'work')
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
    cfg.custom_hooks.append(dict(type='TestProbe'))
    cfg.default_hooks.logger.interval = cfg.default_hooks.checkpoint.interval = 1
    set_precision(cfg, amp=False)
    seen = []

    def look(runner):
        seen.append(runner.message_hub.get_scalar('train/loss').current())

    def stop(runner):
        runner.train_loop.stop_training = True

    monkeypatch.setattr(TestProbe, 'calls', dict(after_train_iter=look, after_train_epoch=stop))
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert len(seen) == 2
    assert np.isfinite(seen).all()
    assert int(runner.model.teacher.steps) == 2
    checkpoint = torch.load(Path(cfg.work_dir) / 'epoch_1.pth', weights_only=True)['state_dict']
    assert {key for key in checkpoint if key.startswith('backbone.')} == {
        f'backbone.{key}' for key in runner.model.backbone.state_dict()
    }
    assert 'Traceback' not in log_of(cfg.work_dir)
