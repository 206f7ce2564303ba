"""Every shipped config builds, its pipeline runs, and (slow) it trains two iterations on generated images."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, HOOKS, MODELS, TRANSFORMS, init_default_scope
from mmengine.runner import Runner

from mmrs_ssl import get_config
from mmrs_ssl.cli.config import check_schedule
from mmrs_ssl.cli.launch import set_precision
from mmrs_ssl.engine.hooks import ScheduleHook
from mmrs_ssl.shipped_configs import config_root
from mmrs_ssl.synthetic.canvas import SCENE_CLASSES
from mmrs_ssl.synthetic.layouts import write_layout
from mmrs_ssl.synthetic.scene import make_scene
from mmrs_ssl.synthetic.writing import write_geotiff
from tests.conftest import ROOT, TestProbe, log_of

PRETRAINING = sorted(path.relative_to(ROOT / 'configs').as_posix() for path in ROOT.glob('configs/cmid/*.py'))
# channels of the last map
WIDTHS = {
    'resnet18': 512,
    'resnet50': 2048,
    'swin-base': 1024,
    'swin-tiny': 768,
    'vit-base': 768,
    'vit-small': 384,
}


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """Four generated scenes of 256 pixels."""
    folder = tmp_path_factory.mktemp('scenes')
    for i in range(4):
        image = make_scene(SCENE_CLASSES[i], seed=i, size=256).rgb()
        assert cv2.imwrite(str(folder / f'{i}.png'), image[..., ::-1])
    return folder


@pytest.fixture(scope='module')
def rasters(tmp_path_factory):
    """Four generated scenes: orthophotos named as Potsdam's, and GeoTIFFs of four bands in 8 bits."""
    root = tmp_path_factory.mktemp('rasters')
    for i in range(4):
        scene = make_scene(SCENE_CLASSES[i], seed=i, size=512)
        write_geotiff(root / 'potsdam' / f'top_potsdam_2_{i}_RGB.tif', scene.rgb(), 0.05)
        bands = scene.multispectral(4, np.uint8)[:256, :256]
        write_geotiff(root / 'geotiff' / f'{i}.tif', bands, 0.5)
    return root


def on_generated_data(cfg, scenes, rasters):
    """The data set of a config, reading generated data."""
    root = scenes
    if cfg.train_dataloader.dataset.type == 'mmrs_ssl.SceneDataset':
        root = rasters / ('geotiff' if 'files' not in cfg.train_dataloader.dataset else 'potsdam')
    return {**cfg.train_dataloader.dataset, 'data_root': str(root)}


def test_configs_are_found():
    assert len(PRETRAINING) >= 7
    for family in (*WIDTHS, 'millionaid', 'potsdam', 'demo', 'folder', 'geotiff'):
        assert any(family in name for name in PRETRAINING), family


@pytest.mark.parametrize('name', PRETRAINING)
def test_config_is_consistent(name):
    cfg = get_config(name)
    lines = (ROOT / 'configs' / name).read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 70
    dataset = cfg.train_dataloader.dataset
    assert cfg.data_root == dataset.data_root  # one variable reaches everything
    # the name says what the config does
    devices, batch, epochs, size = map(int, re.search(r'_(\d+)xb(\d+)-.*-(\d+)e_.*-(\d+)px', name).groups())
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.train_dataloader.batch_size == batch
    init_default_scope('mmpretrain')
    views = TRANSFORMS.build(next(step for step in dataset.pipeline if step.type == 'mmrs_ssl.CMIDViews')).views
    assert [view.transforms[0].size for view in views] == [size, size]
    assert len(views[0].transforms) == 1  # weak
    color = ('SpectralJitter', 'BandDropout') if 'geotiff' in name else ('ColorJitter', 'RandomGrayscale')
    assert [type(step).__name__ for step in views[1].transforms[1:]] == [
        color[0],
        'RandomGaussianBlur',
        'RandomNoise',
        'RandomSolarize',
        color[1],
    ]
    assert size % cfg.model.get('mask_block', 32) == 0
    assert ('amp' in name) == (cfg.optim_wrapper.type == 'AmpOptimWrapper')
    assert cfg.optim_wrapper.optimizer.lr == (8e-3 if 'demo' in name or 'rsscn7' in name else 4e-3)
    assert cfg.auto_scale_lr.base_batch_size == 256
    assert cfg.auto_scale_lr.get('enable', False) or devices * batch == 256
    check_schedule(cfg)
    hooks = [hook.type.split('.')[1] for hook in cfg.custom_hooks]
    for hook in ('StepSeedHook', 'TeacherUpdateHook', 'FiniteLossHook', 'CollapseMonitorHook', 'PictureHook'):
        assert hooks.count(hook) == 1, hook
    built = [HOOKS.build(hook) for hook in cfg.custom_hooks]
    paths = [hook.path for hook in built if isinstance(hook, ScheduleHook)]
    assert sorted(paths) == ['teacher.momentum', 'teacher_temperature']


@pytest.mark.parametrize('name', PRETRAINING)
def test_pipeline_makes_two_views(name, scenes, rasters):
    cfg = get_config(name)
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(on_generated_data(cfg, scenes, rasters))
    assert len(dataset) == 4
    sample = dataset[2]
    size = int(name.rsplit('-', 1)[1].removesuffix('px.py'))
    as_it_is = any(each in name for each in ('demo', 'geotiff', 'rsscn7'))
    source = 256 if as_it_is else 224  # images of another size are brought to 224 first
    for view, (top, left, height, width) in zip(sample['inputs'], sample['data_samples'].boxes, strict=True):
        assert view.shape == (len(cfg.model.data_preprocessor.mean), size, size)
        assert view.dtype == torch.uint8
        assert top + height <= source
        assert left + width <= source
        assert 0.28 < height * width / source**2 <= 1
    assert not torch.equal(*sample['inputs'])


def test_byol_model_builds():
    init_default_scope('mmpretrain')
    built = MODELS.build(get_config('cmid_resnet50-byol_4xb64-amp-coslr-200e_millionaid-224px').model)
    assert built.global_head.predictor.fc0.out_features == 512
    assert built.neck.bn0.num_features == 2048


@pytest.mark.parametrize('model', list(WIDTHS))
def test_model_builds(model):
    """Of every architecture; configs that share one share the base file."""
    names = [name for name in PRETRAINING if f'cmid_{model}_' in name]
    configs = [get_config(name).model for name in names]
    assert all(len(cfg.data_preprocessor.mean) == len(cfg.data_preprocessor.std) for cfg in configs)
    # the demo shrinks its heads and opens its residual branches; everything else is the same model
    backbones = [{**cfg.backbone, 'zero_init_residual': None} for cfg in configs]
    assert all(backbone == backbones[0] for backbone in backbones)
    init_default_scope('mmpretrain')
    (name, *_) = [n for n in names if 'millionaid' in n] or [n for n in names if 'folder' in n]
    built = MODELS.build(get_config(name).model)
    assert built.reconstruction_head.decoder.in_channels == WIDTHS[model]
    assert built.local_head.num_prototypes == 2048
    assert built.global_head.temperature == 0.2
    assert (built.mask_ratio, built.mask_block, built.num_matches) == (0.6, 32, 20)
    assert (built.student_temperature, built.teacher_temperature, built.teacher.momentum) == (0.1, 0.04, 0.996)
    assert len(built.global_head.queue) == (4096 if 'folder' in name else 65536)
    norms = [m for m in built.local_head.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert bool(norms) == ('resnet' in model)
    mean, std = built.data_preprocessor.mean.flatten() / 255, built.data_preprocessor.std.flatten() / 255
    np.testing.assert_allclose(mean, [0.33797, 0.3605, 0.3348], atol=1e-3)
    np.testing.assert_allclose(std, [0.1359, 0.1352, 0.1407], atol=1e-3)


def test_get_config_by_path_and_by_name():
    by_path = get_config('cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px')
    by_file = get_config('cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px.py')
    by_name = get_config('cmid_resnet18_1xb64-coslr-100e_folder-224px')
    direct = Config.fromfile(ROOT / 'configs/cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px.py')
    assert by_path._cfg_dict == by_file._cfg_dict == by_name._cfg_dict == direct._cfg_dict
    assert by_path.model.backbone == dict(type='ResNet', depth=18)


def test_unknown_config_lists_near_names():
    with pytest.raises(FileNotFoundError, match=r'near names: .*cmid_resnet18_1xb64-coslr-100e_folder-224px'):
        get_config('cmid_resnet18_folder')
    with pytest.raises(FileNotFoundError, match=r"no config named 'default_runtime'"):
        get_config('default_runtime')  # a base is no config


def test_no_configs_at_all(monkeypatch, tmp_path):
    assert config_root() == ROOT / 'configs'
    monkeypatch.setattr('mmrs_ssl.shipped_configs._PACKAGE', tmp_path / 'mmrs_ssl')
    with pytest.raises(FileNotFoundError, match='reinstall it'):
        config_root()


@pytest.mark.slow
@pytest.mark.parametrize('name', PRETRAINING)
def test_config_trains_two_iterations(name, scenes, rasters, tmp_path, monkeypatch):
    cfg = get_config(name)
    cfg.work_dir = str(tmp_path)
    cfg.train_dataloader.dataset = on_generated_data(cfg, scenes, rasters)
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
    cfg.custom_hooks.append(dict(type='TestProbe'))
    cfg.default_hooks.logger.interval = 1
    set_precision(cfg, amp=False)
    seen = []

    def stop(runner):
        runner.train_loop.stop_training = True

    def look(runner):
        seen.append({name: runner.message_hub.get_scalar(f'train/{name}').current() for name in ('loss', 'loss_local')})

    monkeypatch.setattr(TestProbe, 'calls', dict(after_train_iter=look, after_train_epoch=stop))
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert len(seen) == 2
    assert all(np.isfinite(value) for step in seen for value in step.values())
    assert int(runner.model.teacher.steps) == 2
    if 'byol' not in name:  # BYOL has no queue
        assert int(runner.model.global_head.queue_position) == 8
    assert len(list(Path(runner.log_dir).glob('pictures/*.png'))) == 2
    assert 'Traceback' not in log_of(tmp_path)


BASES = sorted(path.stem for path in ROOT.glob('configs/_base_/datasets/*.py') if path.stem != 'loader')


@pytest.mark.parametrize('base', BASES)
def test_dataset_base_descends_from_the_loader(base):
    """It changes what is read and how, not the batches; no data set is another method's views with changes."""
    folder = ROOT / 'configs' / '_base_' / 'datasets'
    (parent,) = re.findall(r"^_base_ = '(\w+)\.py'$", (folder / f'{base}.py').read_text(), re.M)
    own = base.replace('_milder', '')  # the same views with other colors
    assert parent in ('loader', 'images', 'scenes', 'seco_scenes', 'modalities') or parent == own != base
    loader, cfg = (Config.fromfile(folder / f'{name}.py') for name in ('loader', base))
    assert {**cfg.train_dataloader, 'dataset': None} == {**loader.train_dataloader, 'dataset': None}
    assert loader.short_names.items() <= cfg.short_names.items()
    assert cfg.data_root == cfg.train_dataloader.dataset.data_root
    if 'pipeline' in cfg.train_dataloader.dataset:
        assert 'statistics' in cfg
        assert {'size', 'crops'} <= set(cfg.short_names)


def test_nothing_is_spliced_by_position():
    """Not pipelines, nor hooks filtered: a reader of a config would have to know another file by heart."""
    for path in ROOT.glob('configs/**/*.py'):
        if 'downstream' not in path.parts:
            text = re.sub('#.*', '', path.read_text())
            assert not re.search(r'(pipeline|hooks|scheduler)\[|\bfor\b', text), path


# Data set bases that no shipped pre-training config uses yet


@pytest.mark.parametrize(
    ('base', 'layout', 'samples', 'shapes'),
    [
        ('seco', 'seco', 4, [(3, 224, 224)] * 2),
        ('hr_pairs', 'hr_pairs', 8, dict(rgb=(3, 320, 320), dsm=(1, 320, 320))),
    ],
)
def test_dataset_bases(base, layout, samples, shapes, tmp_path):
    write_layout(layout, tmp_path, size=320)
    cfg = Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / f'{base}.py')
    init_default_scope('mmpretrain')
    dataset = DATASETS.build({**cfg.train_dataloader.dataset, 'data_root': str(tmp_path)})
    assert len(dataset) == samples
    inputs = dataset[0]['inputs']
    if isinstance(shapes, dict):
        assert {name: tuple(image.shape) for name, image in inputs.items()} == shapes
        assert float(inputs['dsm'].min()) >= 0
        assert float(inputs['dsm'].max()) > 2  # metres of a house
    else:
        assert [tuple(view.shape) for view in inputs] == shapes
        assert all(view.dtype == torch.uint8 for view in inputs)
