"""DINO-TP's crops: which date each is of, where it came from, which are augmented; data set bases of both methods."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmrs_ssl.datasets import SampleIndex, SceneDataset
from mmrs_ssl.datasets.transforms import (
    BandDropout,
    ColorJitter,
    RandomCropResize,
    RandomGaussianBlur,
    RandomGrayscale,
    SpectralJitter,
    TemporalCrops,
)
from mmrs_ssl.scenes.placing import SceneError
from mmrs_ssl.synthetic.layouts import write_layout
from tests.datasets.transforms.test_crops import SMALL, is_plain, read_only, run
from tests.rasters.rasters import coordinates, picture, write_raster

BASES = Path(__file__).parents[3] / 'configs' / '_base_' / 'datasets'
LEVELS = (10, 40, 160)  # of the three dates: too far apart for jitter to confuse them
DATE_OF_VIEW = [1, 2, 0, 0, 0]  # global: a(t1), t2, a(t0); local: t0
MODES = ['bicubic'] * 3 + ['bilinear'] * 2


def dates_of(dtype=np.uint8, bands=3, height=90, width=110):
    return [read_only(picture(height, width, bands, dtype, 250, seed)) for seed in range(3)]


# Which date, and what becomes of it


@pytest.mark.parametrize(('colors', 'bands'), [(True, 3), (False, 3), (False, 7)])
def test_views_are_of_their_dates_and_only_two_are_augmented(colors, bands):
    dates = [np.full((40, 50, bands), level, np.uint8) for level in LEVELS]
    step, changed = TemporalCrops(**SMALL, colors=colors), []
    for seed in range(200):
        views = run(step, dates, seed)['img']
        assert [view.shape for view in views] == [(side, side, bands) for side in (24, 24, 24, 20, 14)]
        for view, date in zip(views, DATE_OF_VIEW, strict=True):
            assert LEVELS[date] * 0.59 - 0.5 <= view.min() <= view.max() <= LEVELS[date] * 1.41 + 0.5
        changed.append([bool((view != LEVELS[date]).any()) for view, date in zip(views, DATE_OF_VIEW, strict=True)])
    share = np.mean(changed, 0)
    assert share[[1, 3, 4]].tolist() == [0, 0, 0]
    assert 0.65 < share[0] < 0.85  # jittered, and by enough to be seen
    assert 0.60 < share[2] < 0.85


@pytest.mark.parametrize('colors', [True, False])
def test_crops_are_the_recorded_boxes_of_their_dates(colors):
    """Enlarged; in pixels of the date as it was loaded, mirrored or not."""
    dates = [read_only(np.random.default_rng(n).integers(60, 200, (90, 110, 3)).astype(np.uint8)) for n in range(3)]
    step, plain, flips = TemporalCrops(global_size=120, local_sizes=(80, 72), colors=colors), [], []
    for seed in range(350):
        result = run(step, dates, seed)
        views = zip(result['img'], DATE_OF_VIEW, result['boxes'], result['flips'], MODES, strict=True)
        plain.append([is_plain(view, dates[date], box, flip, mode) for view, date, box, flip, mode in views])
        flips.append(result['flips'])
        area = result['boxes'][:, 2] * result['boxes'][:, 3] / (90 * 110)
        assert ((area > 0.31) & (area <= 1))[:3].all()
        assert ((area > 0.045) & (area < 0.33))[3:].all()
    share = np.mean(plain, 0)
    assert share[[1, 3, 4]].tolist() == [1, 1, 1]
    untouched = 0.2 * (1 - 0.2 * (1 if colors else 1 - 0.8**3)) * 0.52  # by jitter, gray and visible blur
    np.testing.assert_allclose(share[[0, 2]], untouched, atol=0.05)
    mirrored = np.mean(flips, 0)
    assert mirrored[[1, 3, 4]].tolist() == [0, 0, 0]
    assert np.abs(mirrored[[0, 2]] - 0.5).max() < 0.1
    both = np.array(plain)[:, 0] & np.array(flips)[:, 0]
    assert 0.3 < both.sum() / np.sum(plain, 0)[0] < 0.7  # boxes of mirrored crops as well


def test_views_are_the_papers_chains():
    """Augmented as a whole and then cropped, each step and strength, on one random stream."""
    dates = dates_of()
    photometry = {
        True: [ColorJitter(0.4, 0.4, 0.4, 0.1, prob=0.8), RandomGrayscale(prob=0.2)],
        False: [SpectralJitter(0.4, 0.4, prob=0.8), BandDropout(prob=0.2)],
    }
    for colors in (True, False):
        cubic, linear = (dict(interpolation=mode, antialias=True) for mode in ('bicubic', 'bilinear'))
        large = [RandomCropResize(24, (0.32, 1.0), flip_prob=flip, **cubic) for flip in (0.5, 0)]
        small = [[RandomCropResize(side, (0.05, 0.32), flip_prob=0, **linear)] for side in (20, 14)]
        augmented = [*photometry[colors], RandomGaussianBlur(None, (0.1, 2.0), prob=0.5), large[0]]
        for seed in range(25):
            result, rng = run(TemporalCrops(**SMALL, colors=colors), dates, seed), np.random.default_rng(seed)
            chains = [augmented, [large[1]], augmented, *small]
            for view, date, chain in zip(result['img'], DATE_OF_VIEW, chains, strict=True):
                sample = dict(img=dates[date], rng=rng)
                for step in chain:
                    sample = step(sample)
                assert np.array_equal(view, sample['img'])


def test_a_date_drawn_twice_is_augmented_anew_and_never_written_into():
    image = dates_of()[0]
    pairs = [run(TemporalCrops(**SMALL, global_scale=(1, 1)), [image] * 3, seed)['img'][::2] for seed in range(40)]
    different = sum(not np.array_equal(first, third) for first, third, *_ in pairs)
    assert different >= 36


@pytest.mark.parametrize(('dtype', 'white'), [('uint8', None), ('uint16', 249), ('float32', 249)])
def test_three_bands_are_the_first_of_thirteen(dtype, white):
    step, many = TemporalCrops(**SMALL, colors=False, max_value=white), dates_of(dtype, 13)
    few = [np.ascontiguousarray(image[..., :3]) for image in many]
    equal = []
    for seed in range(30):
        wide, narrow = run(step, many, seed), run(step, few, seed)
        assert np.array_equal(wide['boxes'], narrow['boxes'])
        assert np.array_equal(wide['flips'], narrow['flips'])
        equal += [np.array_equal(*pair) for pair in zip([v[..., :3] for v in wide['img']], narrow['img'], strict=True)]
    assert sum(equal) >= len(equal) - 1  # one of all bands lost is the documented exception


@pytest.mark.parametrize(
    ('img', 'found'),
    [
        (picture(), 'one ndarray'),
        ([picture()] * 2, 'a list of 2'),
        ([picture()] * 4, 'a list of 4'),
        (dict(rgb=picture()), 'one dict'),
    ],
)
def test_three_dates_are_needed(img, found):
    with pytest.raises(ValueError, match=rf'place.tif: .* list of 3 dates .*, found {found}; set dates=3, min_dates=2'):
        run(TemporalCrops(**SMALL), img)


def test_dates_that_the_crops_are_not_for():
    with pytest.raises(ValueError, match='images of different sizes'):
        run(TemporalCrops(**SMALL), [picture(), picture(50, 60), picture()])
    with pytest.raises(ValueError, match='TemporalCrops expects 8-bit RGB, found 4 bands of uint8; set colors=False'):
        run(TemporalCrops(**SMALL), [picture(bands=4)] * 3)
    with pytest.raises(ValueError, match='TemporalCrops: num_local=3, expected 0 to 2'):
        TemporalCrops(**SMALL, num_local=3)


# Rasters of several dates


def write_places(root, dates):
    """A folder per place with a file per date: easting, northing, the date's level and a constant."""
    for place, count in dates.items():
        for date in range(count):
            level = np.full((2, 80, 96), 1000, np.float32)
            level[0] *= 4**date  # too far apart for jitter to confuse them
            write_raster(root / place / f'2020010{date + 1}.tif', np.concatenate([coordinates(80, 96), level]))


def places(root, **options):
    pipeline = [
        dict(type='mmrs_ssl.LoadRaster', bands=4),
        dict(type='mmrs_ssl.TemporalCrops', colors=False, **SMALL),
        dict(type='mmrs_ssl.PackViews'),
    ]
    given = dict(files='{scene}/{date}', window=64, dates=3, min_dates=2, max_value=1e6, **options)
    return SceneDataset(str(root), pipeline, **given)


def test_crops_of_windows_of_rasters_of_several_dates(tmp_path):
    write_places(tmp_path, dict(a=3, b=2))
    data, drawn = places(tmp_path), []
    for index in range(120):
        sample = data[SampleIndex(index % len(data), index, 0)]
        window, packed = sample['data_samples'].window, sample['data_samples']
        numbers = [int(date[-1]) - 1 for date in packed.dates]
        drawn.append((packed.scene, *numbers))
        for number, (view, box) in enumerate(zip(sample['inputs'], packed.boxes.tolist(), strict=True)):
            level = 1000 * 4 ** numbers[DATE_OF_VIEW[number]]
            if number in (0, 2):  # augmented
                assert 0.59 * level < view[2].median() < 1.41 * level
                continue
            torch.testing.assert_close(view[2], torch.full_like(view[2], level), atol=0, rtol=1e-5)
            east, north = window.left + box[1] + box[3] / 2, window.top + box[0] + box[2] / 2
            torch.testing.assert_close(view[:2].mean((1, 2)), torch.tensor([east, north]), atol=0.02, rtol=0)
    assert {scene for scene, *_ in drawn} == {'a', 'b'}
    of_a = [numbers for scene, *numbers in drawn if scene == 'a']
    assert {len(set(numbers)) for numbers in of_a} == {1, 2, 3}  # with replacement
    assert {number for numbers in of_a for number in numbers} == {0, 1, 2}


def test_a_place_with_a_single_date(tmp_path):
    write_places(tmp_path, dict(a=2, b=1))
    with pytest.raises(SceneError, match=r"scene 'b' has 1 date\(s\).*expected 2"):
        places(tmp_path, max_bad=0).full_init()
    left = places(tmp_path, max_bad=0.5)
    assert {left[index]['data_samples'].scene for index in range(len(left))} == {'a'}  # counted and passed over
    write_places(tmp_path / 'alone', dict(c=1))
    with pytest.raises(SceneError, match=r"scene 'c' has 1 date\(s\).*expected 2"):
        places(tmp_path / 'alone').full_init()


# Data set bases


@pytest.mark.parametrize(
    ('base', 'layout', 'globals_', 'bands', 'several'),
    [
        ('multi_size_crops_224px', 'second', 2, 3, None),
        ('seco_multi_size', 'seco', 2, 3, 1),
        ('seco_temporal', 'seco', 3, 3, 3),
        ('geotiff_multi_size', 'time_series', 2, 5, 1),
        ('geotiff_temporal', 'time_series', 3, 5, 3),
    ],
)
def test_dataset_bases(base, layout, globals_, bands, several, tmp_path):
    write_layout(layout, tmp_path, scenes=2, size=264, bands=bands)
    cfg = Config.fromfile(BASES / f'{base}.py').train_dataloader.dataset
    if base == 'geotiff_multi_size':
        cfg.files = '{scene}/{date}'
    if bands == 5:
        cfg.max_value = 10_000
    init_default_scope('mmpretrain')
    data = DATASETS.build({**cfg, 'data_root': str(tmp_path)})
    samples = [data[SampleIndex(0, epoch, 0)] for epoch in range(4)]
    for sample in samples:
        shapes = [tuple(view.shape) for view in sample['inputs']]
        assert shapes == [(bands, side, side) for side in [224] * globals_ + [184, 164, 144, 124, 104, 84]]
        assert all(view.dtype == (torch.uint8 if bands == 3 else torch.uint16) for view in sample['inputs'])
    if several:
        dates = [sample['data_samples'].dates for sample in samples]
        assert all(len(drawn) == several for drawn in dates)
        assert any(first != second for first, second in pairwise(dates))  # drawn at each visit
