"""Intervals and lines against scipy's own tests, and against slow computations."""

import numpy as np
import pytest
from scipy import stats

from byteproxy.evaluate.paired import paired_difference
from byteproxy.generate.score import Scored
from byteproxy.study.fits import fitted, read_at
from byteproxy.study.statistics import paired_by_document, paired_by_seed, t_interval


@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_interval_is_that_of_the_paired_t_test(count):
    rng = np.random.default_rng(count)
    one, other = rng.normal(2.0, 0.1, count), rng.normal(2.1, 0.1, count)
    found, percent, seeds = paired_by_seed(dict(enumerate(one)), dict(enumerate(other)))
    right = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((right.low, right.high))
    assert found.mean == pytest.approx((one - other).mean())
    assert percent == pytest.approx(100 * (one.mean() / other.mean() - 1))
    assert seeds == count


def test_only_common_seeds_count_and_one_has_no_interval():
    found, percent, seeds = paired_by_seed({0: 1.0, 1: 5.0}, {0: 2.0, 2: 9.0})
    assert (found.mean, found.low, found.high, percent, seeds) == (-1.0, None, None, -50.0, 1)
    assert paired_by_seed({0: 1.0}, {1: 2.0}) is None
    assert t_interval([3.0]).high is None


def test_documents_are_of_the_mean_bits_over_seeds():
    rng, sizes = np.random.default_rng(1), np.array([100, 50, 70, 10])
    one, other = ([Scored(rng.uniform(1, 3, 4) * sizes, sizes) for _ in range(3)] for _ in range(2))
    mean = [Scored(sum(scored.bits for scored in own) / 3, sizes) for own in (one, other)]
    assert paired_by_document(one, other) == pytest.approx(paired_difference(*mean))


@pytest.mark.parametrize("seed", range(4))
def test_the_line_is_that_of_least_squares(seed):
    rng = np.random.default_rng(seed)
    x = np.repeat([1e12, 3e12, 1.2e13], 3)
    gap = -10 + 1.5 * np.log2(x / 1e12) + rng.normal(0, 0.5, 9)
    line = fitted(x.tolist(), gap.tolist())
    right = stats.linregress(np.log2(x), gap)
    half = stats.t.ppf(0.975, 7) * right.stderr
    assert (line.slope, line.low, line.high) == pytest.approx((right.slope, right.slope - half, right.slope + half))
    design = np.stack([np.ones(9), np.log2(x)], axis=1)
    inverse, at = np.linalg.inv(design.T @ design), np.array([1, np.log2(1.2e13)])
    left_over = gap - design @ (inverse @ design.T @ gap)
    spread = stats.t.ppf(0.975, 7) * np.sqrt(at @ inverse @ at * (left_over**2).sum() / 7)
    assert line.at_largest == pytest.approx(right.intercept + right.slope * at[1])
    assert (line.at_largest_high - line.at_largest, line.at_largest - line.at_largest_low) == pytest.approx(
        [spread] * 2
    )
    assert np.log2(line.vanishes_at) == pytest.approx(-right.intercept / right.slope)
    assert line.vanishes_at > 1.2e13


def test_where_a_line_crosses_zero():
    assert fitted([1, 2], [-2, -1]).vanishes_at == pytest.approx(4)
    assert fitted([1, 2], [3, 1]).vanishes_at == pytest.approx(2**1.5)
    assert fitted([1, 2], [-1, -2]).vanishes_at is None, "it moves away"
    assert fitted([1, 2], [-1, 1]).vanishes_at is None, "it did so before the largest"
    assert fitted([1, 2], [-1, -1]).vanishes_at is None, "it stays"
    assert fitted([1, 2], [-1, -1 + 1e-9]).vanishes_at is None, "nowhere that has a name"


def test_two_points_have_no_interval_and_one_x_no_line():
    line = fitted([1, 4], [0, 2])
    assert (line.slope, line.low, line.at_largest, line.at_largest_high) == (1, None, 2, None)
    assert fitted([3, 3, 3], [1, 2, 3]) is None
    assert fitted([], []) is None


def test_curves_are_read_where_the_first_ends():
    curves = {
        "one": [([10, 20, 40], [4.0, 3.0, 1.0]), ([10, 20, 40], [4.0, 3.0, 2.0])],
        "two": [([15, 30], [5.0, 2.0])],
        "late": [([35, 50], [1.0, 1.0])],
    }
    assert read_at(curves) == {"at": 30, "arms": {"one": pytest.approx((2.0 + 2.5) / 2), "two": 2.0, "late": None}}
    assert read_at({}) is None
