"""Intervals for the difference between two arms: over training seeds, and over documents."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from byteproxy.evaluate.paired import Difference, paired_difference
from byteproxy.generate.score import Scored

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean and its 95 % interval; low and high are None where one value says nothing about the spread."""

    mean: float
    low: float | None
    high: float | None


def t_interval(values: Sequence[float]) -> Interval:
    """The mean of some values with Student's interval. Of differences by seed this is the paired t-test's.

    It takes differences to be normal; with three seeds its half-width is 2.5 standard deviations.
    """
    array = np.asarray(values, np.float64)
    mean = float(array.mean())
    if len(array) < 2:
        return Interval(mean, None, None)
    error = float(array.std(ddof=1) / np.sqrt(len(array)))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(array) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def paired_by_seed(one: Mapping[int, float], other: Mapping[int, float]) -> tuple[Interval, float, int] | None:
    """One arm's bits per byte minus another's: with its interval, in percent of the other's mean, over how many seeds.

    Both are by seed; None where they have none in common.
    """
    seeds = sorted(set(one) & set(other))
    if not seeds:
        return None
    interval = t_interval([one[seed] - other[seed] for seed in seeds])
    return interval, 100 * interval.mean / float(np.mean([other[seed] for seed in seeds])), len(seeds)


def paired_by_document(one: Sequence[Scored], other: Sequence[Scored]) -> Difference:
    """The paired bootstrap over documents, of the mean bits over seeds; both have the same seeds in the same order."""
    return paired_difference(_mean(one), _mean(other))


def _mean(scored: Sequence[Scored]) -> Scored:
    return Scored(np.mean([one.bits for one in scored], axis=0), scored[0].bytes)
