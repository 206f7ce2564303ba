"""What people change in a pre-training is one entry of --cfg-options each, in every config."""

import json
import re

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope

from mmrs_ssl import get_config
from mmrs_ssl.cli.config import check_schedule, override
from tests.conftest import ROOT, TestProbe
from tests.engine.optim.test_schedulers import NAMES, build, optimizer

COMMON = {'size', 'crops', 'epochs', 'batch', 'warmup', 'lr', 'statistics'}
VIEWS = ('CMIDViews', 'MultiSizeCrops', 'TemporalCrops', 'RandomCropResize')


def changed(name, **options):
    """A config after one entry of the command line."""
    cfg = get_config(name)
    override(cfg, options)
    return cfg


def built_views(cfg):
    """The transform that makes a config's views."""
    init_default_scope('mmpretrain')
    (step,) = [step for step in cfg.train_dataloader.dataset.pipeline if step.type.endswith(VIEWS)]
    return TRANSFORMS.build(step)


def bands_of(cfg):
    """How many bands an image of this config has, or each modality."""
    statistics = cfg.model.data_preprocessor
    if 'modalities' in statistics:
        return {name: len(values['mean']) for name, values in statistics.modalities.items()}
    return len(statistics.mean)


def views_of(cfg):
    """What the built transform makes of a generated image, or of several dates or modalities."""
    rng = np.random.default_rng(0)
    bands = bands_of(cfg)
    dates = cfg.train_dataloader.dataset.get('dates', 1)

    def image(count):
        return rng.integers(1, 256, (240, 240, count), dtype=np.uint8)

    img = {name: image(count) for name, count in bands.items()} if isinstance(bands, dict) else image(bands)
    img = [img] * dates if dates > 1 else img
    return built_views(cfg)(dict(img=img, img_shape=(240, 240), rng=rng))


def sides(results):
    """Height and width of every view or modality."""
    img = results['img']
    return [view.shape[:2] for view in (img.values() if isinstance(img, dict) else img)]


@pytest.mark.parametrize('name', NAMES)
def test_every_config_has_the_names(name):
    cfg = get_config(name)
    expected = COMMON | ({'window'} if cfg.train_dataloader.dataset.type.endswith('SceneDataset') else set())
    expected |= {'bands', 'max_value', 'band_spread'} if 'geotiff' in name and 'mssdf' not in name else set()
    assert expected <= set(cfg.short_names)


@pytest.mark.parametrize(
    'name',
    [
        'cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px',
        'cmid/cmid_resnet18_1xb64-coslr-100e_geotiff-224px',
        'dino_mc/dino-mc_resnet18_1xb64-coslr-100e_folder-224px',
        'dino_mc/dino-mc_resnet18_1xb64-coslr-100e_geotiff-224px',
        'mmpretrain/mocov2_resnet50_1xb64-coslr-200e_folder-224px',
        'mmpretrain/mocov2_resnet50_1xb64-coslr-200e_geotiff-224px',
    ],
)
def test_colors_of_views(name):
    cfg = changed(name, jitter=[0.1, 0.2, 0.3, 0.4], gray=0.9)
    (step,) = (step for step in cfg.train_dataloader.dataset.pipeline if 'gray_prob' in step)
    strengths = [value for key, value in step.items() if key.endswith('jitter')]
    assert strengths == [[0.1, 0.2, 0.3, 0.4]] * (2 if 'dino' in name else 1)
    assert step.gray_prob == 0.9
    init_default_scope('mmpretrain')
    TRANSFORMS.build(step)


@pytest.mark.parametrize('name', NAMES)
def test_size(name):
    before, cfg = sides(views_of(get_config(name))), changed(name, size=96)
    after = sides(views_of(cfg))
    if cfg.model.type == 'mmrs_ssl.DINOMC':  # the global crops
        count = cfg.model.get('num_global', 2)
        assert after == [(96, 96)] * count + before[count:]
    else:
        assert after == [(96, 96)] * len(before)
    if cfg.model.type == 'mmrs_ssl.MSSDF':
        assert cfg.train_dataloader.dataset.window == 96
    if 'vit' in name:
        assert cfg.model.backbone.img_size == 96


@pytest.mark.parametrize('name', NAMES)
def test_crops(name):
    cfg = get_config(name)
    if cfg.model.type == 'mmrs_ssl.DINOMC':  # sides of the local crops
        count = cfg.model.get('num_global', 2)
        assert sides(views_of(changed(name, crops=(40, 24))))[count:] == [(40, 40), (24, 24)]
        return
    shares = (0.5, 0.55)
    cfg = changed(name, crops=shares)
    if cfg.model.type == 'mmrs_ssl.MSSDF':  # half of the images are cropped
        assert built_views(cfg).scale == shares
        return
    results = views_of(cfg)
    source = built_views(cfg).first
    area = (source.size if source else 240) ** 2
    share = results['boxes'][:, 2] * results['boxes'][:, 3] / area
    assert (share > 0.48).all()
    assert (share < 0.57).all()


@pytest.mark.parametrize('name', NAMES)
def test_epochs_and_warm_up(name):
    length = get_config(name).train_cfg.max_epochs
    for option, value in (('epochs', 2), ('warmup', 0.5), ('train_cfg.max_epochs', 3)):
        cfg = changed(name, **{option: value})
        epochs = length if option == 'warmup' else value
        assert cfg.train_cfg.max_epochs == epochs
        check_schedule(cfg)
        warm_up, cosine = build(cfg.param_scheduler[:2], cfg.train_cfg.max_epochs, optimizer())
        share = 0.5 if option == 'warmup' else get_config(name).param_scheduler[0].share
        assert warm_up.end == max(1, round(share * epochs * 3))  # 3 iterations each
        assert cosine.begin == (0 if cfg.model.type == 'mmrs_ssl.CMID' else warm_up.end)
        assert cosine.end == epochs * 3


@pytest.mark.parametrize('name', NAMES)
def test_batch_and_learning_rate(name):
    assert changed(name, batch=7).train_dataloader.batch_size == 7
    cfg = changed(name, lr=0.123)
    assert cfg.optim_wrapper.optimizer.lr == 0.123
    assert cfg.train_dataloader.batch_size == get_config(name).train_dataloader.batch_size


@pytest.mark.parametrize('name', NAMES)
def test_statistics(name, tmp_path):
    """From a file, and as two lists; of one modality, and of all in one file."""
    numbers = dict(mean=[1.0, 2.0, 3.0, 4.0, 5.0], std=[6.0, 7.0, 8.0, 9.0, 10.0])
    path = tmp_path / 'stats.json'
    path.write_text(json.dumps(dict(bands=['a'] * 5, **numbers, files=3)))
    modalities = get_config(name).model.data_preprocessor.get('modalities')
    lists = [numbers['mean'], numbers['std']]
    init_default_scope('mmpretrain')
    if not modalities:
        for value in (str(path), lists, tuple(lists)):
            cfg = changed(name, statistics=value)
            preprocessor = MODELS.build(cfg.model.data_preprocessor)
            assert preprocessor.mean.flatten().tolist() == numbers['mean']
            assert preprocessor.std.flatten().tolist() == numbers['std']
            assert cfg.statistics == numbers  # what a dumped config says
        return
    one = next(reversed(modalities))
    everything = tmp_path / 'all.json'
    everything.write_text(json.dumps({key: numbers for key in modalities}))
    for option, value, keys in (
        (f'statistics.{one}', str(path), [one]),
        (f'statistics.{one}', lists, [one]),
        ('statistics', str(everything), list(modalities)),
    ):
        cfg = changed(name, **{option: value})
        parts = MODELS.build(cfg.model.data_preprocessor).parts
        assert list(parts) == list(modalities)
        for key, part in parts.items():
            expected = numbers if key in keys else modalities[key]
            np.testing.assert_allclose(part.mean.flatten(), expected['mean'], rtol=1e-6)
            np.testing.assert_allclose(part.std.flatten(), expected['std'], rtol=1e-6)


@pytest.mark.parametrize('name', [name for name in NAMES if 'geotiff' in name and 'mssdf' not in name])
def test_of_scenes(name):
    cfg = changed(name, window=99, max_value=9800, bands=[2, 1, 0], band_spread=[9, 8, 7])
    dataset = cfg.train_dataloader.dataset
    assert (dataset.window, dataset.max_value, dataset.pipeline[0].bands) == (99, 9800, [2, 1, 0])
    assert dataset.band_spread == [9, 8, 7]


def test_a_path_counts_more_than_a_name():
    cfg = changed('cmid_resnet18_1xb64-coslr-100e_folder-224px', **{'train_dataloader.batch_size': 5, 'batch': 6})
    assert cfg.train_dataloader.batch_size == 5


def test_a_training_by_short_names(make_config, run_tool, monkeypatch, tmp_path):
    """Every one at once, through the program that users run."""
    seen = []

    def look(runner, batch):
        warm_up = runner.param_schedulers[0]
        mean = runner.model.data_preprocessor.mean.flatten().tolist()
        seen.append(([tuple(view.shape) for view in batch['inputs']], runner.max_epochs, warm_up.end, mean))

    monkeypatch.setattr(TestProbe, 'calls', dict(before_train_iter=look))
    path = tmp_path / 'stats.json'
    path.write_text(json.dumps(dict(mean=[90.0, 91.0, 92.0], std=[40.0, 41.0, 42.0])))
    options = ['size=96', 'crops=(0.5,1.0)', 'epochs=1', 'batch=2', 'warmup=0.25', f'statistics={path}']
    hooks = ['default_hooks.probe.type=TestProbe', 'default_hooks.checkpoint=None']
    code, output = run_tool('train.py', make_config().filename, '--cfg-options', *options, *hooks)
    assert code == 0, output[-2000:]
    assert seen == [([(2, 3, 96, 96)] * 2, 1, 2, [90.0, 91.0, 92.0])] * 8


FOLDER = 'cmid_resnet18_1xb64-coslr-100e_folder-224px'
DINO = 'dino-mc_resnet18_1xb64-coslr-100e_folder-224px'
PAIRS = 'mssdf_vit-small_1xb64-coslr-100e_geotiff-224px'


@pytest.mark.parametrize(
    ('name', 'options', 'error', 'message'),
    [
        (
            FOLDER,
            dict(siz=96),
            KeyError,
            r"no key 'siz'; did you mean size\b.*Its short names: .*size \(train_dataloader",
        ),
        (DINO, dict(crops=96), TypeError, r'crops=96: expected a list as \[184, .*e\.g\. crops=\[96\]'),
        (FOLDER, dict(size='small'), TypeError, 'size=small: expected a number as 224'),
        (FOLDER, dict(statistics='none.json'), FileNotFoundError, r'none\.json: no such file; tools/band_stats\.py'),
        (FOLDER, dict(statistics=[[1.0, 2.0], [3.0]]), ValueError, r'expected mean and std, a number for each band'),
        (FOLDER, dict(statistics=[[1.0, None], [3.0, None]]), ValueError, 'a number for each band'),
        (FOLDER, dict(statistics=[1.0, 2.0]), ValueError, 'a number for each band'),
        (FOLDER, {'statistics.rgb': [[1.0], [2.0]]}, KeyError, r'no modalities, write statistics='),
        (
            PAIRS,
            {'statistics.nir': [[1.0], [2.0]]},
            KeyError,
            r'statistics of rgb, dsm by name, e\.g\. statistics\.rgb=',
        ),
        (PAIRS, dict(statistics=[[1.0], [2.0]]), KeyError, 'statistics of rgb, dsm by name'),
    ],
)
def test_clear_errors(name, options, error, message):
    with pytest.raises(error, match=message):
        changed(name, **options)


def test_a_name_that_leads_nowhere():
    cfg = get_config(FOLDER)
    cfg.train_dataloader.dataset.pipeline[1] = dict(type='mmrs_ssl.MultiSizeCrops')
    where = re.escape('no train_dataloader.dataset.pipeline.CMIDViews.size')
    with pytest.raises(KeyError, match=rf'--cfg-options size: this config has {where}.*its short_names: batch \('):
        override(cfg, dict(size=96))


@pytest.mark.parametrize(
    'options',
    [
        {'param_scheduler.0.share': 0.5},
        {'param_scheduler.0.end': 1, 'param_scheduler.1.begin': 1},  # how a warm-up of a fixed length is set
    ],
)
def test_a_warm_up_without_its_cosine(options):
    cfg = changed(FOLDER.replace('cmid', 'dino-mc'), **options)
    with pytest.raises(
        ValueError, match=r'same share, begin and end; found mmrs_ssl\.WarmupLR .*Set it with .*warmup='
    ):
        check_schedule(cfg)


def test_a_variable_is_still_refused():
    cfg = Config(dict(crop=96, short_names=dict(batch='train_dataloader.batch_size'), train_dataloader={}))
    with pytest.raises(KeyError, match="'crop' is a variable of the config file"):
        override(cfg, dict(crop=64))


@pytest.mark.parametrize(
    ('model', 'data', 'message'),
    [
        ('cmid_resnet18', 'cmid_views_224px', 'BandPreprocessor got no mean and std; they stand beside the data: add '),
        ('mssdf_vit-small', 'hr_pairs', 'modalities is empty, .*add model = dict'),
    ],
)
def test_a_config_without_statistics(model, data, message, tmp_path):
    """As one that was written when the model's base had them."""
    base = ROOT / 'configs' / '_base_'
    path = tmp_path / 'mine.py'
    bases = [str(base / part) for part in (f'models/{model}.py', f'datasets/{data}.py', 'default_runtime.py')]
    path.write_text(f'_base_ = {bases}\n')
    cfg = Config.fromfile(path)
    init_default_scope('mmpretrain')
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg.model.data_preprocessor)
    path.write_text(f'_base_ = {bases}\nmodel = dict(data_preprocessor=_base_.statistics)\n')
    assert MODELS.build(Config.fromfile(path).model.data_preprocessor).bands in (3, dict(rgb=3, dsm=1))
