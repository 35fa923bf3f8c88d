"""Pieces that equal some symbol's string, whatever merges would make of them: what `ignore_merges` asks for."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from byteproxy.jit import nb
from byteproxy.views.bpe.merges import hashed
from byteproxy.views.bpe.piece_cache import identity
from byteproxy.views.bpe.scan import pointer


class Whole(NamedTuple):
    """The strings of symbols, for pieces that are one, in arrays (or pointers to them, in compiled code).

    longest: bytes of the longest string; 0 where pieces are merged whatever they are.
    slots: int32 [mask + 1], an open-addressing hash table of symbols; -1 where empty.
    text: uint8, the strings one after the other. ends: int64 [symbols], where each ends.
    """

    longest: int
    slots: np.ndarray
    mask: int
    text: np.ndarray
    ends: np.ndarray


def whole_of(strings: Sequence[bytes]) -> Whole:
    """The tables for the strings of all symbols; an empty one is none."""
    text = np.frombuffer(b"".join(strings), np.uint8)
    ends = np.cumsum([len(string) for string in strings], dtype=np.int64)
    slots = np.full(1 << max(4, (2 * len(strings)).bit_length()), -1, np.int32)
    _fill_whole(text, ends, slots)
    return Whole(max(map(len, strings), default=0), slots, len(slots) - 1, text, ends)


@nb.njit(cache=True)
def symbol_of_piece(text, at, length, safe, strings):  # type: ignore[no-untyped-def]
    """The symbol whose string is the piece of `length` bytes at `at`, -1 if there is none.

    text: pointer to uint8. safe: see `identity`. strings: `Whole` of pointers.
    """
    key, name = identity(text, at, length, safe)
    slot = hashed(key ^ name) & strings.mask
    while strings.slots[slot] >= 0:
        symbol = np.int64(strings.slots[slot])
        end = strings.ends[symbol]
        begin = strings.ends[symbol - 1] if symbol else 0
        if end - begin == length:
            same = True
            for place in range(length):
                same &= text[at + place] == strings.text[begin + place]
            if same:
                return symbol
        slot = (slot + 1) & strings.mask
    return np.int64(-1)


@nb.njit(cache=True)
def _fill_whole(text, ends, slots):  # type: ignore[no-untyped-def]
    mask, begin = len(slots) - 1, np.int64(0)
    for symbol in range(len(ends)):
        length = ends[symbol] - begin
        if length:
            key, name = identity(pointer(text), begin, length, len(text) - 16)
            slot = hashed(key ^ name) & mask
            while slots[slot] >= 0:
                slot = (slot + 1) & mask
            slots[slot] = symbol
        begin = ends[symbol]
