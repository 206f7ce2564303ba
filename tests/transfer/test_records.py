"""What checkpoints say of their own pre-training, and what they do not."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmrs_ssl.engine.band_order import readings
from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.records import Record, read_record
from mmrs_ssl.transfer.sources import read_file
from tests.rasters.rasters import noise, write_raster
from tests.transfer.backbones import mine, save, weights_of
from tests.transfer.checkpoints import training

MEAN, STD = [86.0, 91.5, 85.0], [34.0, 35.0, 36.5]
LOADER = "train_pipeline = [dict(type='LoadImageFromFile')]"


def of_config(*lines, modality=None):
    """The record of a file whose config has these lines."""
    return read_record(dict(meta=dict(cfg='\n'.join(lines))), modality)


def test_a_training_checkpoint(tmp_path):
    path, *_ = training(tmp_path / 'run.pth', 'resnet')
    record = load_backbone(mine('resnet', seed=1), path).record
    assert record == Record(
        mean=[100.0, 101.0, 102.0],
        std=[50.0, 51.0, 52.0],
        channel_order='rgb',
        bands=3,
        backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
        method='mmrs_ssl.CMID',
    )


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_an_exported_file_says_what_the_checkpoint_did(suffix, tmp_path):
    path, *_ = training(tmp_path / 'run.pth', 'swin', bands=4, init_cfg=None)
    out = tmp_path / f'out.{suffix}'
    export_backbone(path, out, file_format='safetensors' if suffix == 'safetensors' else 'openmmlab', library='mmseg')
    record = read_record(read_file(out))
    assert record == read_record(read_file(path))
    assert (record.bands, record.channel_order, record.mean) == (4, None, [100.0, 101.0, 102.0, 103.0])
    assert record.backbone['window_size'] == 2
    assert 'init_cfg' not in record.backbone


def test_modalities_have_statistics_of_their_own():
    modalities = dict(rgb=dict(mean=MEAN, std=STD), dsm=dict(mean=[6], std=[7]))
    statistics = dict(type='mmrs_ssl.ModalityPreprocessor', modalities=modalities)
    line = f'model = {dict(type="mmrs_ssl.MSSDF", data_preprocessor=statistics)}'
    first, named, none = (of_config(line, modality=name) for name in (None, 'dsm', 'sar'))
    assert (first.mean, first.std, first.bands, first.channel_order) == (MEAN, STD, 3, 'rgb')
    assert (named.mean, named.std, named.bands, named.channel_order) == ([6.0], [7.0], 1, None)
    assert none == Record(method='mmrs_ssl.MSSDF')


@pytest.mark.parametrize('names', [('rgb', 'dsm'), ('dsm', 'rgb')])
def test_the_first_modality_is_the_one_whose_embedding_is_the_backbones(names):
    """Not the first of the config's text, which mmengine sorts."""
    statistics = dict(rgb=dict(mean=MEAN, std=STD), dsm=dict(mean=[6.0], std=[7.0]))
    model = dict(type='mmrs_ssl.MSSDF', data_preprocessor=dict(modalities={name: statistics[name] for name in names}))
    apart = {f'patch_embeds.{names[1]}.projection.bias': torch.zeros(1)}
    shared = {f'decoder.mask_tokens.{name}': torch.zeros(1) for name in names}
    for weights in (apart, shared, {**apart, **{f'mask_tokens.{name}': torch.zeros(1) for name in sorted(names)}}):
        content = dict(
            state_dict={'backbone.cls_token': torch.zeros(1), **weights},
            meta=dict(cfg=Config(dict(model=model)).pretty_text),
        )
        assert read_record(content).mean == statistics[names[0]]['mean']
        assert read_record(content, names[1]).mean == statistics[names[1]]['mean']


def test_masking_classes_are_their_plain_ones():
    backbone = dict(type='MAEViT', arch='base', mask_ratio=0.75, patch_cfg=dict(in_channels=3))
    assert of_config(f'model = dict(backbone={backbone})').backbone == dict(type='VisionTransformer', arch='base')


@pytest.mark.parametrize(
    ('statistics', 'loader', 'order'),
    [
        (dict(to_rgb=True), '', 'rgb'),
        (dict(bgr_to_rgb=True), LOADER, 'rgb'),
        (dict(rgb_to_bgr=True), '', 'bgr'),
        (dict(bgr_to_rgb=False), LOADER, 'bgr'),
        ({}, LOADER.replace('Load', 'mmseg.Load'), 'bgr'),
        (dict(bgr_to_rgb=False), '', None),  # any loader
        ({}, "train_pipeline = [dict(type='mine.LoadImageFromFile')]", None),
        (dict(type='mmrs_ssl.BandPreprocessor'), '', 'rgb'),
        (dict(type='mmrs_ssl.BandPreprocessor'), LOADER, 'bgr'),
    ],
)
def test_the_order_of_a_librarys_channels(statistics, loader, order):
    record = of_config(f'model = {dict(data_preprocessor=dict(statistics, mean=MEAN, std=STD))}', loader)
    assert record == Record(mean=MEAN, std=STD, channel_order=order, bands=3, reverses=order == 'bgr')


OURS = dict(type='mmrs_ssl.BandPreprocessor', mean=MEAN, std=STD)


@pytest.mark.parametrize(
    ('loader', 'dataset', 'order'),
    [
        (dict(bands=3), {}, 'rgb'),
        (dict(bands=[2, 1, 0]), {}, 'bgr'),
        (dict(bands=[3, 2, 1]), {}, None),
        (dict(bands=['blue', 'green', 'red']), {}, 'bgr'),
        (dict(bands=['B04', 'B03', 'B02']), {}, 'rgb'),
        (dict(bands=['nir', 'red', 'green']), {}, None),
        (dict(bands=3), dict(band_files=['B2', 'B3', 'B4']), 'bgr'),
        (dict(bands=None), dict(bands=['B04', 'B03', 'B02']), 'rgb'),
    ],
)
def test_the_order_in_which_bands_were_loaded(loader, dataset, order):
    """By the rule that a pipeline is read by: a fine-tuning with the same loader swaps nothing."""
    loader = dict(type='mmrs_ssl.LoadRaster', **loader)
    dataset = dict(type='mmrs_ssl.SceneDataset', pipeline=[loader], **dataset)
    data = f'train_dataloader = {dict(dataset=dataset)}'
    assert of_config(f'model = {dict(data_preprocessor=OURS)}', data).channel_order == order
    assert [each.order for each in readings(dict(dataset=dataset))] == [order]
    swapping = dict(mean=MEAN, std=STD, to_rgb=True)
    other = of_config(f'model = {dict(data_preprocessor=swapping)}', data).channel_order
    assert other == {'rgb': 'bgr', 'bgr': 'rgb', None: None}[order]


@pytest.mark.parametrize(
    ('names', 'order'),
    [
        (('blue', 'green', 'red'), 'bgr'),
        (('red', 'green', 'blue'), 'rgb'),
        (('nir', 'red', 'green'), None),
        (('', '', ''), 'rgb'),
        (('Band 1', 'Band 2', 'Band 3'), 'rgb'),
    ],
)
def test_a_count_of_bands_is_read_in_the_order_of_the_files(tmp_path, names, order):
    """A data set has looked at their names, and checkpoints keep them."""
    write_raster(tmp_path / 'a.tif', noise(3, 32, 32), names=names)
    loader = dict(type='mmrs_ssl.LoadRaster', bands=3)
    config = dict(type='mmrs_ssl.SceneDataset', data_root=str(tmp_path), window=32, cache_dir=str(tmp_path))
    dataset = DATASETS.build(dict(config, pipeline=[loader]))
    assert [each.order for each in readings(dict(dataset=dataset))] == [order]
    text = f'model = {dict(data_preprocessor=OURS)}\ntrain_dataloader = {dict(dataset=dict(config, pipeline=[loader]))}'
    torch.save(dict(meta=dict(cfg=text, band_names=dataset.band_names)), tmp_path / 'run.pth')
    assert read_record(read_file(tmp_path / 'run.pth')).channel_order == order


def test_statistics_beside_the_model():
    """mmpretrain's configs have them there; the model's own come first."""
    beside = f'data_preprocessor = {dict(mean=MEAN, std=STD, to_rgb=True)}'
    assert of_config("model = dict(type='ImageClassifier')", beside).mean == MEAN
    within = of_config('model = dict(data_preprocessor=dict(mean=[1], std=[2]))', beside)
    assert (within.mean, within.channel_order) == ([1.0], None)


@pytest.mark.parametrize(
    'content',
    [
        dict(state_dict=weights_of(mine('resnet'))),
        [1, 2],
        None,
        dict(meta=3),
        dict(meta=dict(mean=MEAN, std=STD)),  # somebody's
        dict(meta=dict(cfg='model = ')),
        dict(meta=dict(cfg='model = build(mean=[1])')),
        dict(meta=dict(cfg='model = [1]')),
        dict(meta=dict(cfg=f"model = dict(data_preprocessor=dict(mean={MEAN}, std=['a', 'b', 'c']))")),
        dict(meta=dict(cfg='model = dict(data_preprocessor=dict(mean=[1, 2], std=[1]))')),
        dict(meta=dict(cfg='model = dict(data_preprocessor=[1], backbone=[2], type=3)')),
    ],
)
def test_files_that_say_nothing(content):
    assert read_record(content) == Record()


def test_a_plain_file_has_an_empty_record(tmp_path):
    path = save(weights_of(mine('resnet')), tmp_path / 'plain.pth')
    assert load_backbone(mine('resnet', seed=1), path).record == Record()
