"""Fit how a gap changes as compute or models grow: a straight line over the doublings of x, by least squares."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from byteproxy.study.statistics import CONFIDENCE

_LARGEST = 300.0
"""Doublings beyond which a line that hardly moves is said to reach zero nowhere."""


class Fit(NamedTuple):
    """A line through a gap over log2(x), the gap in percent.

    slope: percent points for each doubling of x. at_largest: the line's value at the largest x. low, high: 95 %
    intervals of both; None where the points leave nothing to tell a spread from.
    vanishes_at: the x beyond the data where the line crosses zero; None if it moves away from zero, or stays.
    """

    slope: float
    low: float | None
    high: float | None
    at_largest: float
    at_largest_low: float | None
    at_largest_high: float | None
    vanishes_at: float | None


def fitted(x: Sequence[float], gap: Sequence[float]) -> Fit | None:
    """Fit a line; None where there are fewer than two different x. All x are above zero.

    Every point counts alike, so each x should have as many seeds as the others.
    """
    if len(set(x)) < 2:
        return None
    doublings = np.log2(np.asarray(x, np.float64))
    largest = float(doublings.max())
    line = stats.linregress(doublings - largest, gap)  # so its intercept is the value at the largest x
    slope, value, free = float(line.slope), float(line.intercept), len(gap) - 2

    def interval(middle: float, error: float) -> tuple[float | None, float | None]:
        if not free:
            return None, None
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, free) * error)
        return middle - half, middle + half

    around_slope, around_value = interval(slope, line.stderr), interval(value, line.intercept_stderr)
    return Fit(slope, *around_slope, value, *around_value, _vanishes(largest, value, slope))


def _vanishes(largest: float, value: float, slope: float) -> float | None:
    if value * slope >= 0:
        return None
    where = largest - value / slope
    return 2.0**where if where < _LARGEST else None


def read_at(curves: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]]) -> dict[str, Any] | None:
    """Every arm's curves read at one x, the smallest end of any: {"at": x, "arms": {name: mean over its curves}}.

    curves: by arm one for each seed, (x, y) with x growing; between two points a straight line. An arm whose curve
    begins only beyond that x is None. None where there is no curve at all.
    """
    ends = [max(x) for own in curves.values() for x, _ in own if len(x)]
    if not ends:
        return None
    at = min(ends)
    arms: dict[str, float | None] = {}
    for name, own in curves.items():
        values = [float(np.interp(at, x, y)) if len(x) and min(x) <= at else None for x, y in own]
        known = [value for value in values if value is not None]
        arms[name] = float(np.mean(known)) if known and len(known) == len(values) else None
    return {"at": at, "arms": arms}
