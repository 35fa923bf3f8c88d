"""A bounded cache of encoded pieces and their symbols, which fits into a core's own cache."""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from byteproxy.jit import nb
from byteproxy.views.bpe.merges import hashed

SLOTS = 1 << 15
KEPT_BYTES = 1 << 20
KEPT_SYMBOLS = 1 << 17
LONGEST_KEPT = 512
"""Bytes of the longest piece that the cache takes."""
INLINE = 5
"""Symbols that fit into a slot of the cache itself."""


class Cache(NamedTuple):
    """Pieces and their symbols, in arrays (or pointers to them, in compiled code).

    slots: int64 [4 x SLOTS], by open addressing. A slot is two words that identify the piece and two that hold its
        symbols. Up to 15 bytes, the piece itself and its length in the top byte; a longer one, its hash and its length,
        and then the last word says where in `kept_bytes` it stands. Up to INLINE symbols of a short piece stand in
        the slot, others in `kept_symbols`.
    used: int64 [3], pieces in the cache, bytes and symbols kept. When any is full, the cache is emptied.
    """

    slots: np.ndarray
    kept_bytes: np.ndarray
    kept_symbols: np.ndarray
    used: np.ndarray


def new_cache() -> Cache:
    """An empty one: 2 MB."""
    return Cache(
        slots=np.zeros(4 * SLOTS, np.int64),
        kept_bytes=np.empty(KEPT_BYTES, np.uint8),
        kept_symbols=np.empty(KEPT_SYMBOLS, np.int32),
        used=np.zeros(3, np.int64),
    )


@intrinsic
def _eight(typing_context, text, at):  # type: ignore[no-untyped-def]
    """The eight bytes of `text` (a pointer) from `at` as one int64."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        address = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), ir.IntType(64).as_pointer())
        loaded = builder.load(address)
        loaded.align = 1
        return loaded

    return nb.int64(text, nb.int64), generate


@nb.njit(cache=True, forceinline=True)
def find(text, at, length, key, name, c):  # type: ignore[no-untyped-def]
    """Where in `slots` a piece is, or the empty slot where it would be."""
    slot = (hashed(key ^ name) & (SLOTS - 1)) * 4
    while c.slots[slot + 1] != 0:
        if (
            c.slots[slot] == key
            and c.slots[slot + 1] == name
            and (length < 16 or _same(text, at, c.kept_bytes, c.slots[slot + 3], length))
        ):
            break
        slot = (slot + 4) & (4 * SLOTS - 1)
    return slot


@nb.njit(cache=True, forceinline=True)
def identity(text, at, length, safe):  # type: ignore[no-untyped-def]
    """The first two words of a piece's slot; the second is never 0. No 8 bytes are read from beyond `safe` + 16."""
    if length >= 16:
        mixed = np.int64(length)
        for place in range(0, length - 8, 8):
            mixed = hashed(mixed ^ _eight(text, at + place))
        return hashed(mixed ^ _eight(text, at + length - 8)), 0x7F << 56 | length
    if at > safe:
        low, high = np.int64(0), np.int64(0)
        for place in range(length):
            if place < 8:
                low |= np.int64(text[at + place]) << 8 * place
            else:
                high |= np.int64(text[at + place]) << 8 * (place - 8)
        return low, length << 56 | high
    if length < 8:
        return _eight(text, at) & ((1 << 8 * length) - 1), length << 56
    return _eight(text, at), length << 56 | _eight(text, at + 8) & ((1 << 8 * (length - 8)) - 1)


@nb.njit(cache=True)
def _same(text, at, kept, start, length):  # type: ignore[no-untyped-def]
    for place in range(0, length - 8, 8):
        if _eight(text, at + place) != _eight(kept, start + place):
            return False
    return _eight(text, at + length - 8) == _eight(kept, start + length - 8)


@nb.njit(cache=True)
def keep(text, at, length, key, name, slot, c, out, before, count):  # type: ignore[no-untyped-def]
    """Put a piece and its symbols, those from `before` to `count` in `out`, into an empty slot of the cache."""
    symbols = count - before
    if c.used[0] >= SLOTS // 2 or c.used[1] + length > KEPT_BYTES or c.used[2] + symbols > KEPT_SYMBOLS:
        for word in range(4 * SLOTS):
            c.slots[word] = 0
        c.used[0] = c.used[1] = c.used[2] = 0
        slot = (hashed(key ^ name) & (SLOTS - 1)) * 4
    first, second = np.int64(symbols), np.int64(0)
    if length < 16 and symbols <= INLINE:
        for place in range(symbols):
            if place < 2:
                first |= np.int64(out[before + place]) << (16 + 20 * place)
            else:
                second |= np.int64(out[before + place]) << (20 * (place - 2))
    else:
        first |= c.used[2] << 16
        for place in range(symbols):
            c.kept_symbols[c.used[2] + place] = out[before + place]
        c.used[2] += symbols
        if length >= 16:
            second = c.used[1]
            for place in range(length):
                c.kept_bytes[second + place] = text[at + place]
            c.used[1] += length
    c.slots[slot], c.slots[slot + 1], c.slots[slot + 2], c.slots[slot + 3] = key, name, first, second
    c.used[0] += 1
