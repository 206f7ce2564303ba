"""The jitter of spectra, by its formula, and values it refuses."""

import numpy as np
import pytest

from mmrs_ssl.datasets.transforms import (
    SpectralJitter,
)
from tests.datasets.transforms.test_photometric import apply
from tests.rasters.rasters import picture


@pytest.mark.parametrize(('dtype', 'top', 'white'), [(np.uint8, 256, None), (np.uint16, 9000, 1e4), (np.float32, 2, 1)])
def test_spectral_jitter_by_formula(dtype, top, white):
    image = picture(bands=13, dtype=dtype, top=top)
    out = apply(SpectralJitter(0.4, 0.3, prob=1, max_value=white), image, seed=5)
    rng = np.random.default_rng(5)
    rng.random()
    of_bands = np.random.default_rng(rng.integers(2**63))
    for band in range(13):
        g, c = of_bands.uniform(-1, 1, 2)
        brighter = image[..., band].astype(float) * (1 + 0.4 * g)
        expected = brighter.mean() + (1 + 0.3 * c) * (brighter - brighter.mean())
        expected = expected.clip(0, white or 255)
        atol = 1e-5 if dtype == np.float32 else 0.51
        np.testing.assert_allclose(out[..., band], expected, atol=atol, rtol=1e-5)
    assert out.dtype == dtype


def test_negative_values_are_not_clipped_away():
    image = np.full((4, 4, 2), -3.0, np.float32)
    with pytest.raises(ValueError, match=r'SpectralJitter expects values from 0 to max_value, found -3\.0'):
        SpectralJitter(prob=1.0, max_value=10).transform(dict(img=image, rng=np.random.default_rng(0)))
