"""Cut a document where the next byte is hard to predict.

The entropy of each byte given the document before it, in bits, decides:

global      a segment begins where the entropy is above a threshold;
monotonic   where it has risen by more than another threshold since the byte before;
either      at both.

Thresholds are quantiles of a sample, so they mean the same for a weak predictor and a strong one. No segment is longer
than 512 bytes. (Global and monotonic: BLT, arXiv 2412.09871; quantiles and the limit: what is known of the neural proxy
of arXiv 2602.04289.) Cost: a few operations per byte.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from byteproxy.errors import InputError
from byteproxy.jit import nb

Criterion = Literal["global", "monotonic", "either"]
LONGEST_SEGMENT = 512


@dataclass(frozen=True)
class Thresholds:
    """level: bits above which an entropy is high. rise: bits by which it grows from one byte to the next."""

    criterion: Criterion
    level: float
    rise: float


def thresholds(entropies: Sequence[np.ndarray], criterion: Criterion, quantile: float) -> Thresholds:
    """The thresholds that the given share of positions of some documents lies at or below.

    entropies: float16 [bytes] of each document; its first byte, which nothing stands before, is not counted.
    Raises InputError for a quantile outside of (0, 1), and where there is no position.
    """
    if not 0 < quantile < 1:
        raise InputError(f"quantile is {quantile}: give a share above 0 and below 1, such as 0.9")
    if criterion not in get_args(Criterion):
        raise InputError(f"criterion is {criterion!r}: give one of {', '.join(get_args(Criterion))}")
    bits = [one.astype(np.float32) for one in entropies]
    levels = np.concatenate([np.zeros(0), *(one[1:] for one in bits)])
    if not len(levels):
        raise InputError("there are no two bytes in a row to find thresholds from: give more text")
    rises = np.concatenate([np.diff(one) for one in bits])
    return Thresholds(criterion, float(np.quantile(levels, quantile)), float(np.quantile(rises, quantile)))


def cuts_of(entropies: np.ndarray, chosen: Thresholds) -> np.ndarray:
    """Where segments of a document begin, its first left out: int64, ascending offsets; entropies: float16 [bytes]."""
    bits = entropies.astype(np.float32)
    high = np.zeros(len(entropies), dtype=np.bool_)
    if chosen.criterion != "monotonic":
        high |= bits > chosen.level
    if chosen.criterion != "global":
        high[1:] |= np.diff(bits) > chosen.rise
    cuts = np.empty(len(high), dtype=np.int64)
    return cuts[: _cuts(high, cuts)]


@nb.njit(cache=True, nogil=True)
def _cuts(high: np.ndarray, cuts: np.ndarray) -> int:
    count = begin = 0
    for at in range(1, len(high)):
        if high[at] or at - begin == LONGEST_SEGMENT:
            cuts[count] = begin = at
            count += 1
    return count
