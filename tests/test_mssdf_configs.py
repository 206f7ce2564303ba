"""The configs of MSSDF: what their names say, that they build, and that their data fit their models."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, HOOKS, MODELS, init_default_scope
from mmengine.runner import Runner

from mmrs_ssl import get_config
from mmrs_ssl.cli.config import check_schedule
from mmrs_ssl.cli.launch import set_precision
from mmrs_ssl.synthetic.scene import make_scene
from mmrs_ssl.synthetic.writing import write_geotiff
from tests.conftest import ROOT, TestProbe, log_of

NAMES = sorted(path.stem for path in ROOT.glob('configs/mssdf/*.py'))


@pytest.fixture(scope='module')
def places(tmp_path_factory):
    """Two generated places with every modality, named as each config wants them."""
    root = tmp_path_factory.mktemp('places')
    for i in range(2):
        scene = make_scene('residential', seed=i, size=340, gsd=0.5)
        rgb, height = scene.rgb(), scene.dsm
        bands = scene.multispectral(10, np.uint16)
        for folder, kinds in (
            ('hr-pairs', dict(dom=rgb, dsm=height)),
            ('geotiff', dict(rgb=rgb, dsm=height)),
            ('demo', dict(dom=rgb, dsm=height)),
            ('demo-rgb', dict(dom=rgb)),
            ('rgb-nir-dsm', dict(rgb=rgb, irc=rgb[..., ::-1].copy(), dsm=height)),
            ('multispectral-rgb', dict(rgb=rgb, ms=bands)),
        ):
            for kind, image in kinds.items():
                write_geotiff(root / folder / f'{i}_{kind}.tif', image, 0.5)
    return root


@pytest.mark.parametrize('name', [name for name in NAMES if 'hr-pairs' in name])
def test_surface_models_of_hr_pairs_mark_holes_without_saying_so(name, tmp_path):
    """Heights above the lowest are above the lowest that is one."""
    height = np.full((340, 340), 100, np.float32)
    height[:, 170:], height[20:40, 20:40] = 112, -9999
    for kind, image in dict(dom=make_scene('residential', seed=0, size=340, gsd=0.5).rgb(), dsm=height).items():
        write_geotiff(tmp_path / f'a_{kind}.tif', image, 0.5)
    init_default_scope('mmpretrain')
    settings = get_config(f'mssdf/{name}').train_dataloader.dataset
    dataset = DATASETS.build({**settings, 'data_root': str(tmp_path), 'pipeline': settings.pipeline[:1]})
    heights = dataset[0]['img']['dsm']
    assert (heights.min(), heights.max()) == (0, 12)
    assert len(np.unique(heights)) <= 3  # the hole gets the mean


@pytest.mark.parametrize('name', NAMES)
def test_config_is_consistent(name, places):
    cfg = get_config(f'mssdf/{name}')
    devices, batch, epochs, size = map(int, re.search(r'_(\d+)xb(\d+)-.*-(\d+)e_.*-(\d+)px', name).groups())
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.train_dataloader.batch_size == batch
    assert devices * batch == next((size for kind, size in dict(geotiff=64, demo=16).items() if kind in name), 512)
    assert cfg.auto_scale_lr == dict(base_batch_size=256, enable=True)
    assert cfg.data_root == cfg.train_dataloader.dataset.data_root
    assert ('amp' in name) == (cfg.optim_wrapper.type == 'AmpOptimWrapper')
    check_schedule(cfg)
    init_default_scope('mmpretrain')
    for hook in cfg.custom_hooks:
        HOOKS.build(hook)
    data = name.split('_')[-1].removesuffix(f'-{size}px')
    dataset = DATASETS.build({**cfg.train_dataloader.dataset, 'data_root': str(places / data)})
    inputs = dataset[0]['inputs']
    modalities = cfg.model.data_preprocessor.modalities
    found = {key: (len(image), *image.shape[1:]) for key, image in inputs.items()}
    assert found == {key: (len(values['mean']), size, size) for key, values in modalities.items()}


@pytest.mark.parametrize('name', [name for name in NAMES if 'vit-base' in name])
def test_model_of_a_config_takes_a_step_forward(name, places):
    """The published sizes, on two small windows."""
    cfg = get_config(f'mssdf/{name}')
    cfg.model.backbone.update(
        img_size=64, arch=dict(embed_dims=768, num_layers=1, num_heads=12, feedforward_channels=64)
    )
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.teacher_is_updated = True
    bands = model.data_preprocessor.bands
    data = dict(inputs={key: 100 * torch.rand(2, count, 64, 64) for key, count in bands.items()})
    losses = model.train().loss(**model.data_preprocessor(data, True))
    assert all(np.isfinite(value.item()) for value in losses.values())
    fusion, (decoder,) = model.fusion.transformer, model.decoder.transformers.values()
    assert (model.fusion.query.shape, len(fusion.layers), len(decoder.layers)) == ((384,), 3, 4)
    assert {layers.layers[0].self_attn.num_heads for layers in (fusion, decoder)} == {6}
    assert (model.masking.ratio, model.masking.information_aware, model.masking.masked_modality) == (0.75, True, None)
    weights = {name: term.weight for name, term in model.terms.items()}
    assert weights == dict(reconstruction=1.0, alignment=0.5, independence=0.2, modality=0.1)
    alignment, independence = model.terms['alignment'], model.terms['independence']
    assert (alignment.temperature, alignment.negatives, independence.of) == (0.07, 'batch', 'predictions')
    assert model.compared_places == 512
    assert [layer.out_features for layer in model.terms['modality'].classifier[1::2]] == [384, len(bands)]
    assert model.fusion.projection.bias is None
    assert (model.targets.normalize, model.fusion.shortcuts, model.decoder.shortcuts) == (None, False, False)
    assert set(model.terms['reconstruction'].modality_weights.values()) == {1.0}
    several = {count for count in bands.values() if count > 1}
    assert len(model.patch_embeds) == (0 if len(several) == 1 else len(bands) - 1)


def test_large_model_is_as_published():
    config = get_config('mssdf/mssdf_vit-large_8xb64-amp-coslr-500e_hr-pairs-320px').model
    assert (config.backbone.arch, config.fusion, config.decoder) == (
        'large',
        dict(channels=512, heads=8),
        dict(heads=8),
    )


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_config_trains_two_iterations(name, places, tmp_path, monkeypatch):
    cfg = get_config(f'mssdf/{name}')
    data = name.split('_')[-1].rsplit('-', 1)[0]
    cfg.train_dataloader.dataset.data_root = str(places / data)
    cfg.train_dataloader.dataset.windows_per_epoch = 4
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
    cfg.work_dir = str(tmp_path / 'work')
    cfg.custom_hooks.append(dict(type='TestProbe'))
    cfg.default_hooks.logger.interval = cfg.default_hooks.checkpoint.interval = 1
    set_precision(cfg, amp=False)
    seen = []

    def look(runner):
        scalars = runner.message_hub.log_scalars
        seen.append([value.current() for key, value in scalars.items() if key.startswith('train/loss_')])

    def stop(runner):
        runner.train_loop.stop_training = True

    monkeypatch.setattr(TestProbe, 'calls', dict(after_train_iter=look, after_train_epoch=stop))
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert len(seen) == 2
    assert np.isfinite(seen).all()
    assert len(seen[0]) == len(runner.model.terms)
    assert int(runner.model.teacher.steps) == 2
    if 'demo' not in name:  # no schedule
        assert runner.model.masking.substitution == pytest.approx(0.1)
    checkpoint = torch.load(tmp_path / 'work' / 'epoch_1.pth', weights_only=True)['state_dict']
    plain = runner.model.backbone.state_dict()
    assert {key for key in checkpoint if key.startswith('backbone.')} == {f'backbone.{key}' for key in plain}
    assert len(list(Path(runner.log_dir).glob('pictures/*.png'))) == 2
    assert 'Traceback' not in log_of(cfg.work_dir)
