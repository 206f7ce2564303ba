"""Flips, rotations and crops of images, dates and modalities; views of them and their packing."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate

from mmrs_ssl.datasets.transforms import (
    PackModalities,
    PackViews,
    RandomCropResize,
    RandomFlip,
    RandomNoise,
    RandomRotate90,
    ResizeToSize,
    Views,
)
from tests.datasets.transforms.test_band_augmentation import image_of, run, sample_of

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


GEOMETRIC = [RandomFlip(1), RandomRotate90(1), ResizeToSize(20), RandomCropResize(24), RandomCropResize(24, prob=0)]


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
    result = run([RandomCropResize(24, flip_prob=0, prob=0, antialias=False)], image)
    assert np.array_equal(result['img'], whole)
    assert (result['box'], result['flip'], result['img_shape']) == ((0, 0, 50, 70), False, (24, 24))
    mirrored = run([RandomCropResize(24, flip_prob=1, prob=0, antialias=False)], image)
    assert np.array_equal(mirrored['img'], whole[:, ::-1])
    assert mirrored['flip'] is True
    boxes = [run([RandomCropResize(24, scale=(0.3, 0.6), prob=0.5)], image, seed)['box'] for seed in range(400)]
    assert 160 < boxes.count((0, 0, 50, 70)) < 240
    always = [run([RandomCropResize(24, scale=(0.3, 0.6))], image, seed)['box'] for seed in range(50)]
    assert (0, 0, 50, 70) not in always


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
