"""Intervals over test images, against what statistics says of them."""

import numpy as np
import pytest

from mmrs_ssl.evaluation.intervals import bootstrap_interval, figure_of


@pytest.mark.parametrize('share', [0.5, 0.9])
def test_interval_of_an_accuracy_is_that_of_a_share(share):
    right = np.arange(400) < 400 * share
    low, high = bootstrap_interval(right.astype(float))
    half = 1.96 * (share * (1 - share) / 400) ** 0.5
    assert low == pytest.approx(share - half, abs=0.01)
    assert high == pytest.approx(share + half, abs=0.01)
    assert bootstrap_interval(right.astype(float)) == (low, high)  # the same draws


def test_interval_of_a_statistic_of_rows_draws_whole_images():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 1)).repeat(2, axis=1)  # both columns the same: drawn apart they would differ

    def distance(drawn):
        return float(np.abs(drawn[:, 0] - drawn[:, 1]).max() + drawn[:, 0].mean())

    low, high = bootstrap_interval(rows, distance, draws=300)
    deviation = rows[:, 0].std() / 200**0.5
    assert low == pytest.approx(rows[:, 0].mean() - 1.96 * deviation, abs=0.03)
    assert high == pytest.approx(rows[:, 0].mean() + 1.96 * deviation, abs=0.03)
    assert bootstrap_interval(rows, draws=300) == pytest.approx((low, high), abs=0.03)  # the mean of all numbers


def test_the_figure_is_always_within():
    """The largest value of drawn images is never above that of all, and mostly below."""
    rows = np.arange(50.0)
    value, low, high = figure_of(rows, lambda drawn: float(drawn.max()))
    assert (value, high) == (49, 49)
    assert 40 < low < 49
    assert figure_of(np.ones(10)) == (1, 1, 1)


def test_no_interval_without_figures():
    with pytest.raises(ValueError, match='over 1 test images; expected two'):
        bootstrap_interval(np.ones(1))
    with pytest.raises(ValueError, match='is nan; look for NaN'):
        bootstrap_interval(np.array([1.0, np.nan, 0.0]))
