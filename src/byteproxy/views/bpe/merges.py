"""Merge one piece of text by rank: the lowest rank first, the leftmost of equal ones, one merge at a time.

This is what `tokenizers` does. A short piece scans the ranks of all its pairs for the smallest at each merge, 16 per
vector instruction; a long one keeps them in a tree of minima, so a piece of n bytes costs O(n log n). Most of the time
is latency, because each merge depends on the last one.

Cost: 24 bytes of memory per byte of the longest piece, and 8 to 16 bytes per merge and 256 KB for the tables.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from byteproxy.jit import nb

MAX_SYMBOLS = 1 << 20
MAX_MERGES = 1 << 22
"""Two symbols and a rank share 64 bits, a rank and a place in a short piece 31."""
MAX_BYTES = (1 << 31) - 1
"""Bytes of a piece."""
NO_RANK = (1 << 31) - 1
NO_KEY = (1 << 63) - 1
SHORT = 256
"""Bytes of a piece up to which all ranks are scanned."""
FANOUT = 64


class Merges(NamedTuple):
    """The merges of a tokenizer, in arrays (or pointers to them, in compiled code). They are only read.

    pairs: int64 [mask + 1], an open-addressing hash table of left << 44 | right << 24 | rank; -1 where empty.
    byte_ranks: int32 [65536], the rank of each pair of single bytes, NO_RANK where they don't merge.
    merged: int32 [merges], the symbol that each rank makes.
    byte_symbols: int32 [256].
    """

    pairs: np.ndarray
    mask: int
    byte_ranks: np.ndarray
    merged: np.ndarray
    byte_symbols: np.ndarray


class Work(NamedTuple):
    """Memory for merging one piece, in arrays (or pointers to them, in compiled code).

    symbols, following, preceding: int32 [longest piece], the linked list of symbols.
    ranks: int32 [SHORT], of the pair that begins at each place, times 256, plus the place.
    keys: int64 [longest piece and a bit], the tree of minima: level 0 holds rank << 32 | place, each further level the
        minima of FANOUT at a time of the one below, and the last level one number.
    out: uint32 [longest piece and a bit], for the symbols.
    """

    symbols: np.ndarray
    following: np.ndarray
    preceding: np.ndarray
    ranks: np.ndarray
    keys: np.ndarray
    out: np.ndarray


def merges_of(triples: Sequence[tuple[int, int, int]], byte_symbols: Sequence[int]) -> Merges:
    """The tables for merges (left, right, merged) by rank, lowest first. Of a pair listed twice, the last counts."""
    by_rank = np.array(triples, np.int64).reshape(-1, 3)
    symbols = np.array(byte_symbols, np.int32)
    pairs = np.full(1 << max(4, (2 * len(by_rank) - 1).bit_length()), -1, np.int64)
    byte_ranks = np.empty(1 << 16, np.int32)
    _fill(pairs, byte_ranks, by_rank, symbols)
    return Merges(pairs, len(pairs) - 1, byte_ranks, by_rank[:, 2].astype(np.int32), symbols)


def work_for(size: int, spare: int) -> Work:
    """Memory for pieces of up to `size` bytes, with `spare` more symbols of room in `out`."""
    if size > MAX_BYTES:
        raise ValueError(f"BPE could merge across all of {size} bytes in a row; cut the document below 2 GiB")
    return Work(
        symbols=np.empty(size, np.int32),
        following=np.empty(size, np.int32),
        preceding=np.empty(size, np.int32),
        ranks=np.empty(SHORT, np.int32),
        keys=np.empty(size + size // (FANOUT // 2) + 8 * FANOUT, np.int64),
        out=np.empty(size + spare, np.uint32),
    )


@nb.njit(cache=True)
def _fill(pairs, byte_ranks, by_rank, byte_symbols):  # type: ignore[no-untyped-def]
    mask = len(pairs) - 1
    for rank in range(len(by_rank)):
        key = by_rank[rank, 0] << 20 | by_rank[rank, 1]
        slot = hashed(key) & mask
        while pairs[slot] != -1 and pairs[slot] >> 24 != key:
            slot = (slot + 1) & mask
        pairs[slot] = key << 24 | rank
    for left in range(256):
        for right in range(256):
            byte_ranks[left << 8 | right] = _rank(pairs, mask, byte_symbols[left], byte_symbols[right])


@nb.njit(cache=True, forceinline=True)
def hashed(key):  # type: ignore[no-untyped-def]
    """A hash of an int64, to be used from its lowest bits up."""
    mixed = key * 0x1E3779B97F4A7C15
    return mixed ^ mixed >> 32


@nb.njit(cache=True, forceinline=True)
def _rank(pairs, mask, left, right):  # type: ignore[no-untyped-def]
    key = np.int64(left) << 20 | np.int64(right)
    slot = hashed(key) & mask
    while True:
        found = pairs[slot]
        if found >> 24 == key:
            return found & 0xFFFFFF
        if found == -1:
            return NO_RANK
        slot = (slot + 1) & mask


@nb.njit(cache=True)
def merge(text, at, length, m, w, count):  # type: ignore[no-untyped-def]
    """Merge the piece of `length` bytes at `at` and put its symbols into `out` from `count`; returns where they end.

    text: pointer to uint8. m, w: `Merges` and `Work` of pointers, with room for the piece.
    """
    for place in range(length):
        w.symbols[place] = m.byte_symbols[text[at + place]]
        w.following[place] = place + 1
        w.preceding[place] = place - 1
    if length <= SHORT:
        _merge_short(text, at, length, m, w)
    else:
        _merge_long(text, at, length, m, w)
    place = np.int64(0)
    while place < length:
        w.out[count] = w.symbols[place]
        count += 1
        place = np.int64(w.following[place])
    return count


@nb.njit(cache=True)
def _merge_short(text, at, length, m, w):  # type: ignore[no-untyped-def]
    padded = (length + FANOUT - 1) // FANOUT * FANOUT  # whole vectors, without a rest that is done one by one
    for place in range(padded):
        w.ranks[place] = NO_RANK
    for place in range(length - 1):
        rank = m.byte_ranks[np.int64(text[at + place]) << 8 | np.int64(text[at + place + 1])]
        if rank != NO_RANK:
            w.ranks[place] = rank << 8 | place
    while True:
        lowest = np.int32(NO_RANK)
        for place in range(padded):
            lowest = min(lowest, w.ranks[place])
        if lowest == NO_RANK:
            return
        here, symbol = np.int64(lowest) & 0xFF, np.int64(m.merged[np.int64(lowest) >> 8])
        before, gone, after = _join(here, symbol, length, w)
        w.ranks[gone] = NO_RANK
        rank = NO_RANK
        if after < length:
            rank = _rank(m.pairs, m.mask, symbol, w.symbols[after])
        w.ranks[here] = NO_RANK if rank == NO_RANK else rank << 8 | here
        if before >= 0:
            rank = _rank(m.pairs, m.mask, w.symbols[before], symbol)
            w.ranks[before] = NO_RANK if rank == NO_RANK else rank << 8 | before


@nb.njit(cache=True)
def _merge_long(text, at, length, m, w):  # type: ignore[no-untyped-def]
    top, filled = 0, length
    while True:
        padded = (filled + FANOUT - 1) // FANOUT * FANOUT
        for place in range(top, top + padded):
            w.keys[place] = NO_KEY
        if filled == 1:
            break
        top += padded
        filled = padded // FANOUT
    for place in range(length - 1):
        rank = m.byte_ranks[np.int64(text[at + place]) << 8 | np.int64(text[at + place + 1])]
        if rank != NO_RANK:
            w.keys[place] = np.int64(rank) << 32 | place
    for place in range(0, length, FANOUT):
        _lift(w.keys, length, place)
    while w.keys[top] != NO_KEY:
        here, symbol = w.keys[top] & 0xFFFFFFFF, np.int64(m.merged[w.keys[top] >> 32])
        before, gone, after = _join(here, symbol, length, w)
        w.keys[gone] = NO_KEY
        rank = NO_RANK
        if after < length:
            rank = _rank(m.pairs, m.mask, symbol, w.symbols[after])
        w.keys[here] = NO_KEY if rank == NO_RANK else np.int64(rank) << 32 | here
        if before >= 0:
            rank = _rank(m.pairs, m.mask, w.symbols[before], symbol)
            w.keys[before] = NO_KEY if rank == NO_RANK else np.int64(rank) << 32 | before
            if before // FANOUT != here // FANOUT:
                _lift(w.keys, length, before)
        if gone // FANOUT != here // FANOUT:
            _lift(w.keys, length, gone)
        _lift(w.keys, length, here)


@nb.njit(cache=True, forceinline=True)
def _join(here, symbol, length, w):  # type: ignore[no-untyped-def]
    """Put `symbol` in place of the one at `here` and the next; returns the places before, of the next and after it."""
    gone = np.int64(w.following[here])
    after = np.int64(w.following[gone])
    w.symbols[here] = symbol
    w.following[here] = after
    if after < length:
        w.preceding[after] = here
    return np.int64(w.preceding[here]), gone, after


@nb.njit(cache=True)
def _lift(keys, length, place):  # type: ignore[no-untyped-def]
    """Bring the minima above one place of level 0 up to date."""
    level, filled = 0, length
    while filled > 1:
        blocks, block = (filled + FANOUT - 1) // FANOUT, place // FANOUT
        lowest = np.int64(NO_KEY)
        begin = level + block * FANOUT
        for one in range(begin, begin + FANOUT):
            lowest = min(lowest, keys[one])
        level += blocks * FANOUT
        if keys[level + block] == lowest:
            return
        keys[level + block] = lowest
        place, filled = block, blocks
