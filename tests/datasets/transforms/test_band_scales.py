"""What is scaled by white and by spread has a scale for every band: by independent formulas, and on unlike bands."""

import cv2
import numpy as np
import pytest

from mmrs_ssl.datasets import SceneDataset
from mmrs_ssl.datasets.transforms import CMIDViews, RandomGaussianBlur, RandomNoise, RandomSolarize, SpectralJitter
from tests.datasets.transforms.test_band_augmentation import run
from tests.rasters.rasters import write_raster

DTYPES = ('uint8', 'uint16', 'int16', 'float32', 'float64')
# Of 13 bands of Sentinel-2 reflectance: typical deviation within 32 x 32 pixels, and the quantile 0.999.
SPREAD = [0.0037, 0.0081, 0.012, 0.013, 0.019, 0.031, 0.036, 0.043, 0.041, 0.011, 0.0002, 0.032, 0.022]
WHITE = [0.39, 0.39, 0.37, 0.38, 0.39, 0.46, 0.5, 0.47, 0.52, 0.17, 0.008, 0.4, 0.33]


def case(seed):
    """An image of a drawn type and number of bands, some values above white, and scales for its bands."""
    rng = np.random.default_rng(seed)
    dtype, bands = DTYPES[seed % len(DTYPES)], int(rng.integers(1, 15))
    top = dict(uint8=255, uint16=60000, int16=30000, float32=1.0, float64=1.0)[dtype]
    white = top * 10 ** rng.uniform(-1.5, 0, bands)
    spread = white * 10 ** rng.uniform(-2, -0.3, bands)
    image = np.minimum(rng.random((9, 11, bands)) * white * 1.2, top).astype(dtype)
    return image, white.tolist(), spread.tolist()


def close(out, expected, dtype):
    """Equal to rounding of the type; integers are rounded to the nearest or, by solarizing, down."""
    assert out.dtype == dtype
    expected = np.asarray(expected)
    off = np.abs(out.astype(float) - expected)
    assert off.max() <= (1.001 if np.dtype(dtype).kind in 'iu' else 1e-5 * max(1.0, np.abs(expected).max()))


def both_ways(kind, image, seed, **scales):
    """The transform's own scales, and for other than 8 bits the data set's in a modality: one result."""
    own = run([kind(prob=1, **scales)], image, seed)['img']
    if image.dtype != np.uint8:
        given = {name: dict(s2=value, s1=[1.0]) for name, value in scales.items()}
        sample = dict(s1=image[..., :1], s2=image)
        assert np.array_equal(run([kind(prob=1, modality='s2')], sample, seed, **given)['img']['s2'], own)
        assert np.array_equal(run([kind(prob=1)], image, seed, **scales)['img'], own)
    return own


@pytest.mark.parametrize('seed', range(25))
def test_noise_by_formula(seed):
    image, white, spread = case(seed)
    for scales in (dict(max_value=white), dict(max_value=white, band_spread=spread)):
        out = both_ways(RandomNoise, image, seed, **scales)
        rng = np.random.default_rng(seed)
        rng.random()
        variance = rng.uniform(10, 50)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        for band in range(image.shape[2]):
            share = spread[band] / 15 if 'band_spread' in scales else white[band] / 255
            plane = np.empty(image.shape[:2], np.int16 if image.dtype == np.uint8 else np.float32)
            noise = cv2.randn(plane, np.zeros(1), np.array([variance**0.5 * share]))
            top = 255 if image.dtype == np.uint8 else white[band]
            expected = np.clip(image[..., band].astype(float) + noise, 0, top)
            close(out[..., band], expected, image.dtype)


@pytest.mark.parametrize('seed', range(25))
def test_solarize_by_formula(seed):
    image, white, _ = case(seed)
    out = both_ways(RandomSolarize, image, seed, max_value=white)
    changed = 0
    for band, top in enumerate(white):
        values = image[..., band].astype(float)
        expected = np.where(values < 128 / 255 * top, values, np.maximum(top - values, 0))
        edge = np.abs(values - 128 / 255 * top) < 1e-6 * top
        close(np.where(edge, 0, out[..., band]).astype(image.dtype), np.where(edge, 0, expected), image.dtype)
        changed += (expected != values).any()
    assert changed == len(white)


@pytest.mark.parametrize('seed', range(25))
def test_jitter_by_formula(seed):
    image, white, _ = case(seed)
    out = both_ways(SpectralJitter, image, seed, max_value=white)
    rng = np.random.default_rng(seed)
    rng.random()
    of_bands = np.random.default_rng(rng.integers(2**63))
    for band, top in enumerate(white):
        gain, contrast = 1 + 0.4 * of_bands.uniform(-1, 1, 2)
        brighter = image[..., band] * gain
        expected = (brighter.mean() + contrast * (brighter - brighter.mean())).clip(0, top)
        close(out[..., band], expected, image.dtype)


@pytest.mark.parametrize('kind', [RandomNoise, RandomSolarize, SpectralJitter])
@pytest.mark.parametrize('seed', range(0, 25, 2))
def test_a_band_does_not_depend_on_the_values_and_scales_of_others(kind, seed):
    image, white, spread = case(seed)
    kept = seed % image.shape[2]
    other = np.where(np.arange(image.shape[2]) == kept, image, image // 2 if image.dtype.kind in 'iu' else image / 3)
    scales = dict(max_value=white, **(dict(band_spread=spread) if kind is RandomNoise else {}))
    changed = {
        name: [value if band == kept else value / 2 for band, value in enumerate(values)]
        for name, values in scales.items()
    }
    first = run([kind(prob=1, **scales)], image, seed)['img']
    second = run([kind(prob=1, **changed)], other.astype(image.dtype), seed)['img']
    assert np.array_equal(first[..., kept], second[..., kept])
    assert image.shape[2] == 1 or not np.array_equal(first, second)


@pytest.mark.parametrize('kind', [RandomNoise, RandomSolarize, SpectralJitter])
@pytest.mark.parametrize('dtype', DTYPES)
def test_one_scale_for_all_is_the_same_for_each(kind, dtype):
    white = dict(uint8=200, uint16=9000, int16=9000, float32=0.7, float64=0.7)[dtype]
    image = (np.random.default_rng(1).random((20, 30, 5)) * white).astype(dtype)
    for seed in range(3):
        one, each = (run([kind(prob=1, max_value=scale)], image, seed)['img'] for scale in (white, [white] * 5))
        assert np.array_equal(one, each)


def test_blur_needs_no_scale():
    image = np.random.default_rng(0).random((30, 30, 13))
    scale = np.logspace(-3, 3, 13)
    plain, scaled = (run([RandomGaussianBlur(prob=1)], each)['img'] for each in (image, image * scale))
    np.testing.assert_allclose(scaled, plain * scale, rtol=1e-9)


# Bands as unlike as those of Sentinel-2


def scene(dtype):
    """(192, 192, 13): in every 32 x 32 pixels about the spread of its band, between dark and white."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.standard_normal((192, 192, 13)), (0, 0), 2)
    texture /= np.median(patches(texture), axis=0)
    image = np.array(WHITE) * 0.4 + texture * SPREAD
    return (image * 10000).round().astype(dtype) if dtype == 'uint16' else image.astype(dtype)


def patches(image, side=32):
    """The deviation of every band within patches: (patches, C)."""
    cells = image.reshape(len(image) // side, side, image.shape[1] // side, side, -1).astype(float)
    return cells.std(axis=(1, 3)).reshape(-1, image.shape[2])


@pytest.mark.parametrize('dtype', ['float32', 'uint16'])
def test_noise_is_in_proportion_to_every_bands_own_spread(dtype):
    unit = 10000 if dtype == 'uint16' else 1
    image = scene(dtype)
    given = dict(max_value=[v * unit for v in WHITE], band_spread=[v * unit for v in SPREAD])
    weakest, strongest, usual = (
        np.mean([shares(image, variance, seed, **given) for seed in range(3)], axis=0)
        for variance in ((10, 10), (50, 50), (10, 50))
    )
    for share in (weakest, strongest, usual):
        assert share.min() > 0.2
        assert share.max() < 2
    np.testing.assert_allclose(weakest[:10], 10**0.5 / 15, rtol=0.05)  # the weak band 10 is rounded to integers
    np.testing.assert_allclose(strongest[:10], 50**0.5 / 15, rtol=0.05)
    shared = shares(image, (10, 50), 0, max_value=max(given['max_value']))
    assert shared[10] > 20  # what one white for all bands does to the weakest


def test_scales_of_a_data_set_reach_the_noise(tmp_path):
    image = scene('float32')
    write_raster(tmp_path / 'scene.tif', image.transpose(2, 0, 1))
    pipeline = [dict(type='mmrs_ssl.LoadRaster', bands=13), dict(type='mmrs_ssl.RandomNoise', prob=1)]
    options = dict(max_value=WHITE, band_spread=SPREAD)
    windows = SceneDataset(str(tmp_path), pipeline, window=192, sampling='grid', **options)
    share = (windows[0]['img'] - image).std((0, 1)) / np.median(patches(image), axis=0)
    assert share.min() > 0.2
    assert share.max() < 0.5
    shared = SceneDataset(str(tmp_path), pipeline, window=192, sampling='grid', max_value=max(WHITE))
    assert (shared[0]['img'] - image)[..., 10].std() > 20 * SPREAD[10]


def shares(image, variance, seed, **given):
    """The deviation of the noise, in each band's spread within patches."""
    noisy = run([RandomNoise(variance=variance, prob=1)], image, seed, **given)['img']
    return (noisy.astype(float) - image).std((0, 1)) / np.median(patches(image), axis=0)


def test_8_bits_of_the_reference_spread_get_the_published_noise():
    image = np.full((64, 64, 3), 128, np.uint8)
    for seed in range(5):
        published = run([RandomNoise(prob=1)], image, seed)['img']
        assert np.array_equal(run([RandomNoise(prob=1, band_spread=15)], image, seed)['img'], published)
        # what a data set says is not for 8 bits: its pixels may have been stretched since
        given = dict(band_spread=[1.0, 2.0, 3.0, 4.0], max_value=[1.0] * 4)
        assert np.array_equal(run([RandomNoise(prob=1)], image, seed, **given)['img'], published)


def test_each_band_is_solarized_and_clipped_at_its_own_white():
    image = np.full((4, 4, 2), [6000, 60], np.uint16)
    given = dict(max_value=[10000, 100])
    assert (run([RandomSolarize(prob=1)], image, **given)['img'] == [4000, 40]).all()
    assert (run([RandomSolarize(prob=1)], image, max_value=10000)['img'] == [4000, 60]).all()
    bright = np.full((4, 4, 2), [9990, 9990], np.uint16)
    outs = [run([SpectralJitter(1, 0, prob=1)], bright, seed, **given)['img'] for seed in range(20)]
    assert np.max(outs, axis=(0, 1, 2)).tolist() == [10000, 100]


@pytest.mark.parametrize('dtype', ['uint16', 'int16', 'float32'])
@pytest.mark.parametrize('white', [10000, [10000, 10000]])
def test_what_is_above_white_is_solarized_to_black(dtype, white):
    image = np.full((2, 2, 2), [12000, 9000], dtype)
    assert (run([RandomSolarize(prob=1, max_value=white)], image)['img'] == [0, 1000]).all()


def test_views_pass_scales_on():
    image = np.full((64, 64, 2), [0.5, 0.005], np.float32)
    views = CMIDViews(size=64, colors=False, max_value=[1.0, 0.01], band_spread=[0.1, 0.001])
    seen = []
    for seed in range(40):
        strong = run([views], image, seed, img_shape=(64, 64))['img'][1]
        assert strong[..., 1].max() <= 0.01
        seen.append(strong.std((0, 1)))
    first, second = np.array(seen).T
    noisy = (first > 0) & (second > 0)  # neither without noise nor dropped
    assert noisy.sum() > 10
    ratios = np.sort(first[noisy] / second[noisy])
    assert 90 < np.median(ratios) < 110


# Scales that do not fit


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
@pytest.mark.parametrize('option', ['max_value', 'band_spread'])
@pytest.mark.parametrize('count', [1, 12, 14])
def test_as_many_scales_as_bands(dtype, option, count):
    image = np.ones((4, 4, 13), dtype)
    scales = dict(max_value=1.0)
    scales[option] = [1.0] * count
    match = (
        rf'^place\.tif: RandomNoise: {option} has {count} numbers, one per band, but the image has 13 bands; expected '
        r'one number, or one for each band that is loaded, in that order: tools/band_stats\.py prints them$'
    )
    with pytest.raises(ValueError, match=match):
        run([RandomNoise(prob=1, **scales)], image)
    if dtype != 'uint8':
        with pytest.raises(ValueError, match=match):
            run([RandomNoise(prob=1)], image, **scales)


@pytest.mark.parametrize(
    'value', [0, -1.0, float('nan'), float('inf'), [], [1.0, 0.0], [[1.0]], 'white', '255', [None]]
)
def test_a_scale_is_a_number_above_0_or_a_list_of_them(value):
    for make in (
        lambda: RandomNoise(max_value=value),
        lambda: RandomNoise(band_spread=value),
        lambda: run([RandomSolarize(prob=1)], np.ones((4, 4, 1), np.float32), max_value=value),
    ):
        with pytest.raises(ValueError, match=r'(max_value|band_spread).*=.*, expected a number above 0, or a list'):
            make()


def test_a_modality_without_a_scale():
    sample = dict(s1=np.ones((4, 4, 2), np.float32), s2=np.ones((4, 4, 13), np.float32))
    for option in ('max_value', 'band_spread'):
        given = dict(max_value=1.0, band_spread=0.1) | {option: dict(s2=[1.0] * 13, S1=1.0)}
        match = rf"^place\.tif: RandomNoise: {option} is given for 's2', 'S1', not for modality='s1': add it, or None$"
        with pytest.raises(ValueError, match=match):
            run([RandomNoise(prob=1, modality='s1')], sample, **given)
    with pytest.raises(ValueError, match=r'RandomSolarize on float32 needs max_value, .* for place\.tif'):
        run([RandomSolarize(prob=1, modality='s1')], sample, max_value=dict(s1=None))
    with pytest.raises(ValueError, match=r'has 13 numbers, one per band, but the image has 2 bands'):
        run([RandomSolarize(prob=1, modality='s1')], sample, max_value=[1.0] * 13)
