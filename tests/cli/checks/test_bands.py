"""Findings about bands and statistics, each with one mistake planted."""

import re

import numpy as np
import pytest
from mmengine.registry import MODELS

from mmrs_ssl.cli.checks.bands import (
    check_bands,
    check_spread,
    check_statistics,
    check_white,
    compare_pixels,
    compare_spread,
    compare_white,
    statistics_of,
)
from mmrs_ssl.cli.checks.planned import Pixels, deviations_in, measure_pixels
from mmrs_ssl.synthetic.writing import write_geotiff
from tests.cli.checks.planning import above_notes, only, plan
from tests.conftest import cmid_config, mssdf_config


def pixels(mean, std, dtype='uint16', bright=None, spread=None):
    measured = mean, std, mean if bright is None else bright, std if spread is None else spread
    return Pixels(*(np.array(each, float) for each in measured), dtype, 256, 16)


def compare(found, mean, std):
    return list(compare_pixels('', found, np.array(mean, float), np.array(std, float)))


def test_what_fits_is_a_note(make_config):
    planned = plan(make_config())
    assert not above_notes([*check_bands(planned), *check_statistics(planned)])
    (note,) = check_statistics(planned)
    assert 'normalized pixels of 16 images (uint8)' in note.seen


def test_what_cannot_be_compared_is_said(make_config):
    planned = plan(make_config())
    planned.dataset.pipeline.transforms.insert(0, planned.dataset.pipeline.transforms[-1])
    (note,) = check_statistics(planned)
    assert (note.level, note.seen) == ('note', 'not compared: the pipeline does not begin by loading')


def test_statistics_of_other_bands_than_the_data(make_config):
    found = only(check_bands(plan(make_config(model=cmid_config(bands=4)))))
    assert (found.level, found.seen) == ('error', 'samples of 3 bands, mean and std of 4')
    assert 'model.data_preprocessor.mean and .std = 3 numbers each' in found.change


def test_a_network_of_other_bands_than_the_statistics(make_config):
    planned = plan(make_config())
    planned.model.backbone = MODELS.build(dict(type='ResNet', depth=18, in_channels=5))
    found = only(check_bands(planned))
    assert found.seen == 'the first layer takes 5 bands, mean and std are of 3'
    assert found.change == 'model.backbone.in_channels = 3'


def test_a_modality_that_is_not_loaded(make_config):
    found = only(check_bands(plan(make_config(model=mssdf_config(dict(rgb=3, dsm=1, nir=1))))))
    assert found.seen == "statistics of 'nir', samples have 'rgb', 'dsm'"


def test_modalities_have_statistics_of_their_own(make_config):
    model = mssdf_config()
    model['data_preprocessor']['modalities']['dsm'] = dict(mean=[5.0], std=[100.0])
    planned = plan(make_config(model=model))
    found = only(check_statistics(planned))
    assert found.about == 'statistics of dsm'
    assert 'model.data_preprocessor.modalities.dsm.std = [' in found.change
    assert found.change.endswith('statistics.dsm = a file of tools/band_stats.py')


@pytest.mark.parametrize(
    ('found', 'mean', 'std', 'level', 'words'),
    [
        # 16 bits that were divided by 255 while the statistics are of the files, and the other way round
        (pixels([8.0, 9.0], [3.5, 3.6], 'float32'), [2040, 2300], [900, 920], 'error', 'the data were divided by 255'),
        (pixels([2040, 2300], [900, 920]), [8.0, 9.0], [3.5, 3.6], 'error', 'the statistics were divided by 255'),
        (pixels([2000.0], [900.0]), [0.2], [0.09], 'error', 'the statistics were divided by 10,000'),
        (pixels([2000.0], [900.0]), [114.0], [40.0], 'error', 'mean 47.15, std 22.5'),
        (pixels([120.0, 250.0], [50.0, 50.0]), [120.0, 120.0], [50.0, 50.0], 'warning', 'mean 0, 2.6'),
        (pixels([120.0, 120.0], [50.0, 12.0]), [120.0, 120.0], [50.0, 50.0], 'warning', 'std 1, 0.24'),
        (pixels([120.0], [0.0]), [120.0], [50.0], 'error', 'are all the same'),
        (pixels([np.nan], [np.nan]), [120.0], [50.0], 'error', 'are no numbers in some places'),
    ],
)
def test_statistics_that_are_not_of_the_data(found, mean, std, level, words):
    (finding,) = compare(found, mean, std)
    assert finding.level == level
    assert words in finding.seen
    assert ('model.data_preprocessor.mean = [' in finding.change) == ('are' not in words.split()[:1])


@pytest.mark.parametrize(('shift', 'factor'), [(1.9, 1), (0, 2.9), (0, 1 / 2.9)])
def test_another_region_is_no_other_unit(shift, factor):
    (finding,) = compare(pixels([120 + 50 * shift], [50 * factor]), [120], [50])
    assert finding.level == 'note'


def test_bands_that_the_preprocessor_swaps():
    """Statistics are then those of the swapped bands."""
    model = type('Model', (), {})()
    model.data_preprocessor = MODELS.build(
        dict(type='SelfSupDataPreprocessor', mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], bgr_to_rgb=True)
    )
    mean, std = statistics_of(model)['']
    assert mean.tolist() == [3, 2, 1]
    assert std.tolist() == [6, 5, 4]


def test_pixels_are_measured_as_they_are_loaded(make_config, tmp_path):
    """Without augmentation, every band by itself, of whatever type."""
    rng = np.random.default_rng(0)
    images = rng.normal([1000, 3000], [100, 400], (3, 80, 90, 2)).round().astype(np.uint16)
    for number, image in enumerate(images):
        write_geotiff(tmp_path / 'scenes' / f'{number}.tif', image, 1.0)
    cfg = make_config(model=cmid_config(bands=2), data_root=tmp_path / 'scenes')
    cfg.train_dataloader.dataset.pipeline[0].bands = 2
    cfg.train_dataloader.dataset.pipeline[1].colors = False
    cfg.train_dataloader.dataset.pipeline[1].max_value = 5000
    found = measure_pixels(plan(cfg).dataset, 32)['']
    np.testing.assert_allclose(found.mean, images.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(found.std, images.std(axis=(0, 1, 2)))
    by_hand = [[np.sort(image[..., band].ravel())[round(0.99 * (80 * 90 - 1))] for band in (0, 1)] for image in images]
    np.testing.assert_allclose(found.bright, np.mean(by_hand, axis=0), atol=2)
    assert (found.dtype, found.side, found.images) == ('uint16', 80, 3)


@pytest.mark.parametrize(
    ('bright', 'white', 'level', 'words'),
    [
        ([3000.0, 2000.0], [10_000.0], None, None),
        ([3000.0, 2000.0], [3000.0, 2000.0], None, None),
        ([12_000.0, 40.0], [12_500.0], None, None),  # a band of cirrus is dark
        ([12_000.0, 9000.0], [10_000.0], 'warning', 'cut off'),
        ([3000.0, 2000.0], [3500.0, 1500.0], 'warning', 'cut off'),
        ([3000.0, 2000.0], [1.0], 'error', 'max_value is 1: jitter and noise cut off'),
        ([0.3, 0.2], [10_000.0], 'warning', 'above 0.3, 0.2, max_value is 10000: nothing comes near'),
        ([np.nan, 2.0], [1.0], None, None),
    ],
)
def test_white_is_near_the_brightest_pixels(bright, white, level, words):
    found = list(compare_white('x.max_value', pixels([1.0, 1.0], [1.0, 1.0], bright=bright), np.array(white)))
    assert [each.level for each in found] == ([level] if level else [])
    assert all(words in each.seen and each.change.startswith('x.max_value = ') for each in found)


def test_white_of_a_transform(make_config, tmp_path):
    """Of a config as it is built; the place that is wrong is named."""
    image = np.full((80, 90, 2), [1000, 3000], np.uint16) + np.arange(90, dtype=np.uint16)[:, None]
    write_geotiff(tmp_path / 'scenes' / '0.tif', image, 1.0)
    cfg = make_config(model=cmid_config(bands=2), data_root=tmp_path / 'scenes')
    cfg.train_dataloader.dataset.pipeline[0].bands = 2
    cfg.train_dataloader.dataset.pipeline[1].update(colors=False, max_value=255)
    found = only(check_white(plan(cfg)))
    assert (found.level, found.about) == ('error', 'white')
    assert '(uint16) are above 1089, 3089, max_value is 255: jitter' in found.seen
    assert found.change.startswith('train_dataloader.dataset.pipeline.1.max_value = 1089, 3089 or more')


def test_white_of_a_data_set_of_modalities(make_config):
    cfg = make_config(model=mssdf_config())
    cfg.train_dataloader.dataset.max_value = dict(rgb=255, dsm=1e6)
    assert 'max_value is 1e+06: nothing comes near it' in only(check_white(plan(cfg))).seen


@pytest.mark.parametrize(
    ('spread', 'said', 'words', 'better'),
    [
        ([150.0, 4.0], [150.0, 4.0], None, None),
        ([150.0, 4.0], [40.0], 'deviate by 150, 4, band_spread is 40, 40: noise hides what they show', '[150, 4]'),
        ([150.0, 4.0], [10.0, 4.0], 'noise is nothing beside it', '[150, 4]'),
        ([150.0, np.nan], [150.0], None, None),  # a band that is the same everywhere says nothing
        ([150.0, np.nan], [1500.0, 7.0], 'noise hides what they show', '[150, 7]'),
    ],
)
def test_noise_is_measured_by_what_neighbors_differ(spread, said, words, better):
    found = list(compare_spread('x.band_spread', pixels([1.0, 1.0], [1.0, 1.0], spread=spread), np.array(said)))
    assert [each.level for each in found] == (['warning'] if words else [])
    assert all(words in each.seen and each.change.startswith(f'x.band_spread = {better}') for each in found)


def test_spread_of_a_config_against_the_pixels_of_its_files(make_config, tmp_path):
    """Steep from patch to patch, rough within: what the archive's deviation does not tell."""
    rng = np.random.default_rng(0)
    steps = np.kron(rng.integers(0, 9, (4, 3)) * 1000, np.ones((32, 32)))
    image = (steps[..., None] + rng.normal(500, [10, 100], (128, 96, 2))).clip(0).astype(np.uint16)
    write_geotiff(tmp_path / 'scenes' / '0.tif', image, 1.0)
    cfg = make_config(model=cmid_config(bands=2), data_root=tmp_path / 'scenes')
    cfg.train_dataloader.dataset.pipeline[0].bands = 2
    views = cfg.train_dataloader.dataset.pipeline[1]
    views.update(colors=False, max_value=9600, band_spread=[10, 100])
    assert list(check_spread(plan(cfg))) == []
    views.band_spread = 2500
    found = only(check_spread(plan(cfg)))
    assert (found.level, found.about) == ('warning', 'spread')
    assert re.search(r'deviate by (9|10)\.?\d*, (9\d|10\d)\.?\d*, band_spread is 2500, 2500: noise hides', found.seen)
    assert found.change.startswith('train_dataloader.dataset.pipeline.1.band_spread = [')


def test_scales_of_a_data_set_are_not_those_of_8_bits(make_config):
    """Transforms take them for images of other types alone; a transform's own counts for all."""
    cfg = make_config(model=mssdf_config())
    cfg.train_dataloader.dataset.update(max_value=dict(rgb=1), band_spread=dict(dsm=3000, rgb=3000))
    assert list(check_white(plan(cfg))) == []
    assert only(check_spread(plan(cfg))).change.startswith('train_dataloader.dataset.band_spread.dsm = [')
    cfg = make_config()
    cfg.train_dataloader.dataset.pipeline[1].band_spread = 3000
    assert only(check_spread(plan(cfg))).change.startswith('train_dataloader.dataset.pipeline.1.band_spread = [')


@pytest.mark.parametrize('shape', [(70, 100, 2), (20, 50, 3), (700, 40, 1)])
def test_deviations_are_of_patches_all_over_an_image(shape):
    image = np.random.default_rng(0).normal(size=shape) * np.arange(1, 1 + shape[1])[:, None]
    image[:32, :32, 0] = 0  # constant patches do not count
    starts = [range(0, max(side - 31, 1), 32) for side in shape[:2]]
    rows, columns = (each[:: 2 if len(each) > 16 else 1] for each in starts)
    deviations = [image[r : r + 32, c : c + 32].std(axis=(0, 1)) for r in rows for c in columns]
    for band, found in enumerate(deviations_in(image)):
        np.testing.assert_allclose(found, [each[band] for each in deviations if each[band] > 0])
