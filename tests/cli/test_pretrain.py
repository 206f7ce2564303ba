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
from mmrs_ssl.cli.pretrain import default_folder
from mmrs_ssl.cli.pretrain_config import difference, make_config, write_configs, written
from mmrs_ssl.cli.pretrain_facts import look
from mmrs_ssl.cli.pretrain_machine import length_of, machine_choices
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
    assert (facts.kind, facts.side, facts.shapes) == ('geotiff', 1024, {(1024, 1024): 1})
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
    with pytest.raises(ValueError, match='1 picture can be used, expected at least 4'):
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

    def epochs(*args):
        (chosen,) = length_of(*args, windows=False)
        return chosen

    assert epochs(1.0, cost, 32, 32, 4, 3200) == Chosen(
        'train_cfg.max_epochs', 36, '1 hours; a step of 32 takes 1 s, an epoch 100 seconds'
    )
    assert epochs(1.0, cost, 32, 32, 1, 3200).value == 11  # loading takes 3.2 s
    assert epochs(1.0, cost, 32, 16, 4, 3200).value == 18
    least = epochs(0.001, cost, 32, 32, 4, 3200)
    assert least.value == 1
    assert 'one is the least' in least.why


@pytest.mark.parametrize(('hours', 'windows'), [(0.01, 36 * 32), (0.0001, 32)], ids=['minutes', 'not a second'])
def test_hours_shorter_than_an_epoch_of_windows_have_fewer_of_them(hours, windows):
    """A large scene has as many windows as fit side by side, an hour or more of them."""
    cost = StepCost(step=1.0, image=0.01, memory=1e9, pictures=())
    found = {each.setting: each.value for each in length_of(hours, cost, 32, 32, 1, 13_689, windows=True)}
    path = 'train_dataloader.dataset.windows_per_epoch'
    assert found == {'train_cfg.max_epochs': 1, path: windows}
    assert path not in {each.setting for each in length_of(2.0, cost, 32, 32, 1, 3200, windows=True)}


def test_machine_adds_precision_and_workers(pictures, tmp_path):
    recipe = choose(look(str(pictures)), config_names())
    cfg, _ = make_config(recipe, 0, {})
    able = Machine('cpu', 'processor', 8, 10**10, bfloat16=True)
    found = {each.setting: each.value for each in machine_choices(cfg, tmp_path, able, 12, None)}
    assert found['optim_wrapper.dtype'] == 'bfloat16'
    assert found['train_dataloader.num_workers'] == 4
    assert 'optim_wrapper.type' not in {each.setting for each in machine_choices(cfg, tmp_path, MACHINE, 12, None)}


@pytest.mark.parametrize(
    ('kind', 'bands', 'more'),
    [('pictures', 3, []), ('multispectral', 5, ['train_dataloader.dataset.windows_per_epoch=32'])],
)
def test_from_data_to_a_backbone(kind, bands, more, tmp_path, capsys, request):
    """Also of more bands than OpenCV resizes at once."""
    work = tmp_path / 'work'
    data = str(request.getfixturevalue(kind))
    assert run_command('pretrain', [data, *TINY, *more, '--work-dir', str(work)]) == 0
    said = capsys.readouterr().out
    assert 'mmrs-ssl evaluate' in said
    assert re.search(r'collapse +student_rank|collapse +student_std', said)
    gallery = cv2.imread(str(work / 'neighbors.png'))
    assert gallery is not None
    assert gallery.std() > 10
    network = ResNet(18, stem_channels=8, base_channels=8, in_channels=bands)
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


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (['batch=0'], 'batch=0, expected a whole number of at least 1; leave it out'),
        (['batch=ten'], "batch='ten', expected a whole number of at least 1"),
        (['batch=-4'], 'batch=-4, expected'),
        (['size=0'], 'size=0, expected'),
        (['size=-64'], 'size=-64, expected'),
        (['window=0'], 'window=0, expected'),
        (['epochs=0'], 'epochs=0, expected'),
        (['train_dataloader.batch_size=0'], 'train_dataloader.batch_size=0, expected a whole number'),
        (['lr=-1'], 'optim_wrapper.optimizer.lr=-1, expected a number of at least 0'),
        (['lr=high'], 'error: lr=high: expected a number'),
        (['extent=64'], 'error: extent: the config has no key'),
        (['--seed', '-1'], '--seed=-1, expected a whole number of at least 0'),
        (['--hours', 'nan'], '--hours=nan, expected a number above 0'),
        (['--hours', 'inf'], '--hours=inf, expected a number above 0'),
        (['--hours', '0'], '--hours=0.0, expected a number above 0'),
        (['--hours', '1', 'train_cfg.max_epochs=3'], 'train_cfg.max_epochs=3 both say how long'),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(pictures, tmp_path, capsys, given, message):
    work = tmp_path / 'work'
    with pytest.raises(SystemExit):
        run_command('pretrain', [str(pictures), '--dry-run', '--work-dir', str(work), *given])
    said = capsys.readouterr().err
    assert message in said
    assert 'cfg-options' not in said.replace(' did you mean', '')
    assert not work.exists()


def dry_run(data, work, *more):
    return run_command('pretrain', [str(data), '--dry-run', '--work-dir', str(work), *more])


def test_another_recipe_is_written_over_only_when_that_is_said(pictures, tmp_path, capsys):
    assert dry_run(pictures, tmp_path / 'work') == dry_run(pictures, tmp_path / 'work') == 0
    before = (tmp_path / 'work' / 'recipe.py').read_text()
    with pytest.raises(SystemExit):
        dry_run(pictures, tmp_path / 'work', 'size=96')
    assert 'recipe.py says otherwise than what was worked out now: write over it with --ov' in capsys.readouterr().err
    assert (tmp_path / 'work' / 'recipe.py').read_text() == before
    assert dry_run(pictures, tmp_path / 'work', 'size=96', '--overwrite') == 0
    assert 'size = 96: as asked for' in (tmp_path / 'work' / 'recipe.py').read_text()


def test_recipe_of_checkpoints_stays(pictures, tmp_path, capsys):
    work = tmp_path / 'work'
    assert dry_run(pictures, work) == 0
    before = {path.name: path.read_text() for path in work.glob('*.py')}
    meta = dict(epoch=1, iter=3, seed=0)
    torch.save(dict(state_dict={}, optimizer={}, meta=meta, message_hub={}, param_schedulers=[]), work / 'epoch_1.pth')
    for more in (['size=96'], ['--overwrite', 'size=96'], []):
        with pytest.raises(SystemExit):
            dry_run(pictures, work, *more)
        said = capsys.readouterr().err
        assert 'holds 1 checkpoint of an earlier run (epoch_1.pth), whose settings would be written over' in said
        assert 'a dry run removes none' in said
    with pytest.raises(SystemExit):
        run_command('pretrain', [str(pictures), *TINY, '--work-dir', str(work)])
    assert 'remove them with --overwrite' in capsys.readouterr().err
    assert {path.name: path.read_text() for path in work.glob('*.py')} == before


def test_recipe_of_checkpoints_stays_where_a_new_run_ends_before_its_first_step(pictures, tmp_path, capsys):
    work = tmp_path / 'work'
    assert dry_run(pictures, work) == 0
    before = {path.name: path.read_text() for path in work.glob('*.py')}
    meta = dict(epoch=1, iter=3, seed=0)
    torch.save(dict(state_dict={}, optimizer={}, meta=meta, message_hub={}, param_schedulers=[]), work / 'epoch_1.pth')
    spoilt = [*TINY, '--work-dir', str(work), '--overwrite', 'model.data_preprocessor.std=[0.2,0.2,0.2]']
    assert run_command('pretrain', [str(pictures), *spoilt]) == 1
    assert 'error' in capsys.readouterr().out
    assert {path.name: path.read_text() for path in work.glob('*.py')} == before
    assert [path.name for path in work.glob('*.pth')] == ['epoch_1.pth']


@pytest.mark.parametrize(
    ('data', 'folder'),
    [
        ('scenes', 'pretrain_scenes'),
        ('scenes/v1.2', 'pretrain_v1.2'),
        ('scenes/*', 'pretrain_scenes'),
        ('scenes/**/*_rgb.tif', 'pretrain_scenes_rgb'),
        ('scenes/large one.tif', 'pretrain_large_one'),
    ],
)
def test_work_dir_is_called_after_the_data(tmp_path, data, folder):
    (tmp_path / 'scenes' / 'v1.2').mkdir(parents=True)
    assert default_folder(str(tmp_path / data)) == f'work_dirs/{folder}'


def test_weights_to_start_from_are_told_and_trained_more_softly(pictures, tmp_path, capsys):
    file = tmp_path / 'resnet18.pth'
    torch.save(dict(state_dict=ResNet(18).state_dict()), file)
    assert dry_run(pictures, tmp_path / 'work', '--init', str(file)) == 0
    said = capsys.readouterr().out
    assert f'the same as: mmrs-ssl train {tmp_path}/work/config.py --init {file}' in said
    assert '0.0008 for 256 images' in said
    cfg = Config.fromfile(tmp_path / 'work' / 'config.py')
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.2 * 4e-3)
    assert {each.share for each in cfg.param_scheduler if 'share' in each} == {0.02}
    remarks = (tmp_path / 'work' / 'recipe.py').read_text()
    assert f'# init = {file}: the backbone starts from it; tools/train.py has to be given --init FILE' in remarks
    assert '0.2 of the 0.004 for random weights' in remarks
    _, choices = make_config(choose(look(str(pictures)), config_names()), 0, dict(lr=0.003, warmup=0.1), str(file))
    assert {each.setting: each.value for each in choices}['warmup'] == 0.1
    assert next(each for each in choices if each.setting == 'learning rate').why == '0.003 for 256 images, scaled to 4'


def test_weights_that_do_not_fit_end_a_dry_run(pictures, tmp_path, capsys):
    torch.save(dict(state_dict=ResNet(34).state_dict()), tmp_path / 'resnet34.pth')
    (tmp_path / 'broken.pth').write_bytes(b'PK no weights')
    for name, message in (('resnet34.pth', 'ResNet'), ('broken.pth', 'broken.pth'), ('none.pth', 'no such file')):
        with pytest.raises(SystemExit):
            dry_run(pictures, tmp_path / 'work', '--init', str(tmp_path / name))
        assert message in capsys.readouterr().err
    assert not (tmp_path / 'work').exists()


def test_learning_rate_of_several_modalities_says_where_it_comes_from(pairs):
    cfg, choices = make_config(choose(look(str(pairs)), config_names()), 0, {})
    assert cfg.optim_wrapper.optimizer.lr == 1.5e-4
    rate = next(each for each in choices if each.setting == 'learning rate')
    assert rate.why.startswith('0.00015 for 256 images, scaled to 32; as published for its deep networks')


def test_hours_and_epochs_contradict_each_other(pictures):
    with pytest.raises(SystemExit):
        run_command('pretrain', [str(pictures), 'epochs=3', '--hours', '1'])
    assert parser_of('pretrain').parse_args(['images']).settings == {}
