"""mmpretrain's own methods on this project's data: by config alone, with its monitor, pictures, seeds and export."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmpretrain.registry import MODELS as MMPRETRAIN

from mmrs_ssl import get_config
from mmrs_ssl.cli.config import override
from mmrs_ssl.synthetic.writing import write_geotiff
from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.targets import as_plain_backbone
from tests.conftest import ROOT, log_of, train
from tests.engine.test_hooks import scalars

CONFIGS = sorted(path.relative_to(ROOT / 'configs').as_posix() for path in ROOT.glob('configs/mmpretrain/*.py'))
METHODS = ('byol', 'mae', 'mocov2', 'simmim', 'simsiam')
SMALL_RESNET = dict(depth=18, stem_channels=8, base_channels=8)
LAST = 64  # channels of its last map
# What makes a network small; the size of the images goes by its short name.
SMALL = dict(
    mocov2=dict(
        backbone=SMALL_RESNET,
        neck=dict(in_channels=LAST, hid_channels=16, out_channels=8),
        feat_dim=8,
        queue_len=16,
    ),
    simsiam=dict(
        backbone=SMALL_RESNET,
        neck=dict(in_channels=LAST, hid_channels=16, out_channels=16),
        head=dict(predictor=dict(in_channels=16, hid_channels=8, out_channels=16)),
    ),
    byol=dict(
        backbone=SMALL_RESNET,
        neck=dict(in_channels=LAST, hid_channels=16, out_channels=8),
        head=dict(predictor=dict(in_channels=8, hid_channels=16, out_channels=8)),
    ),
    mae=dict(
        backbone=dict(arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=32)),
        neck=dict(embed_dim=32, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2),
    ),
    simmim=dict(
        backbone=dict(arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]), drop_path_rate=0.0),
        neck=dict(in_channels=64),
    ),
)
PASSES = dict(byol=2, mae=1, mocov2=1, simmim=1, simsiam=2)  # of the backbone in a step


@pytest.fixture(scope='module')
def rasters(tmp_path_factory):
    """GeoTIFFs of four bands of 16 bits."""
    root = tmp_path_factory.mktemp('four_bands')
    rng = np.random.default_rng(0)
    for i in range(8):
        coarse = rng.integers(0, 4000, (9, 9, 4), dtype=np.uint16)
        write_geotiff(root / f'{i}.tif', cv2.resize(coarse, (80, 80), interpolation=cv2.INTER_CUBIC), 1.0)
    return root


def method_of(name):
    return name.split('/')[1].split('_')[0]


def shrink(cfg, method):
    """Give a config a small network."""
    cfg.model.backbone.pop('arch', None)  # a name, where the small one is a dict
    cfg.merge_from_dict(dict(model=SMALL[method]))


def small(name, data_root, work_dir):
    """A config with a small network on images of 64 pixels; an epoch of the eight or sixteen has two iterations."""
    cfg = get_config(name)
    options = dict(size=64, batch=8, epochs=1, data_root=str(data_root), work_dir=str(work_dir))
    if 'geotiff' in name:
        options.update(batch=4, window=72, max_value=4000, statistics=[[2000.0] * 4, [900.0] * 4])
    override(cfg, options)
    shrink(cfg, method_of(name))
    cfg.merge_from_dict(dict(train_dataloader=dict(num_workers=0, persistent_workers=False)))
    cfg.merge_from_dict(dict(default_hooks=dict(logger=dict(interval=1), checkpoint=dict(interval=1))))
    return cfg


def data_of(name, rasters, image_folder):
    return rasters if 'geotiff' in name else image_folder


def test_every_method_has_both_configs():
    found = [re.sub(r'_.*_(folder|geotiff)-.*', r' \1', name.split('/')[1]) for name in CONFIGS if 'rsscn7' not in name]
    assert sorted(found) == [f'{method} {data}' for method in METHODS for data in ('folder', 'geotiff')]


@pytest.mark.parametrize('name', CONFIGS)
def test_config_says_what_its_name_says_and_builds(name, rasters, image_folder):
    cfg = get_config(name)
    assert len((ROOT / 'configs' / name).read_text().splitlines()) < 70
    method, batch, epochs, size = re.search(r'/(\w+?)_.*1xb(\d+)-coslr-(\d+)e_\w+-(\d+)px', name).groups()
    assert cfg.train_dataloader.batch_size == int(batch)
    assert cfg.train_cfg.max_epochs == int(epochs)
    init_default_scope('mmpretrain')
    # of the published size, if they can be without weights; Swin and ResNet read values while they are built
    with torch.device('meta' if method == 'mae' else 'cpu'):
        for part in (cfg.model.backbone, cfg.model.neck, cfg.model.head):
            MMPRETRAIN.build(part)
    bands = len(cfg.model.data_preprocessor.mean)
    assert bands == (4 if 'geotiff' in name else 3)
    changes = dict(window=72, max_value=4000) if bands == 4 else {}
    root = str(data_of(name, rasters, image_folder))
    dataset = DATASETS.build({**cfg.train_dataloader.dataset, 'data_root': root, **changes})
    sample = dataset[1]
    views = sample['inputs'] if isinstance(sample['inputs'], list) else [sample['inputs']]
    assert len(views) == (1 if method in ('mae', 'simmim') else 2)
    assert {tuple(view.shape) for view in views} == {(bands, int(size), int(size))}
    assert len(views) == len(sample['data_samples'].boxes) == len(sample['data_samples'].flips)
    if method == 'simmim':
        mask = sample['data_samples'].mask
        assert mask.shape == (56, 56)
        assert mask.sum() == 30 * 64  # of 49 blocks of 8 x 8 patches
        assert torch.equal(dataset[1]['data_samples'].mask, mask)  # drawn from the sample's own seed
        assert not torch.equal(dataset[2]['data_samples'].mask, mask)


def check_training(name, rasters, image_folder, work_dir):
    """Train two iterations and look at log, pictures and checkpoint; the exported backbone does as the trained one."""
    cfg = small(name, data_of(name, rasters, image_folder), work_dir)
    start = []

    def before(runner, batch):
        start[:] = start or [value.detach().clone() for value in runner.model.backbone.parameters()]

    runner = train(cfg, before_train_iter=before)
    lines = scalars(runner)
    assert len(lines) == runner.iter == 2
    for line in lines:
        assert np.isfinite(line['loss'])
        assert line['loss'] > -2
        assert 0 < line['student_std'] <= 1.2
        assert line['student_rank'] >= 1
        assert 'teacher_std' not in line
    assert 'collapsed' not in log_of(work_dir)
    moved = [not torch.equal(old, new) for old, new in zip(start, runner.model.backbone.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2
    pictures = sorted(Path(f'{runner.log_dir}/pictures').iterdir())
    assert [path.name for path in pictures] == [f'iter_0000001_sample_{i}.png' for i in range(4)]
    assert cv2.imread(str(pictures[0])).shape[1] == PASSES[method_of(name)] * (224 + 12)
    exported_does_as_trained(runner, Path(work_dir) / 'epoch_1.pth', Path(work_dir) / 'backbone.pth')


def exported_does_as_trained(runner, checkpoint, out):
    content = torch.load(checkpoint, weights_only=True)
    assert content['meta']['epoch'] == 1
    assert {key.split('.')[0] for key in content['state_dict']} >= {'backbone', 'neck'}
    meta = export_backbone(checkpoint, out)
    assert meta['branch'] == 'student'
    bands = meta['bands']
    assert bands == len(runner.model.data_preprocessor.mean.flatten())
    kind = meta['backbone']['type']
    assert kind in ('ResNet', 'VisionTransformer', 'mmrs_ssl.PaddedSwinTransformer')
    settings = {**meta['backbone'], 'in_channels': bands}
    plain = MODELS.build(settings)
    weights = torch.load(out, weights_only=True)['state_dict']
    plain.load_state_dict({key.removeprefix('backbone.'): value for key, value in weights.items()})  # all, no others
    again = MODELS.build(settings)
    load_backbone(again, checkpoint)  # the checkpoint itself
    image = torch.randn(2, bands, 64, 64, generator=torch.Generator().manual_seed(0))
    trained = runner.model.backbone
    masks = {} if kind == 'ResNet' else dict(mask=None)
    for network in (trained, plain, again):
        network.eval()
    if kind == 'VisionTransformer':
        plain.out_type = again.out_type = trained.out_type
    with torch.no_grad():
        expected = trained(image, **masks)[-1]
        assert torch.equal(plain(image)[-1], expected)
        assert torch.equal(again(image)[-1], expected)


FAST = ('mocov2_resnet50_1xb64-coslr-200e_geotiff', 'mae_vit-base-p16_1xb64-coslr-300e_folder')


@pytest.mark.parametrize(
    'name',
    [name if any(fast in name for fast in FAST) else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS],
)
def test_two_iterations(name, rasters, image_folder, tmp_path):
    check_training(name, rasters, image_folder, tmp_path / 'work')


def test_what_masks_in_pretraining_is_exported_as_an_ordinary_network():
    patch = dict(in_channels=4, padding=0)
    settings, left_out = as_plain_backbone(dict(type='MAEViT', arch='b', mask_ratio=0.75, patch_cfg=patch))
    assert settings == dict(type='VisionTransformer', arch='b', patch_cfg=dict(padding=0))
    assert left_out == ()
    settings, left_out = as_plain_backbone(dict(type='mmpretrain.SimMIMSwinTransformer', arch='tiny', in_channels=4))
    assert settings == dict(type='mmpretrain.SwinTransformer', arch='tiny', in_channels=4)
    assert left_out == ('mask_token',)
    ordinary = dict(type='ResNet', depth=50)
    assert as_plain_backbone(ordinary) == (ordinary, ())


def test_resumed_moco_is_the_uninterrupted_one(rasters, tmp_path):
    """With persistent workers, as shipped: every weight, the queue and its place, and the optimizer's momenta."""
    name = next(name for name in CONFIGS if FAST[0] in name)

    def run(work, epochs, **changes):
        cfg = small(name, rasters, tmp_path / work)
        cfg.train_dataloader.update(num_workers=1, persistent_workers=True)
        cfg.merge_from_dict(dict(train_cfg=dict(max_epochs=epochs), **changes))
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if 'Picture' not in hook.type]
        train(cfg)
        return torch.load(tmp_path / work / 'epoch_2.pth', weights_only=True)

    whole = run('whole', 2)
    again = run('again', 2, resume=True, load_from=str(tmp_path / 'whole' / 'epoch_1.pth'))
    assert {'queue', 'queue_ptr'} <= set(whole['state_dict'])
    assert whole['state_dict'].keys() == again['state_dict'].keys()
    for key, value in whole['state_dict'].items():
        assert torch.equal(value, again['state_dict'][key]), key
    for one, other in zip(*(run['optimizer']['state'].values() for run in (whole, again)), strict=True):
        assert torch.equal(one['momentum_buffer'], other['momentum_buffer'])
    assert whole['meta']['iter'] == again['meta']['iter'] == 4


@pytest.mark.parametrize('name', CONFIGS)
def test_short_names(name):
    """Each by one option."""
    cfg = get_config(name)
    wanted = dict(size=128, crops=(0.5, 1.0), epochs=7, batch=16, lr=0.125, warmup=0.25)
    if 'geotiff' in name:
        wanted.update(window=160)  # and as many bands as statistics
    override(cfg, {**wanted, 'crops': [0.5, 1.0], 'statistics': [[1.0] * 5, [2.0] * 5]})
    steps = {step.type.split('.')[-1]: step for step in cfg.train_dataloader.dataset.pipeline}
    crop = steps.get('ContrastViews') or steps['RandomCropResize']
    assert crop.size == 128
    assert list(crop.scale) == [0.5, 1.0]
    assert cfg.train_cfg.max_epochs == 7
    assert cfg.train_dataloader.batch_size == 16
    assert cfg.optim_wrapper.optimizer.lr == 0.125
    assert [scheduler.share for scheduler in cfg.param_scheduler] == [0.25, 0.25]
    assert cfg.model.data_preprocessor.mean == [1.0] * 5
    assert {hook.lr for hook in cfg.custom_hooks if hook.type == 'SimSiamHook'} <= {0.125}
    if 'geotiff' in name:
        assert cfg.train_dataloader.dataset.window == 160
        shrink(cfg, method_of(name))
        init_default_scope('mmpretrain')
        backbone = MMPRETRAIN.build(cfg.model.backbone)
        image = torch.randn(2, 5, 128, 128)
        if 'mae' in name:
            tokens, mask, places = backbone(image)
            assert (
                MMPRETRAIN.build(cfg.model.head).loss(MMPRETRAIN.build(cfg.model.neck)(tokens, places), image, mask) > 0
            )
        elif 'simmim' in name:
            made = MMPRETRAIN.build(cfg.model.neck)(backbone(image, torch.zeros(2, 32, 32))[0])
            assert made.shape == image.shape
            assert cfg.model.head.loss.channel == 5
            assert steps['SimMIMMaskGenerator'].input_size == 128
        else:
            assert backbone(image)[-1].shape[1] == LAST


@pytest.mark.parametrize('name', [name for name in CONFIGS if 'geotiff' in name])
def test_some_of_the_bands(name):
    """The loader takes these, the network as many."""
    cfg = get_config(name)
    override(cfg, dict(bands=[2, 0], statistics=[[1.0] * 2, [2.0] * 2]))
    assert cfg.train_dataloader.dataset.pipeline[0].bands == [2, 0]
    shrink(cfg, method_of(name))
    init_default_scope('mmpretrain')
    first = next(weight for weight in MMPRETRAIN.build(cfg.model.backbone).parameters() if weight.ndim == 4)
    assert first.shape[1] == 2
