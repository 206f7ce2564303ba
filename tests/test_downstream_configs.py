"""Downstream configs: consistent, built from pre-trained weights, their data prepared, and (slow) trained."""

import json
import re
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import torch
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.registry import DATASETS, HOOKS, MODELS, init_default_scope
from mmengine.utils import is_installed

from mmrs_ssl.synthetic.layouts import write_layout
from mmrs_ssl.transfer import load_backbone
from tests.conftest import ROOT, log_of
from tests.downstream import FOLDER, US3D, losses_of, needs_library, prepare, small_options

NAMES = sorted(path.relative_to(FOLDER).with_suffix('').as_posix() for path in FOLDER.glob('[!_]*/*.py'))
SCOPES = dict(
    classification='mmpretrain', segmentation='mmseg', height='mmseg', detection='mmdet', change_detection='opencd'
)
CLASSES = dict(
    ucm=21, aid=30, resisc45=45, eurosat=10, bigearthnet=19, potsdam=6, vaihingen=6, loveda=7, dior=20, dota=15
)
JOINT = 'vit-base-rgb-dsm'  # of two modalities at once
PRETRAINING = {JOINT: 'mssdf', **dict.fromkeys(('resnet50', 'swin-base', 'vit-base', 'vit-small'), 'cmid')}
PRETRAINING['swin-tiny'] = 'dino-mc'

STATISTICS = dict(mean=[80.0, 90.0, 100.0], std=[30.0, 31.0, 32.0])

# mmengine reads all metafiles of a library for every base that a config inherits from it
ONCE = {
    f'mmengine.config.{name}': cache(function)
    for name, function in (('utils.load', load), ('config.is_installed', is_installed))
}


@cache
def read(name):
    with pytest.MonkeyPatch.context() as patch:
        for target, function in ONCE.items():
            patch.setattr(target, function)
        return Config.fromfile(FOLDER / f'{name}.py')


def parts(name):
    """Task, backbone and data set that a name says."""
    task, stem = name.split('/')
    backbone = next(b for b in PRETRAINING if b in stem)
    return task, backbone, stem.split('_')[-1].rsplit('-', 1)[0]


def datasets(cfg):
    """All data sets of a config, those inside of others too."""
    loaders = [cfg[f'{split}_dataloader'] for split in ('train', 'val', 'test')]
    return [inner for loader in loaders for inner in loader.dataset.get('datasets', [loader.dataset])]


def heads(model):
    """The parts of a model that know the number of classes."""
    found = [model.get(key) for key in ('head', 'decode_head', 'auxiliary_head', 'bbox_head')]
    found.append(model.get('roi_head', {}).get('bbox_head'))
    return [head for head in found if head]


def distinct():
    """One config for each kind of model and backbone."""
    chosen = {}
    for name in NAMES:
        labels = 'several' if 'bigearthnet' in name and 'resnet50' in name else 'one'
        chosen.setdefault((re.split(r'_\d+xb', name)[0], labels), name)
    return list(chosen.values())


def build(name):
    cfg = read(name)
    needs_library(name)
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Gives the file of a backbone as a pre-training config builds it."""
    folder = tmp_path_factory.mktemp('weights')

    def of(name):
        path = folder / f'{name}.pth'
        if not path.exists():
            network = name.removesuffix('-rgb-dsm')
            cfg = Config.fromfile(ROOT / f'configs/_base_/models/{PRETRAINING[name]}_{network}.py')
            init_default_scope('mmpretrain')
            state = MODELS.build(cfg.model.backbone).state_dict()
            heights = dict(mean=[6.0], std=[6.0])
            statistics = dict(modalities=dict(dsm=heights, rgb=STATISTICS)) if name == JOINT else STATISTICS
            settings = dict(data_preprocessor=statistics, type='mmrs_ssl.CMID', backbone=cfg.model.backbone.to_dict())
            weights = {f'backbone.{key}': value for key, value in state.items()}
            torch.save(dict(state_dict=weights, meta=dict(cfg=f'model = {settings!r}')), path)
        return path

    return of


def test_tasks_and_data_sets_are_there():
    found = {(parts(name)[0], parts(name)[2]) for name in NAMES}
    wanted = dict(
        classification='ucm aid resisc45 eurosat bigearthnet',
        segmentation='potsdam potsdam-half vaihingen vaihingen-half loveda',
        detection='dior dota',
        change_detection='levir-cd svcd second-binary second-semantic oscd',
        height='potsdam us3d',
    )
    assert found == {(task, data) for task, names in wanted.items() for data in names.split()}


@pytest.mark.parametrize('name', NAMES)
def test_config_is_consistent(name):
    cfg = read(name)
    task, backbone, data = parts(name)
    assert cfg.default_scope == SCOPES[task]
    assert len((FOLDER / f'{name}.py').read_text().splitlines()) <= 70
    assert not re.search(
        r'https?://|open-mmlab://|torchvision://|\.pth(?<!work_dirs/backbone\.pth)', str(cfg.to_dict())
    )
    # one variable reaches every data set
    assert {dataset.data_root for dataset in datasets(cfg)} == {cfg.data_root}
    # the name says what the config does
    batch, kind, length = re.search(r'_\d+xb(\d+)-.*?(\d+)(e|k)_', name).group(1, 3, 2)
    assert cfg.train_dataloader.batch_size == int(batch)
    assert cfg.train_cfg.max_epochs == int(length) if kind == 'e' else cfg.train_cfg.max_iters == int(length) * 1000
    if (classes := CLASSES.get(data.removesuffix('-half'))) and task != 'height':
        assert {head.num_classes for head in heads(cfg.model)} == {classes}
    assert ('-half' in name) == (datasets(cfg)[0].get('ann_file') == 'train_half.txt')
    # the pre-training's statistics and weights, and nothing that is frozen but for a linear probe
    pyramid = ['mmseg.models'] if 'faster-rcnn_vit' in name else []
    assert cfg.custom_imports == dict(imports=['mmrs_ssl', *pyramid], allow_failed_imports=False)
    hook = HOOKS.build(cfg.custom_hooks[0])
    assert (hook.checkpoint, hook.module, hook.normalization) == ('work_dirs/backbone.pth', 'backbone', 'adopt')
    dates = 2 if task == 'change_detection' else 1
    assert cfg.model.data_preprocessor.mean == cfg.mean * dates
    assert cfg.model.data_preprocessor.std == cfg.std * dates
    swaps = cfg.model.data_preprocessor.get('to_rgb') or cfg.model.data_preprocessor.bgr_to_rgb
    assert bool(swaps) != (backbone == JOINT)  # whose loader gives RGB
    assert (cfg.model.backbone.get('frozen_stages', -1) > 0) == ('-linear-' in name)


@pytest.mark.parametrize('name', distinct())
def test_model_takes_pretrained_weights(name, weights):
    model = build(name)
    backbone = parts(name)[1]
    assert type(model.backbone).__module__.startswith('mmrs_ssl.' if backbone == JOINT else 'mmpretrain.')
    report = load_backbone(model.backbone, weights(backbone))
    assert not report.missing
    assert not report.mismatch
    if 'bit_' not in name:  # BIT has no use for the last stage
        assert not [key for key in report.ignored if not key.startswith('backbone.ln1')]
    allowed = {'relative_position', 'pos_embed', 'norm', *(['fusions'] if backbone == JOINT else [])}
    assert all(any(part in key for part in allowed) for key in [*report.adapted, *report.fresh])
    frozen = [parameter.requires_grad for parameter in model.backbone.parameters()]
    assert not any(frozen) if '-linear-' in name else any(frozen)


@pytest.mark.parametrize('backbone', ['resnet50', 'swin-base', 'swin-tiny', 'vit-small', 'vit-base'])
def test_linear_probe_freezes_the_backbone(backbone):
    model = build(f'classification/{backbone}_1xb64-linear-coslr-100e_eurosat-224px')
    model.train()
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == [
        'head.fc.weight',
        'head.fc.bias',
    ]
    norms = [m for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms)


def test_heights_are_moved_up_by_one_metre(tmp_path):
    """The ground is at zero, and the loss is one of logarithms."""
    write_layout('potsdam_height', tmp_path, scenes=4, size=64)
    cfg = read('height/depth-estimator_resnet50_1xb8-25k_potsdam-512x512')
    init_default_scope('mmseg')
    dataset = DATASETS.build({**cfg.val_dataloader.dataset, 'data_root': str(tmp_path)})
    sample = dataset[0]
    with rasterio.open(sample['data_samples'].depth_map_path) as file:
        height = file.read(1)
    assert height.max() > 2
    np.testing.assert_allclose(sample['data_samples'].gt_depth_map.data[0].numpy(), height + 1, atol=1e-5)
    assert sample['inputs'].shape == (3, 64, 64)


def test_lists_of_scenes(tmp_path, run_tool):
    write_layout('ucm', tmp_path, scenes=40, size=16)
    for _ in range(2):
        code, text = run_tool('prepare/classification.py', tmp_path / 'Images', '--out', tmp_path / 'meta')
        assert code == 0, text
        lines = [(tmp_path / f'meta/{split}.txt').read_text().splitlines() for split in ('train', 'val')]
    assert [len(rows) for rows in lines] == [32, 8]
    assert len({*lines[0], *lines[1]}) == 40
    for split in lines:
        assert len({row.split()[1] for row in split}) == 8
    cfg = read('classification/resnet50_1xb64-ft-coslr-100e_ucm-224px')
    init_default_scope('mmpretrain')
    dataset = DATASETS.build({**cfg.val_dataloader.dataset, 'data_root': str(tmp_path)})
    sample = dataset[7]
    assert sample['inputs'].shape == (3, 224, 224)
    names = (tmp_path / 'meta/classes.txt').read_text().split()
    assert names[int(sample['data_samples'].gt_label)] == Path(sample['data_samples'].img_path).parent.name
    code, text = run_tool('prepare/classification.py', tmp_path / 'meta')
    assert code == 1
    assert 'expected one per class' in text


def test_potsdam_tiles_and_half_of_them(tmp_path, run_tool):
    colors = np.array([[255, 255, 255], [0, 0, 255], [0, 255, 255], [0, 255, 0], [255, 255, 0], [255, 0, 0], [0] * 3])
    numbers = np.array([1, 2, 3, 4, 5, 6, 0])
    rng = np.random.default_rng(0)
    for folder in ('rgb', 'labels'):
        (tmp_path / folder).mkdir()
    truth = {}
    for scene in ('2_10', '7_13'):
        index = rng.integers(0, 7, (48, 64))
        truth[scene] = numbers[index]
        picture = rng.integers(0, 256, (48, 64, 3))
        for path, image in ((f'rgb/top_potsdam_{scene}_RGB', picture), (f'labels/top_potsdam_{scene}_label', index)):
            values = image if image.ndim == 3 else colors[image]
            assert cv2.imwrite(str(tmp_path / f'{path}.tif'), values[..., ::-1].astype(np.uint8))
    sources = ['--images', tmp_path / 'rgb', '--labels', tmp_path / 'labels', '--out', tmp_path / 'out']
    code, text = run_tool('prepare/segmentation.py', 'potsdam', *sources, '--size', 32, '--stride', 16)
    assert code == 0, text
    for split, scene in (('train', '2_10'), ('val', '7_13')):
        label = cv2.imread(str(tmp_path / f'out/ann_dir/{split}/{scene}_00016_00032.png'), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(label, truth[scene][16:48, 32:64])
        assert len(list((tmp_path / f'out/img_dir/{split}').iterdir())) == 6
    assert run_tool('prepare/segmentation.py', 'half', tmp_path / 'out')[0] == 0
    cfg = read('segmentation/upernet_resnet50_4xb4-80k_potsdam-half-512x512')
    init_default_scope('mmseg')
    dataset = DATASETS.build({**cfg.train_dataloader.dataset, 'data_root': str(tmp_path / 'out')})
    names = [Path(dataset.get_data_info(i)['img_path']).stem for i in range(len(dataset))]
    assert names == ['2_10_00000_00000', '2_10_00000_00032', '2_10_00016_00016']


def test_us3d_heights(tmp_path, run_tool):
    write_layout('us3d', tmp_path / 'us3d', scenes=4, size=32)
    folders = [tmp_path / 'us3d/Track1-RGB', tmp_path / 'us3d/Track1-Truth']
    options = [*US3D, '--scale', '2', '--out', tmp_path / 'out']
    code, text = run_tool('prepare/height.py', *folders, *options)
    assert code == 0, text
    assert [len(list((tmp_path / f'out/img_dir/{split}').iterdir())) for split in ('train', 'val')] == [3, 1]
    path = next((tmp_path / 'out/height_dir/val').iterdir())
    number = int(path.stem.split('_')[2])
    with rasterio.open(path) as file, rasterio.open(folders[1] / f'SYN_000_{number:03d}_AGL.tif') as source:
        np.testing.assert_allclose(file.read(), source.read() * 2, rtol=1e-6)


def test_dota_tiles_keep_their_boxes(tmp_path, run_tool):
    write_layout('dota', tmp_path / 'dota', scenes=4, size=64)
    label = '10 10 30 12 28 30 8 28 plane 0\n40 2 60 2 60 12 40 12 harbor 1\n'
    (tmp_path / 'dota/train/labelTxt/P0000.txt').write_text(f'imagesource:x\ngsd:0.3\n{label}')
    options = ['--out', tmp_path / 'out', '--size', '48', '--overlap', '16']
    code, text = run_tool('prepare/dota.py', tmp_path / 'dota', *options)
    assert code == 0, text
    record = json.loads((tmp_path / 'out/annotations/train.json').read_text())
    tiles = {image['file_name']: image['id'] for image in record['images'] if image['file_name'].startswith('P0000')}
    assert list(tiles) == [f'P0000_{top:05d}_{left:05d}.png' for top in (0, 16) for left in (0, 16)]
    boxes = {
        name: [(a['category_id'], a['bbox'], a['iscrowd']) for a in record['annotations'] if a['image_id'] == number]
        for name, number in tiles.items()
    }
    # in the first tile the harbor shows 8 of its 20 columns, too few; in the second the plane shows 14 of its 22
    assert boxes['P0000_00000_00000.png'] == [(0, [8, 10, 22, 20], 0)]
    assert boxes['P0000_00000_00016.png'] == [(0, [0, 10, 14, 20], 0), (12, [24, 2, 20, 10], 1)]
    next((tmp_path / 'dota/val/labelTxt').iterdir()).write_text('1 2 3 4 5 6 7 8 submarine 0\n')
    code, text = run_tool('prepare/dota.py', tmp_path / 'dota', *options)
    assert code == 1
    assert "submarine 0' is not" in text


def test_second(tmp_path, run_tool):
    write_layout('second', tmp_path / 'second', scenes=6, size=96)
    code, text = run_tool('prepare/second.py', tmp_path / 'second', '--out', tmp_path / 'second_out')
    assert code == 0, text
    assert len(list((tmp_path / 'second_out/train/label1').iterdir())) > 1
    values = set()
    for path in (tmp_path / 'second_out/train/label1').iterdir():
        classes, changed = (
            cv2.imread(str(path.parents[1] / name / path.name), cv2.IMREAD_UNCHANGED) for name in ('label1', 'label')
        )
        source = cv2.imread(str(tmp_path / 'second/train/label1' / path.name))
        np.testing.assert_array_equal(classes == 5, (source[..., ::-1] == (128, 0, 0)).all(-1))
        np.testing.assert_array_equal(changed == 255, (source != 255).any(-1))
        values |= set(changed.ravel().tolist())
    assert values == {0, 255}
    (tmp_path / 'second/train/label1/99999.png').write_bytes(path.read_bytes())
    code, text = run_tool('prepare/second.py', tmp_path / 'second', '--out', tmp_path / 'other')
    assert code == 1
    assert 'no class of SECOND' in text


def test_bigearthnet(tmp_path, run_tool):
    write_layout('bigearthnet', tmp_path / 'ben', scenes=14, size=24)
    for part, count in ((1.0, 9), (0.5, 5)):
        options = ['--out', tmp_path / 'out', '--part', part]
        code, text = run_tool('prepare/bigearthnet.py', tmp_path / 'ben', *options)
        assert code == 0, text
        record = json.loads((tmp_path / 'out/train.json').read_text())
        assert len(record['data_list']) <= count + 2
    assert len(record['metainfo']['classes']) == 19
    for sample in record['data_list']:
        stem = Path(sample['img_path']).stem
        labels = json.loads((tmp_path / f'ben/{stem}/{stem}_labels_metadata.json').read_text())['labels']
        assert ('Pastures' in labels) == (record['metainfo']['classes'].index('Pastures') in sample['gt_label'])
    cfg = read('classification/resnet50_1xb64-ft-coslr-100e_bigearthnet-224px')
    init_default_scope('mmpretrain')
    dataset = DATASETS.build({**cfg.train_dataloader.dataset, 'data_root': str(tmp_path / 'out')})
    assert dataset[0]['inputs'].shape == (3, 224, 224)


RECIPES = {
    'classification/resnet50_1xb64-ft-coslr-100e_ucm-224px': ('ucm', 16, 'accuracy/top1'),
    'classification/resnet50_1xb64-linear-coslr-100e_bigearthnet-224px': ('bigearthnet', 16, 'multi-label/mAP'),
    'segmentation/upernet_resnet50_4xb4-80k_vaihingen-half-512x512': ('vaihingen', 8, 'mIoU'),
    'height/depth-estimator_resnet50_1xb8-25k_us3d-512x512': ('us3d', 8, 'rmse'),
    'detection/faster-rcnn_resnet50_fpn_8xb2-12e_dior-800px': ('dior', 8, 'pascal_voc/AP50'),
    'detection/retinanet_resnet50_fpn_8xb2-12e_dota-1024px': ('dota', 4, 'coco/bbox_mAP'),
    'change_detection/bit_resnet50_1xb8-40k_levir-cd-256x256': ('levir_cd', 8, 'mFscore'),
    'change_detection/siam-upernet_resnet50_1xb8-40k_oscd-256x256': ('oscd', 8, 'mFscore'),
    'change_detection/scd-upernet_resnet50_1xb8-40k_second-semantic-256x256': ('second', 8, 'binary/mIoU'),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', list(RECIPES))
def test_recipe_trains_and_evaluates(name, tmp_path, weights, run_tool):
    """From pre-trained weights, on generated data in the archive's layout, with the program that users run."""
    needs_library(name)
    layout, scenes, metric = RECIPES[name]
    root = prepare(layout, tmp_path / 'data', scenes, run_tool)
    options = small_options(name, layout, root, weights(parts(name)[1]))
    code, text = run_tool('train.py', FOLDER / f'{name}.py', '--work-dir', tmp_path / 'work', '--cfg-options', *options)
    assert code == 0, text[-2000:]
    log = log_of(tmp_path / 'work')
    assert re.search(r'matched +\d{2,}', log)
    assert re.search(r'missing +0', log)
    assert re.search(r'mean +80, 90, 100 +86\.18, .* adopted', log)
    assert re.search(r'order of bands +rgb +rgb \(bgr by .*, swapped\) +same', log)
    assert re.search(rf'{metric}: +[\d.]+', log)
    assert len(losses_of(log)) >= 2
