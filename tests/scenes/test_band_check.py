"""The check that files have the bands a pipeline reads."""

import re

from mmrs_ssl.synthetic.writing import write_geotiff
from tests.rasters.rasters import LOAD, dataset, noise, write_raster


def test_a_band_that_is_called_alpha_is_told(tmp_path, monkeypatch):
    pixels = noise(4, 32, 32, 'uint8')
    pixels[3] = 255 * (pixels[3] > 100)
    write_raster(tmp_path / 'a.tif', pixels, photometric='rgb', alpha='yes')
    warnings = []
    monkeypatch.setattr('mmrs_ssl.rasters.agreement.print_log', lambda text, *args: warnings.append(text))
    assert dataset(tmp_path, max_nodata=1)[0]['img'].shape == (16, 16, 3)
    assert re.search(r'1 files declare a band alpha, .*a\.tif.*pipeline\.0\.bands', warnings.pop())
    assert dataset(tmp_path, load=dict(LOAD, bands=4), max_nodata=1)[0]['img'].shape == (16, 16, 4)
    assert not warnings
    assert dataset(tmp_path, load=dict(LOAD, bands=[0, 1, 2]), max_nodata=1)[0]['img'].shape == (16, 16, 3)
    assert re.search(r'1 of 1 files declare a band alpha .*a\.tif.*alpha=True .*alpha=False', warnings.pop())
    for alpha in (True, False):
        dataset(tmp_path, load=dict(LOAD, bands=3, alpha=alpha), max_nodata=1)
    assert not warnings


def test_bands_are_called_what_most_files_call_them(tmp_path):
    """And not what one does that is left out."""
    write_geotiff(tmp_path / 'a.tif', noise(3, 32, 32).transpose(1, 2, 0), 1.0, band_names=('red', 'green', 'blue'))
    for name in 'bcd':
        bands = ('B01', 'B02', 'B03', 'B04')
        write_geotiff(tmp_path / f'{name}.tif', noise(4, 32, 32).transpose(1, 2, 0), 1.0, band_names=bands)
    data = dataset(tmp_path, load=dict(LOAD, bands=None, ignore_names=True), max_bad=0.5)
    assert data.band_names == {'': ('B01', 'B02', 'B03', 'B04')}
