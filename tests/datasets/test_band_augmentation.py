"""Augmentation of any number of bands, dates and modalities: a band's result does not depend on those that follow."""

import math

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate

from mmrs_ssl.datasets.transforms import (
    BandDropout,
    ColourJitter,
    PackModalities,
    PackViews,
    RandomBlur,
    RandomCropResize,
    RandomFlip,
    RandomGrey,
    RandomNoise,
    RandomRotate90,
    RandomSolarise,
    ShrinkToSize,
    SpectralJitter,
    Views,
)
from mmrs_ssl.datasets.transforms.bands import band_means, in_threes
from tests.datasets.test_transforms import picture

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
        ShrinkToSize(40),
        *[RandomCropResize(33, interpolation=name) for name in INTERPOLATIONS],
        RandomCropResize(90, interpolation='bicubic', prob=0.5),
        RandomBlur(),
        SpectralJitter(prob=1, max_value=white),
        RandomNoise(prob=1, max_value=white),
        RandomSolarise(prob=1, max_value=white),
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
        RandomBlur(prob=0.5),
        RandomNoise(**rough),
        RandomSolarise(**rough),
        BandDropout(0.1, prob=0.5),
        SpectralJitter(**rough),
        RandomNoise(**rough),
    ]
    pipeline = [ShrinkToSize(56), RandomFlip(), RandomRotate90(), Views([strong, [RandomCropResize(24), *strong[1:]]])]
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
def test_band_means_are_summed_in_double_precision(dtype):
    image = image_of(dtype, 13, 300, 280)
    for source in (image, image[::-1, ::-1], np.rot90(image), image[3:90, 5:70]):
        expected = [math.fsum(source[..., band].ravel().tolist()) / source[..., band].size for band in range(13)]
        np.testing.assert_allclose(band_means(source), expected, rtol=1e-12)


# Whole windows


def orientations(image):
    return dict(
        horizontal=np.array([row[::-1] for row in image]),
        vertical=np.array(list(image)[::-1]),
        diagonal=np.array([row[::-1] for row in image][::-1]),
        same=image,
    )


def names_of(results, references):
    return [next(name for name, ref in references.items() if np.array_equal(ref, img)) for img in results]


@pytest.mark.parametrize('bands', [1, 3, 13])
def test_flip_directions_are_equally_likely(bands):
    image = image_of('uint16', bands, 8, 5)
    names = names_of([run([RandomFlip()], image, seed)['img'] for seed in range(600)], orientations(image))
    assert 250 < names.count('same') < 350
    for name in ('horizontal', 'vertical', 'diagonal'):
        assert 70 < names.count(name) < 130
    only = names_of([run([RandomFlip(1, ['vertical'])], image, seed)['img'] for seed in range(20)], orientations(image))
    assert set(only) == {'vertical'}
    assert run([RandomFlip(prob=0)], image)['img'] is image


@pytest.mark.parametrize('bands', [1, 3, 13])
def test_rotations_are_equally_likely(bands):
    image = image_of('uint16', bands, 8, 5)
    references = {str(90 * k): np.rot90(image, k) for k in range(4)}
    samples = [run([RandomRotate90()], image, seed, img_shape=(8, 5)) for seed in range(600)]
    names = names_of([sample['img'] for sample in samples], references)
    for name, sample in zip(names, samples, strict=True):
        assert sample['img_shape'] == ((5, 8) if name in ('90', '270') else (8, 5))
    for name in references:
        assert 110 < names.count(name) < 190
    assert '0' not in names_of([run([RandomRotate90(1)], image, s)['img'] for s in range(30)], references)


@pytest.mark.parametrize('directions', ['horizontal', [], ['sideways'], ['vertical', 'up']])
def test_flip_names_the_directions_there_are(directions):
    with pytest.raises(ValueError, match=r'directions=.*expected a list of some of: horizontal, vertical, diagonal'):
        RandomFlip(directions=directions)


GEOMETRIC = [RandomFlip(1), RandomRotate90(1), ShrinkToSize(20), RandomCropResize(24), RandomCropResize(24, prob=0)]


@pytest.mark.parametrize('step', GEOMETRIC, ids=lambda step: type(step).__name__)
def test_one_geometry_for_dates_and_modalities(step):
    """As each alone with the same draws, whatever its type and bands; containers of containers as well."""
    optical, radar, later = image_of('uint16', 13), image_of('float32', 2), image_of('uint16', 13, seed=1)
    dates, modalities = [optical, later], dict(s2=optical, s1=radar)
    for seed in range(5):
        alone = {id(img): run([step], img, seed) for img in (optical, radar, later)}
        for img, pairs in (
            (dates, lambda out: zip(dates, out, strict=True)),
            (modalities, lambda out: [(modalities[name], out[name]) for name in ('s2', 's1')]),
            (dict(s2=dates), lambda out: zip(dates, out['s2'], strict=True)),
        ):
            result = run([step], img, seed)
            assert type(result['img']) is type(img)
            assert result['img'] is not img
            for source, out in pairs(result['img']):
                expected = alone[id(source)]
                assert np.array_equal(out, expected['img'])
                assert {k: result.get(k) for k in ('box', 'flip')} == {k: expected.get(k) for k in ('box', 'flip')}
                assert result['img_shape'] == out.shape[:2]
    assert dates[0] is optical
    assert list(modalities) == ['s2', 's1']


@pytest.mark.parametrize('step', [*GEOMETRIC, RandomFlip(0), RandomRotate90(0)], ids=lambda step: type(step).__name__)
@pytest.mark.parametrize('container', [list, dict])
def test_different_sizes_are_refused_by_name(step, container):
    one, other = image_of('uint8', 3, 30, 40), image_of('uint8', 3, 30, 20)
    img = [one, other] if container is list else dict(s2=one, s1=other)
    with pytest.raises(
        ValueError, match=r'place\.tif.*30 x 40.*30 x 20.*on one grid: mmrs_ssl\.SceneDataset'
    ) as caught:
        run([step], img)
    assert ("'s1': '30 x 20'" in str(caught.value)) == (container is dict)


@pytest.mark.parametrize('step', [RandomFlip(0.1), RandomRotate90(0.1)])
def test_whole_windows_are_not_turned_inside_a_view(step):
    message = rf'{type(step).__name__} after RandomCropResize .*box wrong: put it before Views.*flip_prob'
    with pytest.raises(ValueError, match=message):
        Views([[RandomCropResize(24), step]])(sample_of(image_of('uint8')))


# Crops


def test_without_a_crop_the_whole_image_is_resized():
    image = image_of('uint8', 3, 50, 70)
    whole = cv2.resize(image, (24, 24))
    result = run([RandomCropResize(24, flip_prob=0, prob=0)], image)
    assert np.array_equal(result['img'], whole)
    assert (result['box'], result['flip'], result['img_shape']) == ((0, 0, 50, 70), False, (24, 24))
    mirrored = run([RandomCropResize(24, flip_prob=1, prob=0)], image)
    assert np.array_equal(mirrored['img'], whole[:, ::-1])
    assert mirrored['flip'] is True
    boxes = [run([RandomCropResize(24, scale=(0.3, 0.6), prob=0.5)], image, seed)['box'] for seed in range(400)]
    assert 160 < boxes.count((0, 0, 50, 70)) < 240
    always = [run([RandomCropResize(24, scale=(0.3, 0.6))], image, seed)['box'] for seed in range(50)]
    assert (0, 0, 50, 70) not in always


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
    ColourJitter: {},
    RandomBlur: dict(sigma=(1, 2)),
    RandomNoise: {},
    RandomSolarise: {},
    RandomGrey: {},
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


@pytest.mark.parametrize('kind', [SpectralJitter, RandomNoise, RandomSolarise])
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
        run([RandomSolarise(prob=1)], image)['img'], run([RandomSolarise(prob=1)], image, max_value=100)['img']
    )


# Views and packing


def test_each_view_starts_from_its_own_date():
    dates = [image_of('uint16', 4, seed=seed) for seed in range(3)]
    steps = [[RandomCropResize(20 + 4 * i, interpolation='nearest')] for i in range(3)]
    result = Views(steps)(sample_of(dates))
    rng = np.random.default_rng(0)
    for i, date in enumerate(dates):
        alone = steps[i][0](dict(img=date, rng=rng))
        assert np.array_equal(result['img'][i], alone['img'])
        assert tuple(result['boxes'][i]) == alone['box']
        assert result['flips'][i] == alone['flip']


def test_dates_must_be_as_many_as_views_and_of_one_size():
    view = [RandomCropResize(24)]
    with pytest.raises(ValueError, match=r'place\.tif: 3 dates for 2 views; .*dates=2'):
        Views([view, view])(sample_of([image_of('uint8')] * 3))
    with pytest.raises(ValueError, match=r'place\.tif.*61 x 47.*30 x 47'):
        Views([view, view])(sample_of([image_of('uint8'), image_of('uint8', height=30)]))


def test_views_of_modalities():
    img = dict(s2=image_of('uint16', 13), s1=image_of('float32', 2))
    view = [RandomCropResize(24), RandomNoise(prob=1, max_value=1.0, modality='s1')]
    packed = PackViews()(Views([view, view])(sample_of(img)))
    assert [{name: tuple(t.shape) for name, t in inputs.items()} for inputs in packed['inputs']] == [
        dict(s2=(13, 24, 24), s1=(2, 24, 24))
    ] * 2
    rng = np.random.default_rng(0)
    first = view[0](dict(img=img, rng=rng))
    assert np.array_equal(packed['inputs'][0]['s2'].numpy(), first['img']['s2'].transpose(2, 0, 1))
    assert tuple(packed['data_samples'].boxes[0].tolist()) == first['box']


PLACE = dict(scene='t32', window=(0, 64, 61, 47), dates=['2020', '2021'])


def test_packed_views_say_where_and_when_they_are_from():
    views = [[RandomCropResize(24)]] * 2
    sample = run([Views(views), PackViews()], image_of('uint8'), sample_idx=3, date='2020', **PLACE)['data_samples']
    meta = dict(img_path='place.tif', sample_idx=3, date='2020', **PLACE)
    assert {key: sample.metainfo[key] for key in meta} == meta
    plain = run([Views(views), PackViews()], image_of('uint8'))['data_samples']
    assert not {'scene', 'window', 'date', 'dates'} & set(plain.metainfo)


def test_pack_modalities():
    img = dict(s2=image_of('uint16', 13), s1=image_of('float32', 2)[:, ::-1])
    packed = PackModalities()(sample_of(img, sample_idx=5, **PLACE))
    assert list(packed['inputs']) == ['s2', 's1']
    for name, tensor in packed['inputs'].items():
        assert str(tensor.dtype) == f'torch.{img[name].dtype}'
        assert np.array_equal(tensor.numpy(), img[name].transpose(2, 0, 1))
    sample = packed['data_samples']
    assert sample.metainfo == dict(img_path='place.tif', sample_idx=5, **PLACE)
    assert 'box' not in sample
    cropped = run([RandomCropResize(24)], img)
    made = PackModalities()(cropped)['data_samples']
    assert made.box.dtype == torch.float32
    assert tuple(made.box.tolist()) == cropped['box']
    assert made.flip.item() is cropped['flip']
    batch = default_collate([PackModalities()(sample_of(img)) for _ in range(2)])
    assert batch['inputs']['s2'].shape == (2, 13, 61, 47)


@pytest.mark.parametrize('img', [image_of('uint8'), [image_of('uint8')]], ids=['image', 'dates'])
def test_pack_modalities_needs_a_dict(img):
    with pytest.raises(ValueError, match=r'place\.tif: PackModalities needs a dict.*found (ndarray|list).*PackViews'):
        PackModalities()(sample_of(img))
