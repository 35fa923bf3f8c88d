"""What one draw shows: its source, passage and representation. Every choice is a hash of its own.

A draw is a number. It picks a source by the sources' odds, then the next passage of that source: the n-th draw of a
source shows passage n of the keyed permutation of epoch n // passages. So each epoch of a source shows each of its
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
from byteproxy.store.table import BYTES, KEY, PLACE_BITS

ONE, PLAIN, PAIR, PARALLEL, SWITCH = range(5)  # kinds of draw
NOTHING = -1
RANDOM, RAW_FIRST, COMPRESSED_FIRST = range(3)
PLACE = (1 << PLACE_BITS) - 1


class Deal(NamedTuple):
    """The parameters of one step's draws.

    table: int64 [P, 3 + 2 V]. first, size: int64 [S], where each source begins in it and how many passages it has.
    source_odds: float64 [S], view_odds: float64 [V], cumulative; the last is 1.
    kind: of a draw that shows one segment (ONE, PLAIN or SWITCH). both: PAIR or PARALLEL. order: of a pair.
    raw_only, compressed_only: odds of these; the rest is both.
    chain: the most passages of a chain.
    """

    table: np.ndarray
    first: np.ndarray
    size: np.ndarray
    source_odds: np.ndarray
    view_odds: np.ndarray
    seed: np.uint64
    kind: int
    both: int
    order: int
    raw_only: float
    compressed_only: float
    chain: int


@nb.njit(cache=True)
def source_of(deal, draw):  # type: ignore[no-untyped-def]
    """The source that a draw takes."""
    toss = coins.coin(deal.seed, np.uint64(draw), coins.SOURCE)
    return np.searchsorted(deal.source_odds[:-1], toss, side="right")


@nb.njit(cache=True)
def passage_of(deal, source, turn):  # type: ignore[no-untyped-def]
    """The passage that a source gives in its turn (from 0)."""
    key = coins.hashed(deal.seed, np.uint64(source), coins.SOURCE)
    return deal.first[source] + coins.passage_of(key, turn, deal.size[source])


@nb.njit(cache=True)
def begins_chain(deal, source, turn, passage):  # type: ignore[no-untyped-def]
    """Whether a passage is the first of a chain in the epoch of that turn."""
    place = deal.table[passage, KEY] & PLACE
    if place == 0:
        return True
    key = coins.hashed(deal.seed, np.uint64(source), coins.CHAIN)
    epoch = np.uint64(turn // deal.size[source])
    offset = np.int64(coins.hashed(key, epoch, coins.CHAIN) % np.uint64(deal.chain))
    return (place - offset) % deal.chain == 0


@nb.njit(cache=True)
def segments_of(deal, source, turn, passage, kind):  # type: ignore[no-untyped-def]
    """How many segments a draw has."""
    if kind in (PAIR, PARALLEL):
        return 2
    if kind != SWITCH:
        return 1
    end, count = deal.first[source] + deal.size[source], 1
    while (
        passage + count < end
        and deal.table[passage + count, KEY] & PLACE > 0
        and not begins_chain(deal, source, turn, passage + count)
    ):
        count += 1
    return count


@nb.njit(cache=True)
def opened(deal, draw, drawn):  # type: ignore[no-untyped-def]
    """The next draw that shows something, from `draw` on: its number, source and passage; `drawn` counts it."""
    while True:
        source = source_of(deal, draw)
        turn = drawn[source]
        drawn[source] += 1
        passage = passage_of(deal, source, turn)
        if deal.kind != SWITCH or begins_chain(deal, source, turn, passage):
            return draw, source, passage
        draw += 1


@nb.njit(cache=True)
def kind_of(deal, draw):  # type: ignore[no-untyped-def]
    """The kind of a draw, and the representation of its first segment."""
    if deal.kind == SWITCH:
        return SWITCH, representation_of(deal, draw, SWITCH, 0, 0)
    toss = coins.coin(deal.seed, np.uint64(draw), coins.KIND)
    if toss < deal.raw_only:
        return deal.kind, 0
    if toss < deal.raw_only + deal.compressed_only:
        return deal.kind, view_of(deal, draw, 0)
    raw_first = deal.order == RAW_FIRST or (
        deal.order == RANDOM and coins.coin(deal.seed, np.uint64(draw), coins.ORDER) < 0.5
    )
    return deal.both, 0 if raw_first else view_of(deal, draw, 0)


@nb.njit(cache=True)
def representation_of(deal, draw, kind, segment, before):  # type: ignore[no-untyped-def]
    """The representation of a segment; `before` is that of the one before it in the draw."""
    if kind == SWITCH:
        key = coins.hashed(deal.seed, np.uint64(draw), coins.SEGMENT)
        raw = coins.coin(key, np.uint64(segment), coins.SEGMENT) < deal.raw_only
        return 0 if raw else view_of(deal, draw, segment)
    return view_of(deal, draw, 0) if before == 0 else 0


@nb.njit(cache=True)
def view_of(deal, draw, segment):  # type: ignore[no-untyped-def]
    """The compressed representation that a segment takes: 1 and up."""
    if len(deal.view_odds) < 2:
        return 1
    key = coins.hashed(deal.seed, np.uint64(draw), coins.VIEW)
    return 1 + np.searchsorted(deal.view_odds[:-1], coins.coin(key, np.uint64(segment), coins.VIEW), side="right")


@nb.njit(cache=True)
def content_of(deal, passage, representation):  # type: ignore[no-untyped-def]
    """Symbols that a passage has in a representation; ValueError where a table that was altered says none."""
    symbols = deal.table[passage, BYTES + 2 * representation]
    if symbols < 1 or symbols > PLACE:  # rows would be laid out over what is before or behind them
        raise ValueError("the table of passages is damaged")
    return symbols
