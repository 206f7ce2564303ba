"""From a common pre-training of color and heights to mmsegmentation, mmdetection and open-cd, with both at once."""

import copy
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, TRANSFORMS, init_default_scope
from mmengine.runner import Runner

from mmrs_ssl.synthetic.layouts import write_layout
from mmrs_ssl.synthetic.writing import write_geotiff, write_picture
from mmrs_ssl.transfer import load_backbone
from tests.conftest import BACKBONES, build_mssdf, log_of, mssdf_config, train
from tests.downstream import FOLDER, losses_of, needs_library
from tests.test_downstream_settings import section

CONFIG = FOLDER / 'segmentation/upernet_vit-base-rgb-dsm_4xb4-80k_potsdam-512x512.py'
SMALL = dict(
    arch=dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=48), img_size=64, out_indices=(0, 1, 2, 3)
)
BACKBONE = {**BACKBONES['vit'][0], 'arch': SMALL['arch']}  # of the pre-training
BATCH_NORM = dict(type='BN')
MEAN, STD = [120.0, 120.0, 120.0, 5.0], [60.0, 60.0, 60.0, 4.0]  # of conftest's MSSDF


@pytest.fixture(scope='module')
def potsdam(tmp_path_factory):
    """Tiles of Potsdam with heights beside them, in the layout of mmsegmentation's script."""
    root = tmp_path_factory.mktemp('data') / 'potsdam'
    write_layout('potsdam_ndsm', root, scenes=4, size=64)
    return root


@pytest.fixture
def pretrained(make_config):
    """The checkpoint of a small MSSDF after an epoch."""
    cfg = make_config(model=mssdf_config(backbone=BACKBONE))
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != 'mmrs_ssl.PictureHook']
    cfg.train_cfg.max_epochs = 1
    train(cfg)
    return Path(cfg.work_dir) / 'epoch_1.pth'


@cache
def config():
    return Config.fromfile(CONFIG)


def segmentation(root, work_dir, checkpoint='none'):
    """The Potsdam config, of a size for the CPU."""
    cfg = copy.deepcopy(config())
    head = dict(channels=8, norm_cfg=BATCH_NORM)
    cfg.merge_from_dict(
        {
            'model.data_preprocessor.size': (64, 64),
            'model.neck': dict(in_channels=[32] * 4, out_channels=32),
            'model.decode_head': dict(in_channels=[32] * 4, pool_scales=(1, 2), **head),
            'model.auxiliary_head': dict(in_channels=32, **head),
            'custom_hooks.0.checkpoint': str(checkpoint),
            'train_dataloader.batch_size': 2,
            'train_dataloader.dataset.pipeline.4.scale': (64, 64),
            'train_dataloader.dataset.pipeline.5.crop_size': (64, 64),
            'val_dataloader.dataset.pipeline.2.scale': (64, 64),
            'test_pipeline.2.scale': (64, 64),
            'train_cfg': dict(max_iters=1, val_interval=1),
            'default_hooks.logger.interval': 1,
            'default_hooks.checkpoint.interval': 1,
            'work_dir': str(work_dir),
            'experiment_name': work_dir.parent.name,
        }
    )
    cfg.model.backbone.update(SMALL)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(root)
    return cfg


def test_potsdam_trains_validates_and_predicts(potsdam, pretrained, tmp_path):
    """From a file of a real pre-training; prediction by the config and the checkpoint of the work dir alone."""
    from mmseg.apis import inference_model, init_model

    runner = Runner.from_cfg(segmentation(potsdam, tmp_path / 'downstream', pretrained))
    runner.train()
    log = log_of(tmp_path / 'downstream')
    assert re.search(r'missing +0', log)
    assert re.search(r'fresh +8  fusions\.0\.weight', log)
    assert re.search(r'mean +120, 120, 120, 5 +86\.18, .* adopted', log)
    assert re.search(r'order of bands +rgb +rgb \(rgb by LoadRaster\) +same', log)
    assert re.search(r'mIoU: +[\d.]+', log)
    assert len(losses_of(log)) == 1
    model = init_model(
        str(next((tmp_path / 'downstream').glob('*.py'))), str(tmp_path / 'downstream/iter_1.pth'), device='cpu'
    )
    assert [each.flatten().tolist() for each in model.data_preprocessor.buffers()] == [MEAN, STD]
    kept, expected = model.state_dict(), runner.model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in kept.items())
    # evaluated by the config as it was written, which has other values
    cfg = segmentation(potsdam, tmp_path / 'tested')
    cfg.load_from = str(tmp_path / 'downstream/iter_1.pth')
    tested = Runner.from_cfg(cfg)
    tested.test()
    assert tested.model.data_preprocessor.mean.flatten().tolist() == MEAN
    image = next((potsdam / 'img_dir/val').iterdir())
    found = inference_model(model, str(image))
    assert found.pred_sem_seg.data.shape == (1, 64, 64)
    # heights take part in it
    other = tmp_path / 'other' / 'img_dir' / image.name
    for folder, suffix in (('img_dir', '.png'), ('ndsm_dir', '.tif')):
        path = other.parents[1] / folder / f'{image.stem}{suffix}'
        path.parent.mkdir(parents=True)
        path.write_bytes((potsdam / folder / 'val' / path.name).read_bytes())
    torch.testing.assert_close(inference_model(model, str(other)).seg_logits.data, found.seg_logits.data)
    with rasterio.open(other.parents[1] / f'ndsm_dir/{image.stem}.tif', 'r+') as file:
        file.write(file.read() + 10)
    assert not torch.allclose(inference_model(model, str(other)).seg_logits.data, found.seg_logits.data, atol=1e-3)


def heights_of(path):
    """The heights of a tile."""
    with rasterio.open(path.replace('img_dir', 'ndsm_dir').replace('.png', '.tif')) as file:
        return file.read(1)


def test_heights_lie_on_their_image_and_colors_change_alone(potsdam):
    """Whatever the pipeline cuts and mirrors; the label goes with them."""
    init_default_scope('mmseg')
    cfg = segmentation(potsdam, potsdam)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    relief = []
    for i in range(len(dataset)):
        image, heights = dataset[i]['inputs'], heights_of(dataset.get_data_info(i)['img_path'])
        assert (len(image), image.dtype) == (4, torch.float32)
        assert heights.min() - 1e-3 <= image[3].min() <= image[3].max() <= heights.max() + 1e-3
        relief.append(float(image[3].std()))
    assert min(relief) == 0  # a field is flat
    assert max(relief) > 1
    steps = cfg.train_dataloader.dataset.pipeline
    results = dict(dataset.get_data_info(0))
    for step in steps[:4]:
        results = TRANSFORMS.build(step)(results)
    np.testing.assert_array_equal(results['img'][..., 3], heights_of(results['img_path']))
    with rasterio.open(results['img_path']) as file:
        colors = file.read().transpose(1, 2, 0)
    assert 0 < np.abs(results['img'][..., :3] - colors).mean() < 128
    flipped = TRANSFORMS.build(dict(type='RandomFlip', prob=1.0))(dict(results))
    np.testing.assert_array_equal(flipped['img'], results['img'][:, ::-1])
    np.testing.assert_array_equal(flipped['gt_seg_map'], results['gt_seg_map'][:, ::-1])


def untrained(path):
    """Write the file of a pre-training before its first step."""
    meta = dict(cfg=Config(dict(model=mssdf_config(backbone=BACKBONE))).pretty_text, evaluated='student')
    torch.save(dict(state_dict=build_mssdf(backbone=BACKBONE).state_dict(), meta=meta), path)
    return path


def test_another_order_of_colors_does_not_train(potsdam, tmp_path):
    """Though they are only the first three of four bands, which no data preprocessor swaps."""
    cfg = segmentation(potsdam, tmp_path / 'downstream', untrained(tmp_path / 'run.pth'))
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.pipeline[0] = dict(type='LoadImageFromFile')
    with pytest.raises(ValueError, match='pre-training saw rgb, the model gets bgr: load them in that order'):
        Runner.from_cfg(cfg).train()


def blocks():
    """The code of the README's section about several modalities."""
    text = section(FOLDER / 'README.md', 'Several modalities together')
    return re.findall(r'```python\n(.*?)```', text, re.DOTALL)


def write_pair(root, name, seed):
    """Write colors below img and heights below ndsm; returns the picture's path and what both hold, (64, 64, 4)."""
    rng = np.random.default_rng(seed)
    colors = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    heights = (10 * rng.random((64, 64))).astype(np.float32)
    write_picture(root / 'img' / f'{name}.png', colors)
    write_geotiff(root / 'ndsm' / f'{name}.tif', heights, 1.0)
    return str(root / 'img' / f'{name}.png'), np.dstack((colors, heights))


LOAD = [
    dict(type='mmrs_ssl.LoadRaster', bands=3),
    dict(type='mmrs_ssl.AppendRaster', folder=('img', 'ndsm'), suffix='.tif', bands=1),
]


def through(pipeline, results):
    """What a pipeline makes of a sample."""
    for step in pipeline:
        results = TRANSFORMS.build(step)(results)
    return results


def test_faster_rcnn_learns_from_both(tmp_path):
    """With the data preprocessor that the README gives mmdetection, and normalization in the pipeline."""
    added: dict = {}
    exec(blocks()[0], added)
    exec(blocks()[2], added)
    cfg = Config.fromfile(FOLDER / 'detection/faster-rcnn_vit-base_fpn_8xb2-12e_dior-800px.py')
    cfg.merge_from_dict(dict(model=added['model']))
    cfg.model.backbone = {**added['backbone'], **SMALL}
    cfg.model.neck[0].update(in_channels=[32] * 4, out_channels=32)
    cfg.model.neck[1].update(in_channels=[32] * 4, out_channels=32)
    cfg.model.rpn_head.update(in_channels=32, feat_channels=32)
    cfg.model.roi_head.bbox_roi_extractor.out_channels = 32
    cfg.model.roi_head.bbox_head.update(in_channels=32, fc_out_channels=16)
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model)
    path, pixels = write_pair(tmp_path, 'a', seed=0)
    _, *steps, pack = cfg.train_dataloader.dataset.datasets[0].pipeline
    assert [step.type for step in steps] == ['LoadAnnotations', 'Resize', 'RandomFlip']
    steps[1].scale, steps[2].prob = (64, 64), 0.0
    box = dict(bbox=[8, 8, 40, 40], bbox_label=3, ignore_flag=0)
    sample = through([*LOAD, *steps, added['normalize'], pack], dict(img_path=path, img_id=0, instances=[box]))
    mean, std = (np.array(added['normalize'][key], np.float32) for key in ('mean', 'std'))
    np.testing.assert_allclose(sample['inputs'].permute(1, 2, 0).numpy(), (pixels - mean) / std, rtol=1e-4, atol=1e-4)
    data = {key: [value] for key, value in sample.items()}
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    total = sum(each for value in losses.values() for each in ([value] if isinstance(value, torch.Tensor) else value))
    total.backward()
    assert torch.isfinite(total)
    assert all(fusion.weight.grad[:, 32:].any() for fusion in model.backbone.fusions.values())  # of the heights
    assert len(model.eval()(**model.data_preprocessor(data), mode='predict')) == 1


def test_open_cd_compares_two_dates_of_both(tmp_path):
    """Through its own pipeline behind the two loaders."""
    needs_library('change_detection')
    import opencd.datasets
    import opencd.models  # noqa: F401

    cfg = Config.fromfile(FOLDER / 'change_detection/siam-upernet_vit-base_1xb8-40k_levir-cd-256x256.py')
    added: dict = {}
    exec(blocks()[0], added)
    cfg.model.backbone = {**added['backbone'], **SMALL}
    cfg.model.backbone_inchannels = 4
    cfg.model.data_preprocessor.update(mean=MEAN * 2, std=STD * 2)
    cfg.model.decode_head.update(in_channels=[64] * 4, pool_scales=(1, 2), channels=8, norm_cfg=BATCH_NORM)
    cfg.model.auxiliary_head = None
    init_default_scope('opencd')
    model = MODELS.build(cfg.model).eval()
    paths, pixels = zip(*(write_pair(tmp_path, name, seed) for seed, name in enumerate(('A/1', 'B/1'))), strict=True)
    write_picture(tmp_path / 'label.png', np.eye(64, dtype=np.uint8) * 255)
    _, annotations, *_, pack = cfg.train_dataloader.dataset.pipeline
    results = dict(img_path=list(paths), seg_map_path=str(tmp_path / 'label.png'), seg_fields=[])
    results |= dict(label_map=None, reduce_zero_label=False, format_seg_map='to_binary')
    sample = through([*LOAD, annotations, pack], results)
    np.testing.assert_array_equal(sample['inputs'].permute(1, 2, 0).numpy(), np.dstack(pixels))
    data = model.data_preprocessor({key: [value] for key, value in sample.items()}, training=True)
    expected = (sample['inputs'][None] - torch.tensor(MEAN * 2)[:, None, None]) / torch.tensor(STD * 2)[:, None, None]
    torch.testing.assert_close(data['inputs'], expected)
    dates = [model.backbone(date) for date in expected.split(4, 1)]
    for level, both in enumerate(model.extract_feat(data['inputs'])):
        torch.testing.assert_close(both, torch.cat([date[level] for date in dates], 1))
    assert torch.isfinite(model(**data, mode='loss')['decode.loss_ce'])


def test_class_tokens_of_both_classify(tmp_path):
    """In mmpretrain."""
    init_default_scope('mmpretrain')
    backbone = dict(
        type='mmrs_ssl.ModalityVisionTransformer',
        modalities=[('dsm', 1), ('rgb', 3)],
        patch_cfg=dict(padding=0),
        **{**SMALL, 'out_indices': -1},
    )
    head = dict(type='LinearClsHead', num_classes=5, in_channels=32)
    model = MODELS.build(dict(type='ImageClassifier', backbone=backbone, head=head))
    report = load_backbone(model.backbone, untrained(tmp_path / 'run.pth'))
    assert (report.missing, report.fresh, report.record.mean) == ([], [], [5.0, 120.0, 120.0, 120.0])
    images = torch.randn(2, 4, 64, 64)
    model.eval()
    (token,) = model.backbone(images)
    assert token.shape == (2, 32)
    torch.testing.assert_close(model(images), model.head.fc(token))
