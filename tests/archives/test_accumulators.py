"""Quantiles and moments that are merged piece by piece are those of all values at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmrs_ssl.archives.band_statistics import band_statistics
from tests.archives.test_band_statistics import TILED, check, draw, write


@pytest.mark.parametrize('dtype', ['float32', 'int32'])
def test_quantiles_of_many_values(dtype: str, tmp_path: Path) -> None:
    values = (draw('float32', (1, 900, 1200), 0) * (1 if dtype == 'float32' else 1000)).astype(dtype)
    shares = np.linspace(0.001, 0.999, 50).tolist()
    for processes in (1, 2):
        stats = band_statistics([write(tmp_path / 'a.tif', values)], shares=shares, processes=processes)
        check(stats, [values.ravel()], values.size, exact=False)


@pytest.mark.usefixtures('small_windows')
def test_large_offset(tmp_path: Path) -> None:
    values = (1e6 + np.random.default_rng(0).normal(size=(1, 700, 600))).astype(np.float32)
    band = band_statistics([write(tmp_path / 'a.tif', values, **TILED)]).bands[0]
    assert band is not None
    assert band.std == pytest.approx(values.astype(np.float64).std(), rel=1e-9)
    assert band.mean == pytest.approx(values.astype(np.float64).mean(), rel=1e-12)


def test_stretched_moments(tmp_path: Path) -> None:
    for dtype in ('uint16', 'float32'):
        values = draw(dtype, (1, 150, 140), 3)
        band = band_statistics([write(tmp_path / f'{dtype}.tif', values)]).bands[0]
        assert band is not None
        low, high = band.limits
        stretched = np.clip((values.astype(np.float64) - low) / (high - low) * 255, 0, 255)
        assert band.stretched == pytest.approx((stretched.mean(), stretched.std()), rel=0.002)
