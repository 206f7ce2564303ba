"""What mmrs-ssl pretrain measures of images: pixels that hold data, as mmrs-ssl stats counts them."""

import numpy as np
import pytest
from mmengine.config import Config

from mmrs_ssl.archives.band_statistics import band_statistics
from mmrs_ssl.cli.pretrain_pixels import sample_statistics
from tests.rasters.rasters import coordinates, noise, write_raster


@pytest.mark.parametrize('dates', [1, 2])
def test_pixels_that_were_filled_do_not_count(tmp_path, dates):
    """They are the mean of their image: counted, they would make the deviation smaller than it is."""
    for i in range(3):
        pixels = noise(2, 64, 64, seed=i) + np.uint16(100 * i)
        pixels[:, : 10 + 20 * i] = 0
        for date in (2020, 2021):
            write_raster(tmp_path / f'p{i}_{date}.tif', pixels, nodata=0)
    load = dict(type='mmrs_ssl.LoadRaster', bands=2)
    data = dict(data_root=str(tmp_path), files='{scene}_{date}', dates=dates, cache_dir=str(tmp_path))
    data |= dict(type='mmrs_ssl.SceneDataset', pipeline=[load], window=64, sampling='grid', max_nodata=0.9)
    found = sample_statistics(Config(dict(train_dataloader=dict(dataset=data))))['']
    expected = band_statistics(sorted(tmp_path.glob('*_2020.tif')))
    for ours, other in zip(found.bands, expected.bands, strict=True):
        assert (ours.count, ours.low, ours.high) == (other.count, other.low, other.high)
        assert (ours.mean, ours.std) == pytest.approx((other.mean, other.std))
    assert found.spreads == pytest.approx(expected.spreads)
    assert found.nodata_share == pytest.approx(expected.nodata_share)


def test_every_modality_has_its_own_holes(tmp_path):
    rgb = noise(3, 64, 64, 'uint8')
    heights = coordinates(64, 64)[:1].copy()
    rgb[:, :8], heights[:, :, :16] = 0, -9999
    write_raster(tmp_path / 'a_rgb.tif', rgb, nodata=0)
    write_raster(tmp_path / 'a_dsm.tif', heights, nodata=-9999)
    load = dict(rgb=dict(bands=3), dsm=dict(bands=1, height='above_minimum'))
    data = dict(type='mmrs_ssl.SceneDataset', data_root=str(tmp_path), window=64, cache_dir=str(tmp_path))
    data |= dict(files=dict(rgb='{scene}_rgb', dsm='{scene}_dsm'))
    data |= dict(pipeline=[dict(type='mmrs_ssl.LoadModalities', modalities=load)])
    found = sample_statistics(Config(dict(train_dataloader=dict(dataset=data))))
    above = heights[0, :, 16:] - heights[0, :, 16:].min()
    assert (found['dsm'].bands[0].mean, found['dsm'].bands[0].std) == pytest.approx((above.mean(), above.std()))
    assert found['rgb'].bands[0].std == pytest.approx(rgb[0, 8:].std())
