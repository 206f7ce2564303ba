"""mmrs-ssl pretrain: what it sees in data of many kinds, the config it writes, and a whole tiny training."""

import re
from argparse import Namespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import ResNet

from mmrs_ssl.cli.checks.machine import Machine
from mmrs_ssl.cli.checks.step import StepCost
from mmrs_ssl.cli.config import read_config
from mmrs_ssl.cli.pretrain_config import difference, make_config, write_configs, written
from mmrs_ssl.cli.pretrain_facts import look
from mmrs_ssl.cli.pretrain_machine import epochs_of, machine_choices
from mmrs_ssl.cli.pretrain_names import naming_of
from mmrs_ssl.cli.recipe import Chosen, choose
from mmrs_ssl.shipped_configs import config_names
from mmrs_ssl.synthetic.canvas import SCENE_CLASSES
from mmrs_ssl.synthetic.layouts import write_layout
from mmrs_ssl.synthetic.scene import make_scene
from mmrs_ssl.synthetic.writing import write_geotiff, write_picture
from mmrs_ssl.transfer import load_backbone
from mmrs_ssl_commands.main import parser_of, run_command

MACHINE = Machine('cpu', 'processor', 2, 10**10, bfloat16=False)
TINY = [
    'model.backbone.stem_channels=8',
    'model.backbone.base_channels=8',
    'model.neck.hid_channels=32',
    'model.local_head.hidden_channels=32',
    'model.local_head.num_prototypes=24',
    'epochs=1',
]


BY_BAND = [f'p{place}/{date}/{band}.tif' for place in '12' for date in (2020, 2021) for band in ('B2', 'B3')]


def scene(number, size=64):
    return make_scene(SCENE_CLASSES[number % len(SCENE_CLASSES)], number, size, 1.0)


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp('pictures')
    for number in range(12):
        write_picture(root / f'{number:02d}.png', scene(number).rgb())
    return root


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    root = tmp_path_factory.mktemp('pairs')
    write_layout('hr_pairs', root, scenes=3, size=80)
    return root


@pytest.fixture(scope='module')
def multispectral(tmp_path_factory):
    root = tmp_path_factory.mktemp('multispectral')
    for number in range(3):
        write_geotiff(root / f'{number}.tif', scene(number, 100).multispectral(5, np.uint16), 10.0)
    return root


def worked_out(data, tmp_path, seed=0, settings=None, **asked):
    """The config that pretrain writes, and its recipe."""
    recipe = choose(look(str(data)), config_names(), **asked, given=settings)
    cfg, choices = make_config(recipe, seed, settings or {})
    machine = machine_choices(cfg, tmp_path, MACHINE, recipe.epoch, None)
    return write_configs(cfg, recipe, choices, machine, tmp_path), recipe, cfg


def test_pictures(pictures):
    facts = look(str(pictures))
    assert (facts.kind, facts.files, facts.side, facts.convert, facts.left_out) == ('folder', 12, 64, False, 0)


def test_odd_pictures_become_rgb_and_broken_ones_are_left_out(tmp_path):
    rgb = scene(0).rgb()
    for number, image in enumerate([rgb, rgb, rgb[..., 0], rgb.astype(np.uint16) * 200, rgb[:40, :50]]):
        write_picture(tmp_path / 'a' / f'{number}.png', image)
    assert cv2.imwrite(str(tmp_path / 'alpha.png'), np.dstack([rgb, np.full((64, 64), 255, np.uint8)]))
    (tmp_path / 'broken.jpg').write_bytes(b'no picture')
    facts = look(str(tmp_path))
    assert (facts.convert, facts.files, facts.side) == (True, 6, 40)
    assert facts.left_out == pytest.approx(1 / 7)
    assert any('broken.jpg' in line for line in facts.said)
    path, *_ = worked_out(tmp_path, tmp_path / 'work')
    dataset = Config.fromfile(path).train_dataloader.dataset
    assert dataset.pipeline[0].convert == 'rgb'
    assert 1 / 7 < dataset.max_unreadable < 0.2


def test_bands_of_16_bits_get_white_and_spread(multispectral, tmp_path):
    path, recipe, _ = worked_out(multispectral, tmp_path)
    cfg = Config.fromfile(path)
    assert recipe.facts.modalities[''] == (5, 'uint16', False, False)
    assert len(cfg.model.data_preprocessor.mean) == len(cfg.train_dataloader.dataset.max_value) == 5
    pixels = np.concatenate([scene(n, 100).multispectral(5, np.uint16).reshape(-1, 5) for n in range(3)])
    assert cfg.model.data_preprocessor.mean == pytest.approx(pixels.mean(axis=0), rel=0.1)
    assert (np.array(cfg.train_dataloader.dataset.max_value) >= np.quantile(pixels, 0.98, axis=0)).all()
    assert cfg.train_dataloader.dataset.pipeline[0].bands == 5


def test_values_below_0_are_stretched(tmp_path):
    for number in range(2):
        values = scene(number, 100).multispectral(2, np.uint16).astype(np.float32) - 1000
        write_geotiff(tmp_path / f'{number}.tif', values, 10.0)
    path, *_ = worked_out(tmp_path, tmp_path / 'work')
    cfg = Config.fromfile(path)
    assert cfg.train_dataloader.dataset.pipeline[0].stretch[0][0] < 0
    assert 0 < cfg.model.data_preprocessor.mean[0] < 255
    assert cfg.train_dataloader.dataset.max_value is None


def test_modalities_are_told_by_their_names(pairs, tmp_path):
    path, recipe, _ = worked_out(pairs, tmp_path)
    assert recipe.facts.rules == dict(dom='{scene}_dom', dsm='{scene}_dsm')
    cfg = Config.fromfile(path)
    assert list(cfg.model.data_preprocessor.modalities) == ['dom', 'dsm']
    assert cfg.model.masking.masked_modality == 'dsm'
    loading, *_, jitter, _ = cfg.train_dataloader.dataset.pipeline
    assert loading.modalities.dsm == dict(bands=1, height='above_minimum')
    assert jitter.modality == 'dom'
    assert not isinstance(cfg.train_dataloader.dataset.get('max_value'), dict)


def test_one_large_scene_is_cut(tmp_path):
    file = tmp_path / 'large.tif'
    write_geotiff(file, np.tile(scene(0, 512).multispectral(4, np.uint8), (2, 2, 1)), 1.0)
    facts = look(str(file))
    assert (facts.kind, facts.side, facts.area) == ('geotiff', 1024, 1024**2)
    assert choose(facts, config_names())['windows_per_epoch'] == 1024
    picture = tmp_path / 'pictures' / 'large.png'
    write_picture(picture, np.tile(scene(0, 550).rgb(), (2, 2, 1)))
    for number in range(3):
        write_picture(picture.with_name(f'{number}.png'), np.tile(scene(number, 550).rgb(), (2, 2, 1)))
    assert look(str(picture.parent)).kind == 'geotiff'


@pytest.mark.parametrize(
    ('names', 'rules', 'bands'),
    [
        (['a/1.tif', 'b/2.tif'], {'': '{scene}'}, ()),
        (['town_3_20200101.tif', 'town_3_20210101.tif'], {'': '{scene}_{date}'}, ()),
        (['p/20200101.tif', 'p/20210101.tif'], {'': '{scene}/{date}'}, ()),
        (BY_BAND, {'': '{scene}/{date}/{band}'}, ('B2', 'B3')),
        (['RGB/1.tif', 'DSM/1.tif'], dict(rgb='RGB/{scene}', dsm='DSM/{scene}'), ()),
        (['rgb.tif', 'dsm.tif', 'dtm.tif', 'lidar_class.tif'], dict(rgb='rgb', dsm='dsm'), ()),
    ],
)  # fmt: skip
def test_names(names, rules, bands):
    found = naming_of(names)
    assert (found.rules, found.band_files) == (rules, bands)


def test_too_few_pictures_and_rasters_of_two_kinds_are_refused(tmp_path):
    write_picture(tmp_path / 'few' / '1.png', scene(0).rgb())
    with pytest.raises(ValueError, match='1 of 1 images can be used'):
        look(str(tmp_path / 'few'))
    write_geotiff(tmp_path / 'two' / '1.tif', scene(0).rgb(), 1.0)
    write_geotiff(tmp_path / 'two' / '2.tif', scene(0).multispectral(5, np.uint16), 1.0)
    with pytest.raises(ValueError, match=r'several kinds .*give a glob pattern'):
        look(str(tmp_path / 'two'))


def test_two_runs_write_the_same_recipe_and_it_is_what_trains(pictures, tmp_path):
    settings = dict(size=96)
    first, _, cfg = worked_out(pictures, tmp_path / 'a', settings=settings)
    second, *_ = worked_out(pictures, tmp_path / 'b', settings=settings)
    text = first.with_name('recipe.py').read_text()
    assert text == second.with_name('recipe.py').read_text()
    assert Config.fromfile(first.with_name('recipe.py')).to_dict() == cfg.to_dict()
    assert 'size = 96: as asked for' in text
    assert Config.fromfile(first).train_dataloader.dataset.pipeline[1].size == 96
    other, *_ = worked_out(pictures, tmp_path / 'c', seed=3)
    assert Config.fromfile(other).randomness.seed == 3


def test_config_on_top_of_another(tmp_path):
    base = dict(a=dict(b=1, c=dict(d=2)), e=[1], f=4)
    assert difference(base, base) == {}
    assert difference(base, dict(a=dict(b=1, c=dict(d=3)), e=[2], f=4)) == dict(a=dict(c=dict(d=3)), e=[2])
    assert difference(base, dict(a=dict(c=dict(d=2)), e=[1], f=4)) == dict(a=dict(_delete_=True, c=dict(d=2)))
    value = dict(words=['x' * 60, 'y' * 60], numbers=(1, 2.5), odd={'a-b': None})
    assert eval(written(value)) == value
    assert max(map(len, written(value).splitlines())) < 80


def test_hours_become_epochs_by_the_slower_of_step_and_loading():
    cost = StepCost(step=1.0, image=0.1, memory=1e9, pictures=())
    assert epochs_of(1.0, cost, batch=32, at_once=32, workers=4, epoch=3200) == Chosen(
        'train_cfg.max_epochs', 36, '1 hours; a step of 32 takes 1 s, an epoch 100 seconds'
    )
    assert epochs_of(1.0, cost, 32, 32, 1, 3200).value == 11  # loading takes 3.2 s
    assert epochs_of(1.0, cost, 32, 16, 4, 3200).value == 18
    assert epochs_of(0.001, cost, 32, 32, 4, 3200).value == 1


def test_machine_adds_precision_and_workers(pictures, tmp_path):
    recipe = choose(look(str(pictures)), config_names())
    cfg, _ = make_config(recipe, 0, {})
    able = Machine('cpu', 'processor', 8, 10**10, bfloat16=True)
    found = {each.setting: each.value for each in machine_choices(cfg, tmp_path, able, 12, None)}
    assert found['optim_wrapper.dtype'] == 'bfloat16'
    assert found['train_dataloader.num_workers'] == 4
    assert 'optim_wrapper.type' not in {each.setting for each in machine_choices(cfg, tmp_path, MACHINE, 12, None)}


def test_from_a_folder_to_a_backbone(pictures, tmp_path, capsys):
    work = tmp_path / 'work'
    assert run_command('pretrain', [str(pictures), *TINY, '--work-dir', str(work)]) == 0
    said = capsys.readouterr().out
    assert 'mmrs-ssl evaluate' in said
    assert re.search(r'collapse +student_rank|collapse +student_std', said)
    gallery = cv2.imread(str(work / 'neighbors.png'))
    assert gallery is not None
    assert gallery.std() > 10
    network = ResNet(18, stem_channels=8, base_channels=8)
    before = network.conv1.weight.clone()
    load_backbone(network, str(work / 'backbone.pth'))
    assert not torch.equal(network.conv1.weight, before)
    options = Namespace(config=str(work / 'config.py'), by_name=False, cfg_options={}, work_dir=None, launcher='none')
    again = read_config(options)
    trained = Config.fromfile(next(work.glob('20*/vis_data/config.py')))
    for part in ('model', 'train_dataloader', 'param_scheduler', 'randomness', 'custom_hooks'):
        assert trained[part] == again[part]


def test_dry_run_writes_the_config_and_no_more(pictures, tmp_path, capsys):
    work = tmp_path / 'work'
    assert run_command('pretrain', [str(pictures), '--dry-run', '--work-dir', str(work), 'batch=4']) == 0
    assert 'resnet18' in capsys.readouterr().out
    assert Config.fromfile(work / 'config.py').train_dataloader.batch_size == 4
    assert sorted(each.name for each in work.iterdir()) == ['config.py', 'configs', 'recipe.py']


def test_hours_and_epochs_contradict_each_other(pictures):
    with pytest.raises(SystemExit):
        run_command('pretrain', [str(pictures), 'epochs=3', '--hours', '1'])
    assert parser_of('pretrain').parse_args(['images']).settings == {}
