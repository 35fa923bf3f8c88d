"""Arithmetic coding into windows of W bits, in whole numbers: which strings fit, and which symbol each has.

A predictor gives for every prefix 256 counts, each at least 1, that sum to 2^P. They cut the prefix's interval into
those of its continuations, as arithmetic coding does (Rissanen and Langdon 1979; Witten, Neal and Cleary, CACM 1987).
A window starts from the whole interval, which is 2^48 long here, so that every product of a length and a count stays
below 2^64. Blocks are aligned intervals of 2^(48 - W); a string *fits* iff its interval contains a whole block, and its
symbol is the first one it contains: the shortest code word there, filled up with zeros. (Equal-information windows:
Lester et al., arXiv 2404.03626.)

Two facts follow. A string that contains a block lies in its prefix's interval, so the strings that fit are
prefix-closed, and the longest one is found by going on as long as the next byte fits. And two strings with one symbol
contain one block, so their intervals overlap, so one begins with the other: what stands behind a symbol is a chain of
prefixes of one string.

Single bytes always fit. Counts of the empty prefix are raised to `floor`, two blocks each, of which one is aligned
wherever they lie; it costs the other bytes 256 floor / 2^P of the mass (an eighth for W = 12, 0.8 % for W = 16).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from byteproxy.errors import InputError

SCALE_BITS = 48
"""Bits of the whole interval."""
LONGEST = 64
"""Bytes of the longest string that may fit."""
MIN_BITS, MAX_BITS = 12, 24


@dataclass(frozen=True)
class Code:
    """The numbers of a code. bits: W, of a window. precision: P, of a count."""

    bits: int = 16
    precision: int = 16

    def __post_init__(self) -> None:
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise InputError(
                f"a window has {self.bits} bits: give {MIN_BITS} to {MAX_BITS}; in fewer not every byte would have "
                "room for a symbol of its own"
            )
        if not 10 <= self.precision <= 16:
            raise InputError(f"counts have {self.precision} bits: give 10 to 16")

    @property
    def block(self) -> int:
        """The length of a block."""
        return 1 << (SCALE_BITS - self.bits)

    @property
    def floor(self) -> int:
        """The least count of a window's first byte: that of two blocks."""
        return 1 << max(0, self.precision + 1 - self.bits)

    def first_counts(self, counts: Sequence[int]) -> list[int]:
        """The counts of the empty prefix, none below the floor; what rounding leaves goes to the most probable byte."""
        total = 1 << self.precision
        raised = [self.floor + count * (total - 256 * self.floor) // total for count in counts]
        raised[raised.index(max(raised))] += total - sum(raised)
        return raised


def checked(counts: np.ndarray, code: Code) -> np.ndarray:
    """The counts as int64 [n, 256]; InputError where they are below 1 or don't sum to 2^P."""
    counts = np.asarray(counts, dtype=np.int64)
    if counts.ndim != 2 or counts.shape[1] != 256:
        raise InputError(f"a predictor gave counts of shape {counts.shape}: give 256 for each prefix")
    if counts.size and counts.min() < 1:
        raise InputError(f"a predictor gave a count of {counts.min()}: every byte has to have at least 1")
    sums = counts.sum(axis=1)
    if (sums != 1 << code.precision).any():
        wrong = int(sums[sums != 1 << code.precision][0])
        raise InputError(f"a predictor gave counts that sum to {wrong}: let them sum to {1 << code.precision}")
    return counts


def counts_of(probabilities: np.ndarray, precision: int) -> np.ndarray:
    """Probabilities, float64 [n, 256], as counts, int64 [n, 256]: each at least 1, their sum 2^precision.

    Each byte gets 1 and the whole part of its share of the rest; what rounding leaves, below 256, goes to the most
    probable byte (the first of equals). That costs some 0.001 bits a byte, and no order of summation matters.
    """
    total = 1 << precision
    counts = 1 + np.floor(probabilities * (total - 256)).astype(np.int64)
    row = np.arange(len(counts))
    counts[row, counts.argmax(axis=1)] += total - counts.sum(axis=1)
    return counts
