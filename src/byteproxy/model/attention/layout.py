"""Where documents lie in a step's positions, prepared once per step for every layer.

Documents are grouped by length into buckets and padded to the longest in theirs, at their ends, where causality alone
hides the padding from every real position. Two index lists, each other's inverse, carry positions there and back.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

STEP = 32  # lengths are rounded up to multiples of this: little padding, few shapes, so few kernels to make and keep


class Bucket(NamedTuple):
    """`documents` documents of at most `length` positions each."""

    documents: int
    length: int


class Layout(NamedTuple):
    """Documents in a line of N positions.

    lengths: positions of each document, in order.
    positions_N: int64, each position's place in its document, from 0.
    buckets: in the order of `into_M`.
    into_M: int64, for every slot of every bucket the position that goes there, or -1 for padding.
    back_N: int64, for every position its slot.
    """

    lengths: list[int]
    positions_N: torch.Tensor
    buckets: list[Bucket]
    into_M: torch.Tensor
    back_N: torch.Tensor


def layout_of(lengths: np.ndarray) -> Layout:
    """The layout of documents of these lengths, laid end to end; every length at least 1."""
    starts = np.cumsum(lengths) - lengths
    positions = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
    rounded = -(-lengths // STEP) * STEP
    into, buckets = [], []
    for size in np.unique(rounded).tolist():
        slots = np.arange(size)[None, :]
        for members in _by_powers_of_two(np.flatnonzero(rounded == size)):
            into.append(np.where(slots < lengths[members, None], starts[members, None] + slots, -1).ravel())
            buckets.append(Bucket(len(members), size))
    into_slots = np.concatenate(into)
    back = np.empty(len(positions), np.int64)
    filled = np.flatnonzero(into_slots >= 0)
    back[into_slots[filled]] = filled
    return Layout(
        lengths.tolist(), torch.from_numpy(positions), buckets, torch.from_numpy(into_slots), torch.from_numpy(back)
    )


def _by_powers_of_two(members: np.ndarray) -> Iterator[np.ndarray]:
    """13 documents as 8, 4 and 1 of them."""
    while len(members):
        size = 1 << (len(members).bit_length() - 1)
        yield members[:size]
        members = members[size:]
