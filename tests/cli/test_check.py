"""tools/check.py: no false alarm on any shipped config, and one table for what is wrong."""

import re

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mmrs_ssl import get_config
from mmrs_ssl.cli.check import check_config
from mmrs_ssl.cli.checks.quick import look_at
from mmrs_ssl.cli.config import override
from mmrs_ssl.synthetic.canvas import SCENE_CLASSES
from mmrs_ssl.synthetic.scene import make_scene
from mmrs_ssl.synthetic.writing import write_geotiff
from tests.cli.checks.planning import above_notes, plan
from tests.conftest import ROOT, dino_config
from tests.test_mmpretrain_configs import shrink

CONFIGS = sorted(
    path.relative_to(ROOT / 'configs').as_posix()
    for folder in ('cmid', 'dino_mc', 'mssdf', 'mmpretrain')
    for path in (ROOT / 'configs' / folder).glob('*.py')
)
# Networks of the same patches, windows and normalization as published, in small.
SMALL = dict(
    ResNet=dict(stem_channels=8, base_channels=8),
    VisionTransformer=dict(arch=dict(embed_dims=64, num_layers=1, num_heads=2, feedforward_channels=64)),
    PaddedSwinTransformer=dict(arch=dict(embed_dims=8, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2])),
)
# What the published data sets have; of others a usual number.
IMAGES = {'millionaid': 990_848, 'seco': 100_000, 'hr-pairs': 640_000, 'potsdam': 5472, 'demo': 800, 'rsscn7': 1400}
SIDE = 340


@pytest.fixture(scope='module')
def archive(tmp_path_factory):
    """Four generated scenes in the layout of every data set, each in the units that it is published in."""
    root = tmp_path_factory.mktemp('archive')
    for number in range(4):
        scene = make_scene(SCENE_CLASSES[number], seed=number, size=SIDE, gsd=0.5)
        rgb, four, ten = scene.rgb(), scene.multispectral(4, np.uint8), scene.multispectral(10, np.uint16)
        for folder, side in (('folder', SIDE), ('millionaid', SIDE), ('demo', 96), ('rsscn7', 128)):
            (root / folder).mkdir(exist_ok=True)
            assert cv2.imwrite(str(root / folder / f'{number}.png'), rgb[:side, :side, ::-1])
        write_geotiff(root / 'geotiff' / f'{number}.tif', four, 0.5)
        large = cv2.resize(rgb, (600, 600), interpolation=cv2.INTER_LINEAR)
        write_geotiff(root / 'potsdam' / f'top_potsdam_2_{number}_RGB.tif', large, 0.05)
        for date in ('20200101', '20200601'):
            write_geotiff(root / 'temporal' / f'place{number}' / f'{date}.tif', four, 0.5)
            for band, name in enumerate(('B4', 'B3', 'B2')):  # in the published files' 0 to 129
                write_geotiff(root / 'seco' / f'{number}' / date / f'{name}.tif', rgb[:264, :264, band] // 2, 10.0)
        pairs = dict(rgb=rgb, dom=rgb, irc=rgb[..., ::-1].copy(), dsm=scene.dsm, ms=ten)
        for kind, image in pairs.items():
            write_geotiff(root / 'pairs' / f'{number}_{kind}.tif', image, 0.5)
    return root


def data_of(name, archive):
    if name.startswith('mssdf'):
        return archive / 'pairs'
    if 'dino-tp' in name and 'geotiff' in name:
        return archive / 'temporal'
    return archive / next(
        kind for kind in ('folder', 'geotiff', 'millionaid', 'potsdam', 'seco', 'demo', 'rsscn7') if kind in name
    )


def shipped(name, archive):
    """A shipped config as it is, with a small network, on generated data."""
    cfg = get_config(name)
    override(cfg, dict(data_root=str(data_of(name, archive))))
    cfg.work_dir = str(archive)
    if name.startswith('mmpretrain'):
        queue = cfg.model.get('queue_len')
        shrink(cfg, name.split('/')[1].split('_')[0])
        cfg.model.update({} if queue is None else dict(queue_len=queue))
    else:
        kind = cfg.model.backbone.type.split('.')[-1]
        for option in ('arch', 'expansion'):
            cfg.model.backbone.pop(option, None)
        cfg.model.backbone.update(SMALL[kind], **(dict(depth=18) if kind == 'ResNet' else {}))
    return cfg


@pytest.mark.parametrize(
    'name',
    [name if re.search('resnet18|mssdf|mae', name) else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS],
)
def test_no_false_alarm_on_a_shipped_config(name, archive):
    """On as many devices as its name says, with as many images as its data set has."""
    devices = int(re.search(r'_(\d+)xb\d+-', name)[1])
    images = next((count for kind, count in IMAGES.items() if kind in name), 2000)
    cfg = shipped(name, archive)
    if name.startswith('dino_mc') and 'num_prototypes' not in cfg.model.head:
        cfg.model.num_images = images  # as a training writes it in
    planned = plan(cfg, devices=devices, images=images)
    found = list(look_at(planned))
    assert [str(each) for each in above_notes(found)] == []
    assert {'statistics', 'crop', 'images'} <= {re.sub(' of .*', '', each.about) for each in found}


def test_all_planted_mistakes_are_in_one_table(make_config, run_tool):
    """With what to change, the errors first; no step is tried."""
    cfg = make_config('auto_scale_lr = dict(enable=True)\n')
    options = ['model.mask_block=24', 'model.data_preprocessor.std=[0.2,0.2,0.2]', 'model.global_head.queue_length=5']
    code, output = run_tool('check.py', cfg.filename, '--cfg-options', *options)
    assert code == 1, output
    levels = re.findall(r'^│ (error|warning|note) +│ ([\w -]+?) +│', output, re.M)
    assert [about for level, about in levels if level == 'error'] == ['statistics', 'mask']
    assert [about for level, about in levels if level == 'warning'] == ['queue']
    assert [level for level, _ in levels] == sorted(
        (level for level, _ in levels), key=['error', 'warning', 'note'].index
    )
    assert '2 errors, 1 warnings' in output
    assert 'model.mask_block = 32' in output
    assert ('note', 'time') not in levels


def test_a_real_step_of_a_config_that_fits(make_config, run_tool, tmp_path):
    cfg = make_config('auto_scale_lr = dict(enable=True)\n')
    code, output = run_tool('check.py', cfg.filename)
    assert code == 0, output
    assert '0 errors, 0 warnings' in output
    for about in ('memory', 'time', 'loader or step', 'pictures'):
        assert f' {about} ' in output
    assert len(list((tmp_path / 'work' / 'check').glob('sample_*.png'))) == 4


@pytest.mark.parametrize(
    ('options', 'about', 'words'),
    [
        (dict(data_root='/nowhere'), 'data', '/nowhere'),
        ({'model.mask_token_mode': 'nothing'}, 'model', 'nothing'),
        ({'model.backbone.dept': 18}, 'model', "unknown config key 'dept' of ResNet; did you mean 'depth'?"),
    ],
)
def test_what_cannot_be_built_is_a_finding(make_config, options, about, words):
    cfg = make_config()
    override(cfg, options)
    init_default_scope('mmpretrain')
    found = [each for each in check_config(cfg) if each.level == 'error']
    assert [each.about for each in found] == [about]
    assert words in found[0].seen


def test_a_head_that_sizes_itself_by_the_data(make_config):
    """As in a training: sixteen images have the fewest prototypes."""
    model = dino_config('vit')
    del model['head']['num_prototypes']
    init_default_scope('mmpretrain')
    (note,) = [each for each in check_config(make_config(model=model)) if each.about == 'prototypes']
    assert note.seen == '256 prototypes for 16 images'


def test_impossible_options(make_config, run_tool):
    code, output = run_tool('check.py', make_config().filename, '--devices', 0)
    assert code == 2
    assert "argument --devices: '0'; expected a whole number of at least 1" in output
