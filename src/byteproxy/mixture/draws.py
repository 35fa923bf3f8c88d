"""What one draw shows: its source, passage and representation. Every choice is a hash of its own.

A draw is a number. It picks a source by the sources' probabilities, then the next passage of that source: the n-th draw
of a source shows passage n of the keyed permutation of epoch n // passages. So each epoch of a source shows each of its
passages once, in a new order, and no order is kept in memory. Whether the passage is raw, compressed or both, and in
which view, is decided by hashes of (seed, draw, purpose).

In mode `switch` a draw shows a *chain*, consecutive passages of one document, if its passage begins one, and otherwise
nothing. Chains divide a document from an offset that changes with every epoch, so each passage is still shown once an
epoch. A draw costs two or three hashes and one lookup in the table; a skipped draw costs the same.
"""

from typing import NamedTuple

import numpy as np

from byteproxy import coins
from byteproxy.jit import nb
from byteproxy.store.passage_index import BYTES, KEY, PLACE_BITS

ONE, PLAIN, PAIR, PARALLEL, SWITCH = range(5)  # kinds of draw
NOTHING = -1
RANDOM, RAW_FIRST, COMPRESSED_FIRST = range(3)
PLACE = (1 << PLACE_BITS) - 1


class StepSampling(NamedTuple):
    """The parameters of one step's draws.

    table: int64 [P, 3 + 2 V]. first, size: int64 [S], where each source begins in it and how many passages it has.
    source_cdf: float64 [S], view_cdf: float64 [V], cumulative; the last is 1.
    kind: of a draw that shows one segment (ONE, PLAIN or SWITCH). both: PAIR or PARALLEL. order: of a pair.
    raw_only, compressed_only: probabilities of these; the rest is both.
    chain: the most passages of a chain.
    """

    table: np.ndarray
    first: np.ndarray
    size: np.ndarray
    source_cdf: np.ndarray
    view_cdf: np.ndarray
    seed: np.uint64
    kind: int
    both: int
    order: int
    raw_only: float
    compressed_only: float
    chain: int


@nb.njit(cache=True)
def source_of(sampling, draw):  # type: ignore[no-untyped-def]
    """The source that a draw takes."""
    uniform = coins.coin(sampling.seed, np.uint64(draw), coins.SOURCE)
    return np.searchsorted(sampling.source_cdf[:-1], uniform, side="right")


@nb.njit(cache=True)
def passage_of(sampling, source, turn):  # type: ignore[no-untyped-def]
    """The passage that a source gives in its turn (from 0)."""
    key = coins.hashed(sampling.seed, np.uint64(source), coins.SOURCE)
    return sampling.first[source] + coins.passage_of(key, turn, sampling.size[source])


@nb.njit(cache=True)
def begins_chain(sampling, source, turn, passage):  # type: ignore[no-untyped-def]
    """Whether a passage is the first of a chain in the epoch of that turn."""
    place = sampling.table[passage, KEY] & PLACE
    if place == 0:
        return True
    key = coins.hashed(sampling.seed, np.uint64(source), coins.CHAIN)
    epoch = np.uint64(turn // sampling.size[source])
    offset = np.int64(coins.hashed(key, epoch, coins.CHAIN) % np.uint64(sampling.chain))
    return (place - offset) % sampling.chain == 0


@nb.njit(cache=True)
def segments_of(sampling, source, turn, passage, kind):  # type: ignore[no-untyped-def]
    """How many segments a draw has."""
    if kind in (PAIR, PARALLEL):
        return 2
    if kind != SWITCH:
        return 1
    end, count = sampling.first[source] + sampling.size[source], 1
    while (
        passage + count < end
        and sampling.table[passage + count, KEY] & PLACE > 0
        and not begins_chain(sampling, source, turn, passage + count)
    ):
        count += 1
    return count


@nb.njit(cache=True)
def opened(sampling, draw, drawn):  # type: ignore[no-untyped-def]
    """The next draw that shows something, from `draw` on: its number, source and passage; `drawn` counts it."""
    while True:
        source = source_of(sampling, draw)
        turn = drawn[source]
        drawn[source] += 1
        passage = passage_of(sampling, source, turn)
        if sampling.kind != SWITCH or begins_chain(sampling, source, turn, passage):
            return draw, source, passage
        draw += 1


@nb.njit(cache=True)
def kind_of(sampling, draw):  # type: ignore[no-untyped-def]
    """The kind of a draw, and the representation of its first segment."""
    if sampling.kind == SWITCH:
        return SWITCH, representation_of(sampling, draw, SWITCH, 0, 0)
    uniform = coins.coin(sampling.seed, np.uint64(draw), coins.KIND)
    if uniform < sampling.raw_only:
        return sampling.kind, 0
    if uniform < sampling.raw_only + sampling.compressed_only:
        return sampling.kind, view_of(sampling, draw, 0)
    raw_first = sampling.order == RAW_FIRST or (
        sampling.order == RANDOM and coins.coin(sampling.seed, np.uint64(draw), coins.ORDER) < 0.5
    )
    return sampling.both, 0 if raw_first else view_of(sampling, draw, 0)


@nb.njit(cache=True)
def representation_of(sampling, draw, kind, segment, before):  # type: ignore[no-untyped-def]
    """The representation of a segment; `before` is that of the one before it in the draw."""
    if kind == SWITCH:
        key = coins.hashed(sampling.seed, np.uint64(draw), coins.SEGMENT)
        raw = coins.coin(key, np.uint64(segment), coins.SEGMENT) < sampling.raw_only
        return 0 if raw else view_of(sampling, draw, segment)
    return view_of(sampling, draw, 0) if before == 0 else 0


@nb.njit(cache=True)
def view_of(sampling, draw, segment):  # type: ignore[no-untyped-def]
    """The compressed representation that a segment takes: 1 and up."""
    if len(sampling.view_cdf) < 2:
        return 1
    key = coins.hashed(sampling.seed, np.uint64(draw), coins.VIEW)
    return 1 + np.searchsorted(sampling.view_cdf[:-1], coins.coin(key, np.uint64(segment), coins.VIEW), side="right")


@nb.njit(cache=True)
def content_of(sampling, passage, representation):  # type: ignore[no-untyped-def]
    """Symbols that a passage has in a representation; ValueError where a table that was altered says none."""
    symbols = sampling.table[passage, BYTES + 2 * representation]
    if symbols < 1 or symbols > PLACE:  # rows would be laid out over what is before or behind them
        raise ValueError("the table of passages is damaged")
    return symbols
