"""Where documents lie in a step's positions, prepared once per step for every layer.

Documents are grouped by length into buckets and padded to the longest in theirs, at their ends, where causality alone
hides the padding from every real position. Two index lists, each other's inverse, carry positions there and back.
Parts that only some backends need are made when first used.

A training step has few documents, so its buckets are coarse, or each document would be a bucket of its own. Callers
that choose what is read at once take documents of like lengths (`length_batches`); then finer buckets (`fine`) cost
little.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

STEP = 32  # lengths are rounded up to multiples of this: little padding, few shapes, so few kernels to make and keep
MAX_POSITIONS_PER_PASS = 8192  # of a pass without gradients, by less than a document more
FINE = 10  # a fine step is at most this part of the shortest length that it rounds, so padding is under 1 in 11


class Bucket(NamedTuple):
    """`documents` documents of at most `length` positions each."""

    documents: int
    length: int


@dataclass(frozen=True)
class Layout:
    """Documents in a line of N positions.

    lengths: positions of each document, in order.
    positions_N: int64, each position's place in its document, from 0.
    buckets: in the order of `into_M`.
    into_M: int64, for every slot of every bucket the position that goes there, or -1 for padding.
    back_N: int64, for every position its slot.
    padding_P: int64, the slots that are padding.
    in_place: whether `into_M` changes nothing, so that nothing has to be carried.
    kept: what branches will see of these documents; None: there are none.
    """

    lengths: list[int]
    positions_N: torch.Tensor
    buckets: list[Bucket]
    into_M: torch.Tensor
    back_N: torch.Tensor
    padding_P: torch.Tensor
    in_place: bool
    kept: "Kept | None" = None

    @cached_property
    def document_N(self) -> torch.Tensor:
        """The number of each position's document, int64, from 0."""
        device = self.positions_N.device
        lengths = torch.tensor(self.lengths, device=device)
        return torch.repeat_interleave(torch.arange(len(self.lengths), device=device), lengths)

    @cached_property
    def bounds(self) -> torch.Tensor:
        """Where each document begins, and where the last one ends: int32 [documents + 1]."""
        ends = np.concatenate([[0], np.cumsum(self.lengths)])
        return torch.from_numpy(ends.astype(np.int32)).to(self.positions_N.device)


class Kept:
    """What a pass over documents computes of some positions, kept for branches: P of them, without gradient.

    These are, of each document that branches leave, the positions up to the last one that some follow.
    layers: of each layer so far its keys and values [G, P, E].
    begins: int64 [documents], where in P each document begins. positions_P: which positions of the line they are.
    """

    def __init__(self, layout: Layout, after_X: np.ndarray, layers: int) -> None:
        """after_X: the positions that branches follow, of the line. layers: how many the network has."""
        lengths = np.array(layout.lengths)
        self._count, self._ends, self._starts = layers, np.cumsum(lengths), np.cumsum(lengths) - lengths
        document_X, place_X = self.places(after_X)
        most = np.zeros(len(lengths), np.int64)
        np.maximum.at(most, document_X, place_X + 1)
        self.begins = np.cumsum(most) - most
        positions = np.arange(most.sum()) + np.repeat(self._starts - self.begins, most)
        self.positions_P = torch.from_numpy(positions).to(layout.positions_N.device)
        self.layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def places(self, after_X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The document of each position, and its place there."""
        document_X = np.searchsorted(self._ends, after_X, side="right")
        return document_X, after_X - self._starts[document_X]

    def add(self, k_NGE: torch.Tensor, v_NGE: torch.Tensor) -> None:
        """Keep what the next layer has; nothing of layers that are computed again in a backward pass."""
        if len(self.layers) < self._count:
            k_GPE, v_GPE = (one.detach().transpose(0, 1)[:, self.positions_P] for one in (k_NGE, v_NGE))
            self.layers.append((k_GPE, v_GPE))


def length_batches(lengths: np.ndarray) -> list[np.ndarray]:
    """Which documents to read at once: numbers of documents of like lengths, the shortest first.

    lengths: int64 [documents]. About `MAX_POSITIONS_PER_PASS` positions are read at once, more by less than a document,
    or one longer document.
    """
    order = np.argsort(lengths, kind="stable")
    batch_of = np.cumsum(lengths[order]) // MAX_POSITIONS_PER_PASS
    return [batch for batch in np.split(order, np.flatnonzero(np.diff(batch_of)) + 1) if len(batch)]


def layout_of(lengths: np.ndarray, device: torch.device | str = "cpu", fine: bool = False) -> Layout:
    """The layout of documents of these lengths, laid end to end; every length at least 1.

    fine: lengths below `FINE * STEP` are rounded up by less than a tenth of themselves, to some ten lengths an octave.
    """
    starts = np.cumsum(lengths) - lengths
    positions = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
    step = _fine_steps(lengths) if fine else STEP
    rounded = -(-lengths // step) * step
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
    in_place = len(into_slots) == len(positions) and bool((into_slots == np.arange(len(positions))).all())
    padding = np.flatnonzero(into_slots < 0)
    carried = (torch.from_numpy(one).to(device) for one in (positions, into_slots, back, padding))
    positions_N, into_M, back_N, padding_P = carried
    return Layout(lengths.tolist(), positions_N, buckets, into_M, back_N, padding_P, in_place)


def _fine_steps(lengths: np.ndarray) -> np.ndarray:
    """What to round each length up to multiples of: the largest power of two up to a tenth of it, 1 to `STEP`."""
    return np.left_shift(1, np.log2(np.clip(lengths // FINE, 1, STEP)).astype(np.int64))


def _by_powers_of_two(members: np.ndarray) -> Iterator[np.ndarray]:
    """13 documents as 8, 4 and 1 of them."""
    while len(members):
        size = 1 << (len(members).bit_length() - 1)
        yield members[:size]
        members = members[size:]
