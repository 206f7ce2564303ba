"""DINO-MC's crops: their number, order and sizes, where they came from, and how often each augmentation acts."""

import colorsys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from mmrs_ssl.datasets import ImageFolder, SampleIndex
from mmrs_ssl.datasets.transforms import (
    BandDropout,
    ColorJitter,
    MultiSizeCrops,
    RandomCropResize,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomSolarize,
    SpectralJitter,
)
from mmrs_ssl.datasets.transforms.views import INTERPOLATION, resize
from tests.rasters.rasters import picture

SMALL = dict(global_size=24, local_sizes=(20, 14))


def run(step, img, seed=0, **more):
    return step(dict(img=img, rng=np.random.default_rng(seed), img_path='place.tif', **more))


def read_only(image):
    image.setflags(write=False)
    return image


def crop_of(image, box, flip, size, mode):
    """The box of (H, W, C), resized by torch and perhaps mirrored: float64."""
    top, left, height, width = map(int, box)
    part = torch.from_numpy(image[top : top + height, left : left + width].astype(np.float64)).permute(2, 0, 1)[None]
    out = interpolate(part, (size, size), mode=mode, align_corners=False)[0].permute(1, 2, 0).numpy()
    return out[:, ::-1] if flip else out


def is_plain(view, image, box, flip, mode):
    """Whether a view is only cropped, resized and mirrored, to OpenCV's rounding."""
    expected = crop_of(image, box, flip, len(view), mode)
    top = 255 if image.dtype == np.uint8 else np.inf
    return bool(np.abs(view - expected.clip(0, top)).max() < 2)


def sides(result):
    return [view.shape for view in result['img']]


# What there is


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({}, [224, 224, 184, 164, 144, 124, 104, 84]),
        (dict(num_local=2), [224, 224, 104, 84]),
        (dict(num_local=0), [224, 224]),
        (dict(global_size=64, local_sizes=(16, 32, 16)), [64, 64, 16, 32, 16]),
        (dict(global_size=64, local_sizes=(40, 48, 32), num_local=2), [64, 64, 48, 32]),
        (dict(local_sizes=[], num_local=0), [224, 224]),
    ],
)
def test_global_crops_first_then_the_last_of_the_local_sizes(options, expected):
    result = run(MultiSizeCrops(**options), picture(90, 110))
    assert sides(result) == [(side, side, 3) for side in expected]
    assert result['boxes'].shape == (len(expected), 4)
    assert result['flips'].shape == (len(expected),)


def test_boxes_have_the_papers_areas_and_aspects():
    step, image = MultiSizeCrops(4, (4,) * 4), picture(200, 200)
    results = [run(step, image, seed) for seed in range(400)]
    boxes = np.stack([result['boxes'] for result in results])
    area, aspect = boxes[..., 2] * boxes[..., 3] / 200**2, boxes[..., 3] / boxes[..., 2]
    for views, (low, high) in ((slice(2, 6), (0.05, 0.32)), (slice(0, 2), (0.32, 1.0))):
        shares = (area[:, views] - low) / (high - low)
        assert shares.min() > -0.02
        assert shares.max() < 1.02
        if high < 1:  # every box fits, so that areas are uniform
            tenths = np.arange(1, 10) / 10
            np.testing.assert_allclose(np.quantile(shares, tenths), tenths, atol=0.04)
        assert aspect[:, views].min() > 0.72
        assert aspect[:, views].max() < 1.38
    assert area[:, :2].max() > 0.95
    flips = np.stack([result['flips'] for result in results])
    assert np.abs(flips.mean(0) - 0.5).max() < 0.1


def test_scales_can_be_chosen():
    boxes = run(MultiSizeCrops(global_scale=(0.5, 0.5), local_scale=(0.1, 0.1)), picture(300, 300))['boxes']
    np.testing.assert_allclose(boxes[:, 2] * boxes[:, 3] / 300**2, [0.5] * 2 + [0.1] * 6, atol=0.003)


# Where crops come from, and how often they are left alone


@pytest.mark.parametrize('colors', [True, False])
def test_crops_that_no_augmentation_meets_are_the_recorded_boxes(colors):
    """Bicubic global crops, bilinear local ones, enlarged; by how many there are, the augmentations' probabilities."""
    image = read_only(np.random.default_rng(0).integers(60, 200, (90, 110, 3)).astype(np.uint8))
    step, plain, mirrored = MultiSizeCrops(global_size=120, local_sizes=(80, 72), colors=colors), [], 0
    for seed in range(600):
        result = run(step, image, seed)
        modes = ['bicubic', 'bicubic', 'bilinear', 'bilinear']
        views = zip(result['img'], result['boxes'], result['flips'], modes, strict=True)
        plain.append([is_plain(view, image, box, flip, mode) for view, box, flip, mode in views])
        mirrored += int(result['flips'][plain[-1]].sum())
    share = np.mean(plain, 0)
    untouched = 0.2 * (1 - 0.2 * (1 if colors else 1 - 0.8**3))  # by jitter, and by gray or the loss of a band
    weak = 0.05  # of blurs have a sigma too small to be seen
    expected = [untouched * kept for kept in (weak, 0.8 * (0.9 + 0.1 * weak), 0.5 + 0.5 * weak, 0.5 + 0.5 * weak)]
    np.testing.assert_allclose(share, expected, atol=0.05)
    assert 0.4 < mirrored / np.sum(plain) < 0.6


@pytest.mark.parametrize(
    ('before', 'after', 'mode'),
    [
        ((300, 300), 224, 'bicubic'),
        ((400, 350), 224, 'bicubic'),
        ((149, 160), 84, 'bilinear'),
        ((900, 700), 224, 'bicubic'),
    ],
)
def test_shrinking_smooths_as_pillow_does(before, after, mode):
    """Noise keeps as little of itself, and scenes look the same; without smoothing noise would keep much more."""
    rng = np.random.default_rng(0)
    noise = rng.normal(128, 30, (*before, 3)).clip(0, 255).astype(np.uint8)
    scene = cv2.resize(rng.integers(0, 256, (before[0] // 12, before[1] // 12, 3), dtype=np.uint8), before[::-1])
    kind = dict(bicubic=Image.Resampling.BICUBIC, bilinear=Image.Resampling.BILINEAR)[mode]
    for image in (noise, scene):
        pillow = np.asarray(Image.fromarray(image).resize((after, after), kind), float)
        mine, bare = (
            resize(image, (after, after), INTERPOLATION[mode], antialias=smooth).astype(float)
            for smooth in (True, False)
        )
        assert np.sqrt(np.mean((mine - pillow) ** 2)) < 0.75 * np.sqrt(np.mean((bare - pillow) ** 2)) + 1.5
        if image is noise:
            assert 0.75 < mine.std() / pillow.std() < 1.25
            assert bare.std() / pillow.std() > 1.35
    enlarged = resize(noise, (1000, 1000), INTERPOLATION[mode], antialias=True)
    assert np.array_equal(enlarged, resize(noise, (1000, 1000), INTERPOLATION[mode]))


def test_pillow_itself_on_demand():
    """Each crop is what Pillow makes of its box, with its filter."""
    image = read_only(picture(90, 110))
    step = MultiSizeCrops(**SMALL, antialias='pillow')
    crops = [view.transforms[0] for view in step.views]
    kinds = [Image.Resampling.BICUBIC] * 2 + [Image.Resampling.BILINEAR] * 2
    flips = set()
    for seed in range(6):
        for crop, kind in zip(crops, kinds, strict=True):
            sample = run(crop, image, seed)
            top, left, height, width = sample['box']
            part = Image.fromarray(np.ascontiguousarray(image[top : top + height, left : left + width]))
            expected = np.asarray(part.resize((crop.size, crop.size), kind))
            assert np.array_equal(sample['img'], expected[:, ::-1] if sample['flip'] else expected)
            flips.add(sample['flip'])
    assert flips == {True, False}


@pytest.mark.parametrize('options', [dict(interpolation='cubic'), dict(antialias='pil')])
def test_unknown_resampling(options):
    (value,) = options.values()
    with pytest.raises(ValueError, match=f'={value!r}, expected'):
        RandomCropResize(24, **options)


@pytest.mark.parametrize('turned', [False, True])
def test_only_the_side_that_shrinks_is_smoothed(turned):
    """Lines across it become gray, lines along it stay as they are."""
    across, along = np.zeros((2, 400, 100, 3), np.uint8)
    across[::2], along[:, ::2] = 255, 255
    if turned:
        across, along = (np.ascontiguousarray(image.swapaxes(0, 1)) for image in (across, along))
    shrunk = [resize(image, (100, 100), INTERPOLATION['bilinear'], antialias=True) for image in (across, along)]
    assert np.ptp(shrunk[0]) < 20
    assert np.array_equal(shrunk[1], along[:100, :100])


def test_views_are_the_papers_chains():
    """Each step and strength, in this order, on one random stream."""
    crops = [RandomCropResize(24, (0.32, 1.0), interpolation='bicubic', antialias=True)] * 2
    crops += [RandomCropResize(side, (0.05, 0.32), interpolation='bilinear', antialias=True) for side in (20, 14)]
    last = [[RandomGaussianBlur(None, prob=1.0)], [RandomGaussianBlur(None, prob=0.1), RandomSolarize(prob=0.2)]]
    last += [[RandomGaussianBlur(None, prob=0.5)]] * 2
    photometry = {
        True: [
            [ColorJitter(0.4, 0.4, 0.2, 0.1), RandomGrayscale()],
            [ColorJitter(0.8, 0.8, 0.8, 0.2), RandomGrayscale()],
        ],
        False: [[SpectralJitter(0.4, 0.4), BandDropout(prob=0.2)], [SpectralJitter(0.8, 0.8), BandDropout(prob=0.2)]],
    }
    image = read_only(picture(90, 110))
    for colors in (True, False):
        for seed in range(25):
            result, rng = run(MultiSizeCrops(**SMALL, colors=colors), image, seed), np.random.default_rng(seed)
            for number, view in enumerate(result['img']):
                sample = dict(img=image, rng=rng)
                for step in [crops[number], *photometry[colors][number // 2], *last[number]]:
                    sample = step(sample)
                assert np.array_equal(view, sample['img'])


def test_gray_solarized_and_as_bright_as_asked():
    step = MultiSizeCrops(**SMALL)
    color, white = np.full((40, 40, 3), (160, 110, 70), np.uint8), np.full((40, 40, 3), 255, np.uint8)
    views = np.array([[view[3, 3] for view in run(step, color, seed)['img']] for seed in range(1500)], int)
    assert np.abs((np.ptp(views, axis=2) <= 1).mean(0)[:2] - 0.2).max() < 0.04  # gray
    bright = np.array([[view[3, 3, 0] for view in run(step, white, seed)['img']] for seed in range(1500)], int)
    assert abs((bright[:, 1] < 128).mean() - 0.2) < 0.04  # white stays above 0.6 unless it is inverted
    for number, lowest in ((0, 0.6), (2, 0.2), (3, 0.2)):  # jitter darkens by up to 0.4, or 0.8
        levels = bright[:, number] / 255
        assert lowest - 0.01 < levels.min() < lowest + 0.02
        assert abs((levels < 1).mean() - 0.4) < 0.05  # half of those jittered


def test_gray_as_often_as_asked_and_bands_dropped_as_often():
    color, dropped = np.full((40, 40, 3), (160, 110, 70), np.uint8), np.full((40, 40, 5), 120, np.uint8)
    dropped[:20] = 200  # a band that is filled with its mean is even
    for prob in (0.0, 0.6):
        views = [run(MultiSizeCrops(**SMALL, gray_prob=prob), color, seed)['img'] for seed in range(300)]
        gray = np.array([[np.ptp(view[3, 3].astype(int)) <= 1 for view in crops] for crops in views])
        assert np.abs(gray.mean(0) - prob).max() < 0.1
        bands = MultiSizeCrops(**SMALL, global_scale=(1, 1), colors=False, gray_prob=prob)
        views = [run(bands, dropped, seed)['img'][0] for seed in range(300)]
        lost = np.array([(np.ptp(view.reshape(-1, 5).astype(int), axis=0) == 0).any() for view in views])
        assert abs(lost.mean() - prob * (1 - 0.8**5)) < 0.1


@pytest.mark.parametrize(('solarize_prob', 'values'), [(0.0, {255}), (0.2, {0, 255}), (1.0, {0})])
def test_strength_of_the_jitter_and_how_often_solarized(solarize_prob, values):
    jitter = dict(global_jitter=(0, 0, 0, 0), local_jitter=(0.3, 0, 0, 0))
    step = MultiSizeCrops(**SMALL, **jitter, solarize_prob=solarize_prob)
    white = np.full((40, 40, 3), 255, np.uint8)
    bright = np.array([[view[3, 3, 0] for view in run(step, white, seed)['img']] for seed in range(300)], int)
    assert (bright[:, 0] == 255).all()
    assert set(bright[:, 1]) == values  # solarized or not
    assert 0.69 < bright[:, 2].min() / 255 < 0.72


def test_hue_turns_as_far_as_asked():
    color = np.full((40, 40, 3), (150, 90, 90), np.uint8)
    pixels = [[view[3, 3] for view in run(MultiSizeCrops(**SMALL), color, seed)['img']] for seed in range(600)]
    for number, limit in ((0, 0.1), (2, 0.2)):
        clear = [view[number] for view in pixels if np.ptp(view[number].astype(int)) > 40 and view[number].max() < 255]
        turns = np.array([(colorsys.rgb_to_hsv(*pixel.tolist())[0] + 0.5) % 1 - 0.5 for pixel in clear])
        assert limit * 0.9 < np.abs(turns).max() < limit + 0.02
        assert turns.min() < -limit * 0.8
        assert turns.max() > limit * 0.8


# Blur


@pytest.mark.parametrize('sigma', [0.1, 0.6, 1.0, 2.0])
@pytest.mark.parametrize(('dtype', 'bands'), [(np.uint8, 3), (np.uint16, 13), (np.float32, 5)])
def test_blur_is_a_gaussian_of_three_sigmas_each_way(sigma, dtype, bands):
    image = picture(60, 50, bands, dtype, 256)
    out = run(RandomGaussianBlur(None, (sigma, sigma)), image)['img']
    reach = int(np.ceil(3 * sigma))
    line = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    padded = np.pad(image.astype(np.float64), [(reach, reach), (reach, reach), (0, 0)], 'reflect')
    for axis in (0, 1):
        padded = np.apply_along_axis(np.convolve, axis, padded, line / line.sum(), 'valid')
    assert out.dtype == dtype
    np.testing.assert_allclose(out, padded, atol=1e-3 if dtype == np.float32 else 0.501)


def test_sigma_is_uniform():
    point = np.zeros((41, 41, 1), np.float32)
    point[20, 20] = 1
    across = np.arange(-20, 21) ** 2
    spread = [(run(RandomGaussianBlur(None), point, seed)['img'].sum((0, 2)) * across).sum() for seed in range(500)]
    drawn = np.sqrt(spread)  # the standard deviation, a little less for the tails cut off
    assert np.abs(np.quantile(drawn, [0.25, 0.5, 0.75]) - [0.575, 1.05, 1.525]).max() < 0.12
    assert 1.85 < drawn.max() < 2
    assert drawn.min() < 0.15


# Bands, determinism, errors


@pytest.mark.parametrize(('dtype', 'top'), [('uint8', 256), ('uint16', 9000), ('float32', 2)])
def test_three_bands_are_the_first_of_thirteen(dtype, top):
    step = MultiSizeCrops(**SMALL, colors=False, max_value=top - 1)
    many = read_only(picture(61, 47, 13, dtype, top))
    seen, exceptions = set(), 0
    for seed in range(30):
        wide, narrow = run(step, many, seed), run(step, np.ascontiguousarray(many[..., :3]), seed)
        assert np.array_equal(wide['boxes'], narrow['boxes'])
        for first, second in zip(wide['img'], narrow['img'], strict=True):
            assert (first.shape[2], first.dtype) == (13, second.dtype)
            # band dropout keeps one band of three where it loses them all of thirteen
            if np.ptp(first[..., :3], axis=(0, 1)).any():
                assert np.array_equal(first[..., :3], second)
            else:
                exceptions += 1
            seen.add(second.tobytes())
    assert len(seen) == 120
    assert exceptions < 3


def test_samples_depend_on_seed_epoch_and_index_alone(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f'{number}.png'), picture(80, 90, seed=number))
    pipeline = [dict(type='mmrs_ssl.LoadRaster'), dict(type='mmrs_ssl.MultiSizeCrops', **SMALL)]
    kinds = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    first, second = ImageFolder(str(tmp_path), pipeline), ImageFolder(str(tmp_path), pipeline)
    samples = [[view.tobytes() for view in first[SampleIndex(*kind)]['img']] for kind in kinds]
    again = [[view.tobytes() for view in second[SampleIndex(*kind)]['img']] for kind in reversed(kinds)]
    assert samples == again[::-1]
    assert len(set(map(tuple, samples))) == 4


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_local=7), r'num_local=7, expected 0 to 6.*\[184, .*: add sizes .* or lower num_local'),
        (dict(num_local=-1), 'num_local=-1, expected 0 to 6'),
        (dict(local_sizes=(96, 0)), r'local_sizes=\(96, 0\), expected a list of .* whole number of at least 1'),
        (dict(local_sizes=[]), r'local_sizes=\[\], expected a list of numbers'),
        (dict(global_size=0), 'global_size=0, expected a whole number of at least 1'),
        (dict(global_scale=(0.5, 1.2)), r'global_scale=\(0.5, 1.2\), expected \(smallest, largest\), .* at most 1'),
        (dict(local_scale=(0.3, 0.1)), r'local_scale=\(0.3, 0.1\), expected \(smallest, largest\)'),
        (dict(local_scale=(0.3,)), r'local_scale=\(0.3,\), expected \(smallest, largest\)'),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=f'MultiSizeCrops: .*{message}'):
        MultiSizeCrops(**options)


def test_images_that_the_crops_are_not_for():
    step, image = MultiSizeCrops(**SMALL), picture()
    with pytest.raises(ValueError, match=r'place.tif: .* one image, found 3 dates; set dates=1 .*TemporalCrops'):
        run(step, [image] * 3)
    with pytest.raises(ValueError, match=r'one image, found modalities \(rgb, dsm\); .* load one'):
        run(step, dict(rgb=image, dsm=image))
    for wrong, found in ((picture(bands=4), '4 bands of uint8'), (picture(dtype=np.uint16), '3 bands of uint16')):
        with pytest.raises(ValueError, match=f'expects 8-bit RGB, found {found}; set colors=False, or .* stretch='):
            run(step, wrong)
    with pytest.raises(ValueError, match='needs max_value, the value that counts as white'):
        run(MultiSizeCrops(**SMALL, colors=False), picture(dtype=np.uint16))
