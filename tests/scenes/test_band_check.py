"""The check that files have the bands a pipeline reads."""

import re

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
