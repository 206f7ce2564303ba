"""Augmentation of any number of bands, dates and modalities: a band's result does not depend on those that follow."""

import math

import numpy as np
import pytest

from mmrs_ssl.datasets.transforms import (
    BandDropout,
    ColorJitter,
    RandomCropResize,
    RandomFlip,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomNoise,
    RandomRotate90,
    RandomSolarize,
    ResizeToSize,
    SpectralJitter,
    Views,
)
from mmrs_ssl.rasters.band_by_band import band_means, in_threes
from tests.rasters.rasters import picture

WHITE = dict(uint8=None, uint16=9000, float32=1.0)
INTERPOLATIONS = ('nearest', 'bilinear', 'bicubic', 'area')


def image_of(dtype, bands=13, height=61, width=47, seed=0):
    """(H, W, C) from 0 to almost white, read-only as a transform must not write into its input."""
    image = picture(height, width, bands, dtype, dict(uint8=256, uint16=9000, float32=2)[dtype], seed)
    image.setflags(write=False)
    return image


def sample_of(img, seed=0, **more):
    return dict(img=img, rng=np.random.default_rng(seed), img_path='place.tif', **more)


def run(chain, img, seed=0, **more):
    sample = sample_of(img, seed, **more)
    for step in chain:
        sample = step(sample)
    return sample


def band_transforms(white):
    """Every transform for any number of bands, sure to act."""
    return [
        RandomFlip(prob=1),
        RandomRotate90(prob=1),
        ResizeToSize(40),
        *[RandomCropResize(33, interpolation=name) for name in INTERPOLATIONS],
        RandomCropResize(90, interpolation='bicubic', prob=0.5),
        RandomGaussianBlur(),
        SpectralJitter(prob=1, max_value=white),
        RandomNoise(prob=1, max_value=white),
        RandomSolarize(prob=1, max_value=white),
        BandDropout(0.3, prob=1),
    ]


# Three bands, and the first three of more


@pytest.mark.parametrize('bands', [4, 5, 13])
@pytest.mark.parametrize('dtype', WHITE)
@pytest.mark.parametrize('number', range(len(band_transforms(None))))
def test_first_three_bands_are_those_of_a_three_band_image(number, dtype, bands):
    step = band_transforms(WHITE[dtype])[number]
    many = image_of(dtype, bands)
    few = np.ascontiguousarray(many[..., :3])
    changed = 0
    for seed in range(12):
        wide, narrow = run([step], many, seed), run([step], few, seed)
        assert wide['img'].shape[2] == bands
        assert wide['img'].dtype == narrow['img'].dtype == many.dtype
        changed += not np.array_equal(narrow['img'], few)
        if isinstance(step, BandDropout) and losing_all_but_one(narrow['img'], few):
            continue  # the documented exception
        assert np.array_equal(wide['img'][..., :3], narrow['img'])
        assert wide['rng'].bit_generator.state == narrow['rng'].bit_generator.state  # what follows agrees as well
    assert changed >= 6


def losing_all_but_one(image, source):
    return sum(np.array_equal(image[..., band], source[..., band]) for band in range(source.shape[2])) == 1


@pytest.mark.parametrize('dtype', WHITE)
def test_first_three_bands_agree_through_a_whole_pipeline(dtype):
    """Each transform by chance, twice over, in views of different parameters."""
    white = WHITE[dtype]
    rough = dict(max_value=white, prob=0.5)
    strong = [
        RandomCropResize(33, interpolation='bicubic', prob=0.7),
        SpectralJitter(**rough),
        RandomGaussianBlur(prob=0.5),
        RandomNoise(**rough),
        RandomSolarize(**rough),
        BandDropout(0.1, prob=0.5),
        SpectralJitter(**rough),
        RandomNoise(**rough),
    ]
    pipeline = [ResizeToSize(56), RandomFlip(), RandomRotate90(), Views([strong, [RandomCropResize(24), *strong[1:]]])]
    many = image_of(dtype)
    seen = set()
    for seed in range(40):
        wide, narrow = run(pipeline, many, seed), run(pipeline, many[..., :3], seed)
        assert np.array_equal(wide['boxes'], narrow['boxes'])
        assert np.array_equal(wide['flips'], narrow['flips'])
        for first, second in zip(wide['img'], narrow['img'], strict=True):
            assert np.array_equal(first[..., :3], second)
            seen.add(second.tobytes())
    assert len(seen) == 80


@pytest.mark.parametrize('bands', [1, 2, 3, 4, 6, 13])
def test_in_threes_keeps_bands_in_order_and_apart(bands):
    image, groups = image_of('uint16', bands), []

    def double(part):
        groups.append(1 if part.ndim == 2 else part.shape[2])
        return part * 2

    assert np.array_equal(in_threes(double, image), image * 2)
    assert groups == [3] * (bands // 3) + [bands % 3] * (bands % 3 > 0)


@pytest.mark.parametrize('dtype', WHITE)
def test_band_means_do_not_drift_whatever_the_layout(dtype):
    image = image_of(dtype, 13, 300, 280)
    for source in (image, image[::-1, ::-1], np.rot90(image), image[3:90, 5:70]):
        expected = [math.fsum(source[..., band].ravel().tolist()) / source[..., band].size for band in range(13)]
        np.testing.assert_allclose(band_means(source), expected, rtol=1e-9)


# Bands dropped


def dropped_of(out, source):
    return [not np.array_equal(out[..., band], source[..., band]) for band in range(source.shape[2])]


@pytest.mark.parametrize('dtype', WHITE)
@pytest.mark.parametrize('fill', ['mean', 0, 1])
def test_dropped_bands_are_filled(dtype, fill):
    image = image_of(dtype)
    out = run([BandDropout(0.5, fill, prob=1)], image)['img']
    dropped = dropped_of(out, image)
    assert 2 < sum(dropped) < 12
    assert out.dtype == image.dtype
    for band in np.flatnonzero(dropped):
        expected = image[..., band].astype(float).mean() if fill == 'mean' else fill
        assert len(np.unique(out[..., band])) == 1
        assert abs(float(out[0, 0, band]) - expected) <= (1e-6 if dtype == 'float32' else 0.5)


def test_bands_are_dropped_as_often_as_asked():
    image = image_of('uint16', 13, 6, 6)
    dropped = np.array([dropped_of(run([BandDropout(0.3, prob=1)], image, s)['img'], image) for s in range(500)])
    assert np.abs(dropped.mean(0) - 0.3).max() < 0.08  # every band
    assert abs(dropped.mean() - 0.3) < 0.02
    assert abs(np.corrcoef(dropped.T)[np.triu_indices(13, 1)]).max() < 0.2  # independent of each other
    sometimes = [run([BandDropout(0.9, prob=0.4)], image, seed)['img'] is not image for seed in range(300)]
    assert 90 < sum(sometimes) < 150


@pytest.mark.parametrize('bands', [1, 2, 3, 13])
def test_one_band_always_stays(bands):
    image = image_of('float32', bands, 6, 6)
    kept = [np.flatnonzero(~np.array(dropped_of(run([BandDropout(1.0)], image, s)['img'], image))) for s in range(200)]
    acted = [bands_kept for bands_kept in kept if len(bands_kept) < bands]
    if bands == 1:
        assert not acted
    else:
        assert {len(bands_kept) for bands_kept in acted} == {1}
        assert {int(bands_kept[0]) for bands_kept in acted} == set(range(bands))


def test_the_band_that_stays_is_the_nearest_to_being_kept():
    """As the probability rises it would be the last to go."""
    image = image_of('uint16', 5, 6, 6)
    for seed in range(20):
        last = np.argmin(dropped_of(run([BandDropout(1.0, prob=1)], image, seed)['img'], image))
        for prob in (0.2, 0.5, 0.8):
            dropped = dropped_of(run([BandDropout(prob, prob=1)], image, seed)['img'], image)
            assert not dropped[last]


def test_dropout_differs_from_a_three_band_image_only_when_it_loses_all():
    many = image_of('uint16', 13, 6, 6)
    few, step, exceptions = many[..., :3], BandDropout(0.5, prob=1), 0
    for seed in range(200):
        wide = dropped_of(run([step], many, seed)['img'][..., :3], few)
        narrow = dropped_of(run([step], few, seed)['img'], few)
        if all(wide):
            exceptions += 1
            assert sum(narrow) == 2
        else:
            assert wide == narrow
    assert 10 < exceptions < 45  # an eighth of 200


@pytest.mark.parametrize(('dtype', 'fill'), [('uint8', -1), ('uint8', 300), ('uint16', 70000)])
def test_fill_must_fit_the_type(dtype, fill):
    with pytest.raises(ValueError, match=rf"fill={fill} does not fit {dtype} \(0 to .*'mean'"):
        run([BandDropout(0.5, fill, prob=1)], image_of(dtype))
    with pytest.raises(ValueError, match="fill='median', expected 'mean' or a number"):
        BandDropout(fill='median')


# Photometry of dates and modalities


OPTIONS = {
    ColorJitter: {},
    RandomGaussianBlur: dict(sigma=(1, 2)),
    RandomNoise: {},
    RandomSolarize: {},
    RandomGrayscale: {},
    SpectralJitter: {},
    BandDropout: dict(band_prob=0.5),
}


@pytest.mark.parametrize('kind', OPTIONS)
def test_only_the_named_modality_is_augmented(kind):
    rgb, radar = image_of('uint8', 3), image_of('float32', 2)
    img = dict(rgb=rgb, s1=radar)
    out = run([kind(prob=1, modality='rgb', **OPTIONS[kind])], img)['img']
    assert list(out) == ['rgb', 's1']
    assert out['s1'] is radar
    assert img['rgb'] is rgb
    expected = run([kind(prob=1, **OPTIONS[kind])], rgb)['img']
    assert np.array_equal(out['rgb'], expected)
    assert not np.array_equal(expected, rgb)


@pytest.mark.parametrize('kind', OPTIONS)
def test_modality_must_be_said_and_be_there(kind):
    """Also where chance would pass over the sample."""
    img = dict(rgb=image_of('uint8', 3), s1=image_of('float32', 2))
    with pytest.raises(
        ValueError, match=rf"{kind.__name__}\(modality=None\), .* \['rgb', 's1'\]: set modality .*'rgb'"
    ):
        run([kind(prob=0)], img)
    with pytest.raises(ValueError, match=r"\(modality='s2'\), but the sample has the modalities \['rgb', 's1'\]"):
        run([kind(prob=0, modality='s2')], img)
    with pytest.raises(ValueError, match=r"\(modality='rgb'\), .* one modality without a name: leave it out"):
        run([kind(prob=0, modality='rgb')], img['rgb'])


def test_dates_are_augmented_together_or_not_but_each_by_its_own_draws():
    image = image_of('uint16')
    applied = []
    for seed in range(200):
        first, second = run([SpectralJitter(prob=0.5, max_value=9000)], [image, image], seed)['img']
        applied.append(first is not image)
        assert applied[-1] == (second is not image)
        assert applied[-1] == (not np.array_equal(first, second))
    assert 70 < sum(applied) < 130
    several = run([SpectralJitter(prob=1, max_value=9000, modality='s2')], dict(s2=[image, image], s1=image))['img']
    assert several['s1'] is image
    assert not np.array_equal(*several['s2'])


@pytest.mark.parametrize('kind', [SpectralJitter, RandomNoise, RandomSolarize])
@pytest.mark.parametrize('dtype', ['uint16', 'float32'])
def test_white_of_the_data_set(kind, dtype):
    white = dict(uint16=7000, float32=0.6)[dtype]
    image = image_of(dtype).clip(0, white)
    own = run([kind(prob=1, max_value=white)], image)['img']
    given = run([kind(prob=1)], image, max_value=white)['img']
    assert np.array_equal(own, given)
    assert own.max() <= white
    assert not np.array_equal(own, run([kind(prob=1)], image, max_value=white / 2)['img'])
    both = run([kind(prob=1, max_value=white)], image, max_value=white / 2)['img']
    assert np.array_equal(both, own)  # the transform's own comes first
    for missing in ({}, dict(max_value=None)):
        with pytest.raises(ValueError, match=rf'{kind.__name__} on {dtype} needs max_value.*from the data set'):
            run([kind(prob=1)], image, **missing)


def test_8_bits_have_their_own_white():
    image = image_of('uint8')
    assert np.array_equal(
        run([RandomSolarize(prob=1)], image)['img'], run([RandomSolarize(prob=1)], image, max_value=100)['img']
    )
