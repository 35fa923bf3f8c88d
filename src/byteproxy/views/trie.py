"""A set of byte strings as a double array: the table that a codebook is walked with.

Aoe's double array (IEEE TSE 1989) in its exclusive-or form: the child of a node by byte c is cell `base ^ c` if that
cell is labelled c, which suffices where no two nodes have one base (as in Yata's darts-clone). A cell holds all there
is to know of a node in 8 bytes, a step of the walk is one load, some 96 % of the cells are filled, and what frequent
symbols need lies together. So 2^12 strings of code (some 9,000 nodes) take under 0.1 MB and stay in a level-1 or
level-2 cache; 2^16 strings (some 230,000 nodes) take 2 MB. Building costs about 0.1 s for 2^16 strings.

For one-step lookahead the table also knows where a shorter choice p could reach further than the longest string s that
begins with it: only where the rest of s is itself the beginning of a string t, and only if what t adds behind s is not
a string of the set too (then the longest choice reaches as far). These *rests* are few, and a mask of the bytes that
must follow s for any of them to matter rules out four of five symbols at 2^12 strings and half at 2^16. So looking
ahead costs little more than the walk that finds the next symbol anyway.
"""

import heapq
from typing import NamedTuple

import numpy as np

from byteproxy.jit import nb

LABEL = np.uint64(0xFF)
ENDS = np.uint64(1 << 8)
HAS_RESTS = np.uint64(1 << 9)
SYMBOL_SHIFT, SYMBOL = np.uint64(10), np.uint64((1 << 22) - 1)
BASE_SHIFT = np.uint64(32)
MAX_TRIES = 64
LONGEST = 255
"""Bytes of the longest string that a trie can hold."""


class Trie(NamedTuple):
    """Arrays only, so that compiled code takes it as it is.

    cells: uint64 [slots]; from the top: base (32 bits), symbol of the string that ends here (22), 1 if it has rests,
        1 if a string ends here at all, label (8). The root is cell 0.
    rest_start: uint32 [symbols + 1]; where each symbol's entries in `rests` begin.
    rests: uint64 [entries], longest p first; from the top: bytes of p (8 bits), symbol of p (24), the rest's base (32).
    asks: uint64 [symbols]; `bit_of` the bytes behind a symbol for which its rests have to be looked at.
    """

    cells: np.ndarray
    rest_start: np.ndarray
    rests: np.ndarray
    asks: np.ndarray


def trie_of(strings: list[bytes], lookahead: bool = False, whole: bool = False) -> Trie:
    """The trie of distinct strings of 1 to 255 bytes; the symbol of each is its place in the list.

    lookahead: also find the rests; without it there are none.
    whole: for a parse in which a string of the set may not be a candidate where it stands, so that less is ruled out.
    """
    order = sorted(range(len(strings)), key=strings.__getitem__)
    data = np.frombuffer(b"".join(map(strings.__getitem__, order)), dtype=np.uint8)
    length = np.array([len(string) for string in strings], dtype=np.int64)
    offsets = np.zeros(len(strings) + 1, dtype=np.int64)
    np.cumsum(length[order], out=offsets[1:])
    symbols = np.array(order, dtype=np.int32)
    cells = _double_array(data, offsets, symbols)
    found = np.zeros(len(strings), dtype=np.uint32)
    rests = np.empty(0, dtype=np.uint64)
    rest_start = np.zeros(len(strings) + 1, dtype=np.uint32)
    asks = np.zeros(len(strings), dtype=np.uint64)
    if lookahead:
        useful = _useful_bytes(data, offsets, cells, whole)
        _find_rests(data, offsets, symbols, cells, useful, rest_start, rests, found, asks)
        np.cumsum(found, out=rest_start[1:])
        rests = np.empty(rest_start[-1], dtype=np.uint64)
        _find_rests(data, offsets, symbols, cells, useful, rest_start, rests, found, asks)
        ending = (cells & ENDS) != 0
        symbol = (cells >> SYMBOL_SHIFT & SYMBOL).astype(np.int64)
        cells[ending] |= np.where(found[symbol[ending]] > 0, HAS_RESTS, np.uint64(0))
    return Trie(cells, rest_start, rests, asks)


@nb.njit(inline="always")
def bit_of(byte: np.uint64) -> np.uint64:
    """One of 64 bits for a byte: those below 64 have one each in the upper half, the others share the lower half."""
    place = (byte & np.uint64(31)) | ((byte & np.uint64(64)) ^ np.uint64(64)) >> np.uint64(1)
    return np.uint64(1) << place


@nb.njit(cache=True)
def _double_array(data: np.ndarray, offsets: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """The cells; strings i, sorted, are data[offsets[i]:offsets[i + 1]].

    Nodes come in the order of the lowest symbol below them, so that what frequent symbols need lies together. A node's
    children go to the first free cells where all of them fit. A free cell that was tried in vain many times is not
    tried again, so placing costs a bounded number of tries a cell.
    """
    slots = 512
    cells = np.zeros(slots, dtype=np.uint64)
    taken = np.zeros(slots, dtype=np.bool_)
    is_base = np.zeros(slots, dtype=np.bool_)
    waiting = [(0, 0, 0, len(symbols), 0)]  # lowest symbol, cell, first string, last string + 1, depth
    tries = np.zeros(slots, dtype=np.uint8)
    after = np.empty(slots, dtype=np.int64)  # the cells still to be tried as a ring through cell 0, and its other way
    before = np.empty(slots, dtype=np.int64)
    _link(after, before, 0, 1)
    taken[0] = True
    is_base[0] = True  # of all nodes without children: no cell may be labelled with its own number
    used = 256
    byte = np.empty(256, dtype=np.int64)
    begin = np.empty(257, dtype=np.int64)
    lowest = np.empty(256, dtype=np.int64)
    while len(waiting):
        _, cell, low, high, depth = heapq.heappop(waiting)
        if low < high and offsets[low + 1] - offsets[low] == depth:
            cells[cell] |= ENDS | np.uint64(symbols[low]) << SYMBOL_SHIFT
            low += 1
        if low == high:
            continue
        children, last = 0, -1
        for string in range(low, high):
            value = int(data[offsets[string] + depth])
            if value != last:
                byte[children], begin[children], lowest[children] = value, string, symbols[string]
                children, last = children + 1, value
            lowest[children - 1] = min(lowest[children - 1], symbols[string])
        begin[children] = high
        at = after[0]
        while True:
            base = at ^ byte[0]
            fits = not is_base[base]
            for child in range(1, children):
                fits = fits and not taken[base ^ byte[child]]
            if fits:
                break
            tries[at] += 1
            if tries[at] == MAX_TRIES:
                _unlink(after, before, at)
            at = after[at]
        is_base[base] = True
        cells[cell] |= np.uint64(base) << BASE_SHIFT
        for child in range(children):
            where = base ^ byte[child]
            taken[where] = True
            if tries[where] < MAX_TRIES:
                _unlink(after, before, where)
            cells[where] = np.uint64(byte[child])
            heapq.heappush(waiting, (lowest[child], where, begin[child], begin[child + 1], depth + 1))
            used = max(used, (where // 256 + 1) * 256)
        if used + 256 > slots:  # always a free block ahead, so that no search runs off the end
            cells, taken, is_base, tries = _doubled(cells), _doubled(taken), _doubled(is_base), _doubled(tries)
            after, before = _doubled(after), _doubled(before)
            _link(after, before, before[0], slots)
            slots *= 2
    for cell in range(used):
        if cell == 0 or not taken[cell]:  # no node's child: a label that leads to it from no base
            label = 0
            while is_base[cell ^ label]:  # ends: 256 bases have 256 children or more, and this cell is none
                label += 1
            cells[cell] |= np.uint64(label)
    return cells[:used].copy()


@nb.njit(cache=True)
def _link(after: np.ndarray, before: np.ndarray, last: int, first: int) -> None:
    """Put the cells from `first` on into the ring, behind `last`."""
    for cell in range(first, len(after)):
        after[last], before[cell] = cell, last
        last = cell
    after[last], before[0] = 0, last


@nb.njit(cache=True)
def _unlink(after: np.ndarray, before: np.ndarray, cell: int) -> None:
    """Take a cell out of the ring; what comes after it can still be read."""
    after[before[cell]], before[after[cell]] = after[cell], before[cell]


@nb.njit(cache=True)
def _doubled(array: np.ndarray) -> np.ndarray:
    longer = np.zeros(2 * len(array), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


@nb.njit(cache=True)
def _useful_bytes(data: np.ndarray, offsets: np.ndarray, cells: np.ndarray, whole: bool) -> np.ndarray:
    """For each node as a rest, the bytes behind it (as bits) from which on it may reach further than a new symbol.

    That is where a string goes on for two bytes or more, and these bytes are no string themselves.
    """
    useful = np.zeros(len(cells), dtype=np.uint64)
    path = np.empty(LONGEST + 1, dtype=np.uint64)
    for string in range(len(offsets) - 1):
        first, size = offsets[string], offsets[string + 1] - offsets[string]
        cell = np.uint64(0)
        for at in range(size):
            path[at] = cell
            cell = (cells[cell] >> BASE_SHIFT) ^ np.uint64(data[first + at])
        for cut in range(1, size - 1):
            entry, stands = cells[0], not whole
            for at in range(cut, size):
                if not stands:
                    break
                byte = np.uint64(data[first + at])
                entry = cells[(entry >> BASE_SHIFT) ^ byte]
                stands = entry & LABEL == byte
            if not (stands and entry & ENDS):
                useful[path[cut]] |= bit_of(np.uint64(data[first + cut]))
    return useful


@nb.njit(cache=True)
def _find_rests(
    data: np.ndarray,
    offsets: np.ndarray,
    symbols: np.ndarray,
    cells: np.ndarray,
    useful: np.ndarray,
    rest_start: np.ndarray,
    rests: np.ndarray,
    found: np.ndarray,
    asks: np.ndarray,
) -> None:
    """Count each symbol's rests in `found`; if `rests` has room for them, also write them."""
    writing = len(rests) > 0
    prefix = np.empty(LONGEST + 1, dtype=np.int64)  # symbol of the prefix of each length, or -1
    for place in range(len(symbols)):
        first, last = offsets[place], offsets[place + 1]
        size = last - first
        entry = cells[0]
        for at in range(size - 1):
            entry = cells[(entry >> BASE_SHIFT) ^ np.uint64(data[first + at])]
            prefix[at + 1] = np.int64(entry >> SYMBOL_SHIFT & SYMBOL) if entry & ENDS else -1
        own, count = symbols[place], np.uint32(0)
        for cut in range(size - 1, 0, -1):
            if prefix[cut] < 0:
                continue
            cell, stands = np.uint64(0), True
            for at in range(cut, size):
                byte = np.uint64(data[first + at])
                cell = (cells[cell] >> BASE_SHIFT) ^ byte
                if cells[cell] & LABEL != byte:
                    stands = False
                    break
            if stands and useful[cell]:
                if writing:
                    shorter = np.uint64(cut) << np.uint64(56) | np.uint64(prefix[cut]) << np.uint64(32)
                    rests[rest_start[own] + count] = shorter | cells[cell] >> BASE_SHIFT
                asks[own] |= useful[cell]
                count += np.uint32(1)
        found[own] = count
