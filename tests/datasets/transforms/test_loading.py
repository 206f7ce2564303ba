"""What loading a raster does to its bands, values and empty pixels; and that other libraries' pipelines take it."""

import re

import cv2
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from mmengine.registry import TRANSFORMS, init_default_scope
from rasterio.enums import Resampling

from mmrs_ssl.datasets import SampleIndex, SceneDataset
from mmrs_ssl.datasets.transforms import LoadModalities, LoadRaster, NoDataError
from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.rasters.nodata import Marks
from mmrs_ssl.rasters.reader import OpenRaster
from tests.rasters.rasters import noise, write_raster


def load(path, window=None, **options):
    results = dict(img_path=str(path), **({} if window is None else dict(window=window)))
    return LoadRaster(**{'bands': None, **options}).transform(results)['img']


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16', 'float32', 'float64'])
@pytest.mark.parametrize('suffix', ['tif', 'tiff', 'vrt'])
def test_window_keeps_pixels_and_type(tmp_path, dtype, suffix):
    pixels = noise(5, 40, 50, dtype)
    path = write_raster(tmp_path / 'a.tif', pixels)
    if suffix != 'tif':
        path = path.rename(tmp_path / 'a.tiff')
    if suffix == 'vrt':
        rasterio.shutil.copy(path, tmp_path / 'a.vrt', driver='VRT')
        path = tmp_path / 'a.vrt'
    image = load(path, Window(3, 7, 20, 30))
    assert image.dtype == dtype
    assert image.flags.c_contiguous
    assert np.array_equal(image, pixels[:, 3:23, 7:37].transpose(1, 2, 0))


def test_jpeg_2000(tmp_path):
    pixels = noise(3, 64, 64, 'uint16')
    options = dict(driver='JP2OpenJPEG', QUALITY='100', REVERSIBLE='YES')
    path = write_raster(tmp_path / 'a.jp2', pixels, photometric=None, **options)
    assert np.array_equal(load(path, Window(8, 8, 32, 32)), pixels[:, 8:40, 8:40].transpose(1, 2, 0))


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
def test_windows_of_pictures(tmp_path, suffix):
    whole = cv2.GaussianBlur(noise(3, 60, 60, 'uint8').transpose(1, 2, 0), (5, 5), 2)
    cv2.imwrite(str(tmp_path / f'a.{suffix}'), whole[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    window = load(tmp_path / f'a.{suffix}', Window(10, 20, 16, 16), bands=3)
    error = np.abs(window.astype(int) - whole[10:26, 20:36])
    assert error.max() == 0 if suffix == 'png' else error.mean() < 3


def test_bands_by_number_and_name(tmp_path):
    pixels = noise(4, 16, 16)
    path = write_raster(tmp_path / 'a.tif', pixels, names=('blue', 'green', 'red', 'NIR'))
    assert np.array_equal(load(path, bands=[3, 0]), pixels[[3, 0]].transpose(1, 2, 0))
    assert np.array_equal(load(path, bands=['Red', 'nir', 0]), pixels[[2, 3, 0]].transpose(1, 2, 0))
    assert load(path, bands=4).shape == (16, 16, 4)
    for bands, message in (
        (['swir'], r'has 4 bands \(0 to 3, named blue, green, red, nir\).*swir'),
        ([4], r'has 4 bands'),
        (3, r'has 4 bands, but bands=3 is configured.*e\.g\. bands=\[0, 1, 2\]'),
    ):
        with pytest.raises(ValueError, match=message):
            load(path, bands=bands)


def test_a_fourth_band_called_alpha_is_a_mask_unless_it_is_asked_for(tmp_path):
    pixels = noise(4, 16, 16, 'uint8')
    pixels[3], pixels[3, :, :8] = 255, 0
    path = write_raster(tmp_path / 'a.tif', pixels, photometric='rgb', alpha='yes')
    image = load(path)
    assert image.shape == (16, 16, 3)
    assert np.array_equal(image[:, 8:], pixels[:3, :, 8:].transpose(1, 2, 0))
    expected = pixels[:3, :, 8:].mean(axis=(1, 2)).astype(np.uint8)
    assert np.array_equal(image[0, 0], expected)  # masked: filled with the mean
    assert np.array_equal(load(path, bands=4), pixels.transpose(1, 2, 0))
    assert np.array_equal(load(path, bands=[3]), pixels[3:].transpose(1, 2, 0))


def test_resampling_to_a_size_uses_overviews(tmp_path):
    pixels = noise(2, 64, 64)
    path = write_raster(tmp_path / 'a.tif', pixels)
    with rasterio.open(path, 'r+') as file:
        file.build_overviews([4], Resampling.nearest)  # of which the average is another one than of the pixels
    with rasterio.open(path, overview_level=0) as file:
        overview = file.read().transpose(1, 2, 0)
    assert np.array_equal(load(path, size=16, resampling='average'), overview)
    assert load(tmp_path / 'a.tif', size=16).shape == (16, 16, 2)
    assert load(path, Window(0, 0, 32, 32), size=48).shape == (48, 48, 2)


@pytest.mark.parametrize(
    ('name', 'reduce'),
    dict(
        min=np.min,
        max=np.max,
        med=lambda cell, axis: np.sort(cell, axis)[..., 1],  # the lower of the two in the middle
        sum=np.sum,
        average=np.mean,
        mode=np.max,  # all are the same
    ).items(),
)
@pytest.mark.parametrize('declared', [True, False])
def test_every_way_of_resampling_leaves_out_what_is_no_data(tmp_path, name, reduce, declared):
    """A negative value is 0 to GDAL in the most frequent of integers, and extremes it takes in a warp alone."""
    pixels = np.repeat(noise(2, 32, 32, 'int16'), 2, axis=2)
    if name == 'mode':
        pixels[:, 1::2] = pixels[:, ::2]
    expected = reduce(pixels.reshape(2, 16, 2, 32, 2).transpose(0, 1, 3, 2, 4).reshape(2, 16, 32, 4), axis=3)
    pixels[:, :8] = -5
    path = write_raster(tmp_path / 'a.tif', pixels, **(dict(nodata=-5) if declared else {}))
    raster = OpenRaster(str(path), marks=Marks() if declared else Marks(-5))
    found, valid = raster.read([0, 1], None, (16, 32), name)
    assert not valid[:, :4].any()
    assert valid[:, 4:].all()
    np.testing.assert_allclose(found[:, 4:], expected[:, 4:], atol=0.51 if name == 'average' else 0)


@pytest.mark.parametrize('order', [('nearest', 'bilinear'), ('bilinear', 'nearest')])
def test_every_loader_resamples_as_it_was_asked_to(tmp_path, order):
    """To another size and onto another grid, one after the other from the same open file."""
    write_raster(tmp_path / 'a_x.tif', noise(1, 40, 40))
    classes = np.where(noise(1, 40, 40) > 100, 10, 200).astype(np.uint16)
    path = write_raster(tmp_path / 'a_y.tif', classes, shift=(0.4, 0.4))
    for name in order:
        load_y = dict(bands=1, resampling=name)
        step = dict(type='mmrs_ssl.LoadModalities', modalities=dict(x=dict(bands=1), y=load_y))
        scenes = SceneDataset(str(tmp_path), [step], files=dict(x='{scene}_x', y='{scene}_y'), window=16)
        for image in (scenes[0]['img']['y'], load(path, size=56, resampling=name)):
            assert (set(np.unique(image)) == {10, 200}) == (name == 'nearest')


def test_scale_and_offset(tmp_path):
    path = write_raster(tmp_path / 'a.tif', noise(2, 8, 8, 'int16'))
    with rasterio.open(path, 'r+') as file:
        file.scales, file.offsets = (0.01, 2.0), (-1.0, 5.0)
    image = load(path, unscale=True)
    assert image.dtype == np.float32
    expected = noise(2, 8, 8).transpose(1, 2, 0) * np.array([0.01, 2.0]) + np.array([-1.0, 5.0])
    assert np.allclose(image, expected, rtol=1e-6)
    assert np.allclose(load(path, bands=[1, 0], unscale=True), expected[..., ::-1], rtol=1e-6)
    assert load(path).dtype == np.int16


def test_stretch_by_limits_and_by_quantiles(tmp_path):
    pixels = noise(2, 30, 30, 'int16') - 50
    pixels[:, 0, 0] = -9999
    path = write_raster(tmp_path / 'a.tif', pixels, nodata=-9999)
    image = load(path, stretch=[[0, 100], [-50, 150]])
    low, high = np.array([0, -50]), np.array([100, 150])
    truth = np.clip((pixels.transpose(1, 2, 0).astype(float) - low) / (high - low) * 255, 0, 255)
    assert image.dtype == np.uint8
    assert np.abs(image - truth)[1:].max() <= 0.501
    image = load(path, stretch=(0.1, 0.9))
    for band in range(2):
        valid = pixels[band][pixels[band] != -9999]
        low, high = np.quantile(valid, [0.1, 0.9])
        truth = np.clip((pixels[band, 1:] - low) / (high - low) * 255, 0, 255)
        assert np.abs(image[1:, :, band] - truth).max() <= 0.501
    with pytest.raises(ValueError, match='stretch has 1 pairs of limits for 2 bands'):
        load(path, stretch=[[0, 1]])


@pytest.mark.parametrize('fill', ['mean', 7])
def test_empty_pixels_are_filled_per_band(tmp_path, fill):
    pixels = noise(2, 20, 20, 'float32')
    pixels[0, :5], pixels[1, 15:] = np.nan, -1
    path = write_raster(tmp_path / 'a.tif', pixels, nodata=-1)
    image = load(path, fill=fill)
    for band, (valid, empty) in enumerate(((slice(5, 20), slice(0, 5)), (slice(0, 15), slice(15, 20)))):
        assert np.array_equal(image[valid, :, band], pixels[band, valid])
        expected = pixels[band, valid].mean(dtype=np.float64) if fill == 'mean' else fill
        assert np.allclose(image[empty, :, band], expected)


def test_an_image_or_band_without_data_is_refused(tmp_path):
    pixels = noise(2, 8, 8, 'float32')
    pixels[1] = np.inf
    path = write_raster(tmp_path / 'a.tif', pixels)
    with pytest.raises(NoDataError, match=r'a\.tif: band 1 \(from 0\) has no valid pixel in window \(0, 0, 4, 4\)'):
        load(path, Window(0, 0, 4, 4))
    path = write_raster(tmp_path / 'b.tif', np.full((1, 8, 8), np.nan, np.float32))
    with pytest.raises(NoDataError, match=r'b\.tif: band 0'):
        load(path)


def test_a_pixel_is_empty_if_all_its_bands_are(tmp_path):
    pixels = noise(2, 20, 20, 'float32')
    pixels[0, :, :12], pixels[1, :, 10:] = np.nan, np.nan  # both in two of twenty columns
    results = dict(img_path=str(write_raster(tmp_path / 'a.tif', pixels)))
    assert LoadRaster(bands=2).transform(dict(results, max_nodata=0.11))['img'].shape == (20, 20, 2)
    with pytest.raises(NoDataError, match=r'10% of the pixels hold no data, more than max_nodata=0\.09'):
        LoadRaster(bands=2).transform(dict(results, max_nodata=0.09))


def test_height_above_the_minimum_and_in_colors(tmp_path):
    metres = np.linspace(300, 340, 64, dtype=np.float32).reshape(1, 8, 8).copy()
    metres[0, 0, 0] = -9999
    path = write_raster(tmp_path / 'a.tif', metres, nodata=-9999)
    height = load(path, height='above_minimum')
    lowest = metres[metres > 0].min()
    assert np.allclose(height[..., 0].ravel()[1:], metres.ravel()[1:] - lowest)
    assert height[0, 0, 0] == pytest.approx((metres.ravel()[1:] - lowest).mean(), rel=1e-5)
    colors = load(path, height='colors', height_limit=20.0, fill=0)
    gray = np.clip(height[..., 0] / 20 * 255, 0, 255).round().astype(np.uint8)
    assert colors.dtype == np.uint8
    assert np.array_equal(colors[1:, :, ::-1], cv2.applyColorMap(gray, cv2.COLORMAP_VIRIDIS)[1:])
    with pytest.raises(ValueError, match="height='meters'"):
        LoadRaster(height='meters')


def test_a_flat_surface_model_is_no_data(tmp_path):
    """Of a place with a lake, windows on the lake alone are replaced by others."""
    heights = np.zeros((1, 32, 64), np.float32)
    heights[:, :, 40:] = np.arange(24)
    write_raster(tmp_path / 'a_dsm.tif', heights)
    write_raster(tmp_path / 'a_rgb.tif', noise(3, 32, 64, 'uint8'))
    load_both = dict(
        type='mmrs_ssl.LoadModalities', modalities=dict(rgb=dict(bands=3), dsm=dict(bands=1, height='above_minimum'))
    )
    files = dict(rgb='{scene}_rgb', dsm='{scene}_dsm')
    data = SceneDataset(str(tmp_path), [load_both], files=files, window=16, windows_per_epoch=40)
    windows = [data[SampleIndex(i, 0, 0)] for i in range(40)]
    assert all(np.ptp(sample['img']['dsm']) > 0 for sample in windows)
    assert min(sample['window'].left for sample in windows) > 24  # 16 pixels from there reach the shore
    layers = dict(rgb=[(str(tmp_path / 'a_rgb.tif'),)], dsm=[(str(tmp_path / 'a_dsm.tif'),)])
    with pytest.raises(NoDataError, match=r"lake: one height everywhere in 'dsm'"):
        LoadModalities(load_both['modalities']).transform(
            dict(layers=layers, img_path='lake', window=Window(0, 0, 16, 16))
        )


def test_a_modality_that_the_scene_does_not_have():
    layers = dict(rgb=[('a.tif',)], dsm=[('b.tif',)])
    with pytest.raises(ValueError, match=re.escape("LoadRaster(modality=None), but the scene has 'rgb', 'dsm'")):
        LoadRaster().transform(dict(layers=layers))
    with pytest.raises(ValueError, match="modality='nir'"):
        LoadModalities(dict(nir=dict())).transform(dict(layers=layers))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(bands=[-1]), r'bands=\[-1\]'),
        (dict(bands=[]), r'bands=\[\]'),
        (dict(resampling='cubicc'), r"resampling='cubicc' is not one of .*bilinear"),
        (dict(resampling='gauss'), r"resampling='gauss' is not one of .*bilinear"),
        (dict(stretch=(0, 10000)), r'stretch=\(0, 10000\), expected two quantiles'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        LoadRaster(**options)


def test_nodata_is_in_the_units_of_the_file(tmp_path):
    pixels = noise(1, 8, 8, 'int16')
    pixels[0, 0] = 7
    path = write_raster(tmp_path / 'a.tif', pixels)
    with rasterio.open(path, 'r+') as file:
        file.scales, file.offsets = (0.5,), (1.0,)
    image = load(path, unscale=True, nodata=7)
    valid = pixels[0] != 7
    assert np.allclose(image[0, :, 0], (pixels[0][valid] * 0.5 + 1).mean())


def test_a_size_for_pictures_too(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), noise(3, 40, 40, 'uint8').transpose(1, 2, 0))
    assert load(tmp_path / 'a.png', size=16).shape == (16, 16, 3)


# In other libraries' pipelines


def test_mmseg_pipeline(tmp_path):
    image = write_raster(tmp_path / 'a.tif', noise(5, 32, 32))
    cv2.imwrite(str(tmp_path / 'a.png'), noise(1, 32, 32, 'uint8')[0] % 3)
    import mmseg.datasets  # noqa: F401

    init_default_scope('mmseg')
    results = dict(img_path=str(image), seg_map_path=str(tmp_path / 'a.png'), reduce_zero_label=False, seg_fields=[])
    for step in (
        dict(type='mmrs_ssl.LoadRaster', bands=5),
        dict(type='LoadAnnotations'),
        dict(type='RandomCrop', crop_size=(16, 16)),
        dict(type='PackSegInputs'),
    ):
        results = TRANSFORMS.build(step)(results)
    assert results['inputs'].shape == (5, 16, 16)
    assert results['data_samples'].ori_shape == (32, 32)


def test_mmdet_pipeline(tmp_path):
    image = write_raster(tmp_path / 'a.tif', noise(4, 32, 48))
    import mmdet.datasets  # noqa: F401

    init_default_scope('mmdet')
    box = dict(bbox=[4, 4, 20, 20], bbox_label=1, ignore_flag=0)
    results = dict(img_path=str(image), img_id=0, instances=[box])
    for step in (
        dict(type='mmrs_ssl.LoadRaster', bands=[2, 1, 0]),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(96, 64), keep_ratio=True),
        dict(type='PackDetInputs'),
    ):
        results = TRANSFORMS.build(step)(results)
    assert results['inputs'].shape == (3, 64, 96)
    assert results['data_samples'].gt_instances.bboxes.tensor.tolist() == [[8, 8, 40, 40]]


def test_two_dates_as_change_detection_pipelines_give_them(tmp_path):
    paths = [str(write_raster(tmp_path / f'{i}.tif', noise(3, 16, 16, seed=i))) for i in range(2)]
    results = LoadRaster(bands=3).transform(dict(img_path=paths))
    assert [image.shape for image in results['img']] == [(16, 16, 3)] * 2
    assert results['img_shape'] == (16, 16)
    assert np.array_equal(results['img'][1], noise(3, 16, 16, seed=1).transpose(1, 2, 0))
