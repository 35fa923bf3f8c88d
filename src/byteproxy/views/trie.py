"""A set of byte strings as a double array: the table that a codebook is walked with.

Aoe's double array (IEEE TSE 1989) in its exclusive-or form: the child of a node by byte c is cell `base ^ c` if that
cell names the node as its parent. A cell is 8 bytes, the cells are filled to about 99 %, and a step of the walk is one
load from one cache line. So 2^12 strings of code (some 12,000 nodes) take 0.15 MB and stay in a level-2 cache; 2^16
strings (some 300,000 nodes) take about 4 MB. Building costs about 70 ms for 2^16 strings.

For one-step lookahead the table also knows, for each string s and each shorter string p of the set that s begins with,
whether the rest of s is itself the beginning of some string, and where it stands in the trie then. Only from those
places can a shorter choice reach further than s, so looking ahead costs about one walk a symbol more, not one a p.
"""

from typing import NamedTuple

import numba as nb
import numpy as np

PARENT = np.uint64(0xFFFFFFFF)
ENDS = np.uint64(1 << 32)
BASE_SHIFT = np.uint64(33)
LONGEST = 255
"""Bytes of the longest string that a trie can hold."""


class Trie(NamedTuple):
    """Arrays only, so that compiled code takes it as it is.

    cells: uint64 [slots]; from the top: base (31 bits), 1 if a string ends here, the parent's cell (32 bits; all ones
        where the cell is free).
    symbol: uint32 [slots]; the symbol of the string that ends at a cell, anything elsewhere.
    length: uint32 [symbols]; bytes of each string.
    rest_start: uint32 [symbols + 1]; where each symbol's entries in `rests` begin.
    rests: uint64 [entries], longest p first; from the top: bytes of p (8 bits), symbol of p (24), cell of rest (32).
    """

    cells: np.ndarray
    symbol: np.ndarray
    length: np.ndarray
    rest_start: np.ndarray
    rests: np.ndarray

    @property
    def nodes(self) -> int:
        """Nodes of the trie, the root among them."""
        return int((self.cells & PARENT != PARENT).sum())

    @property
    def walked_bytes(self) -> int:
        """Memory that the greedy walk reads from."""
        return self.cells.nbytes + self.symbol.nbytes + self.length.nbytes

    @property
    def memory_bytes(self) -> int:
        """All memory of the table, what lookahead needs included."""
        return self.walked_bytes + self.rest_start.nbytes + self.rests.nbytes


def trie_of(strings: list[bytes], lookahead: bool = False) -> Trie:
    """The trie of distinct strings of 1 to 255 bytes; the symbol of each is its place in the list.

    lookahead: also fill `rests`; without it they are empty.
    """
    order = sorted(range(len(strings)), key=strings.__getitem__)
    data = np.frombuffer(b"".join(map(strings.__getitem__, order)), dtype=np.uint8)
    length = np.array([len(string) for string in strings], dtype=np.uint32)
    offsets = np.zeros(len(strings) + 1, dtype=np.int64)
    np.cumsum(length[order], out=offsets[1:])
    symbols = np.array(order, dtype=np.int32)
    base, parent, symbol = _double_array(data, offsets, symbols)
    ends = (symbol >= 0).astype(np.uint64)
    cells = base.astype(np.uint64) << BASE_SHIFT | ends << np.uint64(32) | parent.astype(np.uint64) & PARENT
    found = np.zeros(len(strings), dtype=np.uint32)
    rests = np.empty(0, dtype=np.uint64)
    rest_start = np.zeros(len(strings) + 1, dtype=np.uint32)
    if lookahead:
        _find_rests(data, offsets, symbols, cells, symbol, rest_start, rests, found)
        np.cumsum(found, out=rest_start[1:])
        rests = np.empty(rest_start[-1], dtype=np.uint64)
        _find_rests(data, offsets, symbols, cells, symbol, rest_start, rests, found)
    return Trie(cells, symbol.astype(np.uint32), length, rest_start, rests)


@nb.njit(cache=True)
def _double_array(
    data: np.ndarray, offsets: np.ndarray, symbols: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place the nodes breadth first; strings i, sorted, are data[offsets[i]:offsets[i + 1]].

    A node goes to the first free cell where all its children fit; where 64 cells are tried in vain, to the last block.
    """
    most_nodes = len(data) + 1
    slots = 512
    base = np.zeros(slots, dtype=np.int32)
    parent = np.full(slots, -1, dtype=np.int32)
    symbol = np.full(slots, -1, dtype=np.int32)
    queue = np.empty((most_nodes, 4), dtype=np.int32)  # cell, first string, last string + 1, depth
    queue[0] = np.array([0, 0, len(symbols), 0], dtype=np.int32)
    parent[0] = np.int32((1 << 31) - 1)  # neither free nor the root itself: nobody's child
    taken, waiting, first_free, used = 0, 1, 1, 256
    byte = np.empty(256, dtype=np.int32)
    begin = np.empty(257, dtype=np.int32)
    while taken < waiting:
        cell, low, high, depth = queue[taken]
        taken += 1
        if low < high and offsets[low + 1] - offsets[low] == depth:
            symbol[cell] = symbols[low]
            low += 1
        if low == high:
            continue
        children, last = 0, -1
        for string in range(low, high):
            value = int(data[offsets[string] + depth])
            if value != last:
                byte[children], begin[children] = value, string
                children, last = children + 1, value
        begin[children] = high
        while parent[first_free] != -1:
            first_free += 1
        at, tried = first_free, 0
        while True:
            while parent[at] != -1:
                at += 1
            fits = True
            for child in range(1, children):
                if parent[at ^ byte[0] ^ byte[child]] != -1:
                    fits = False
                    break
            if fits:
                break
            at, tried = at + 1, tried + 1
            if tried == 64:
                at = max(at, used - 256)
        base[cell] = at ^ byte[0]
        for child in range(children):
            where = base[cell] ^ byte[child]
            parent[where] = cell
            queue[waiting, 0], queue[waiting, 1] = where, begin[child]
            queue[waiting, 2], queue[waiting, 3] = begin[child + 1], depth + 1
            waiting += 1
            used = max(used, (where // 256 + 1) * 256)
        if used + 256 > slots:  # always a free block ahead, so that no search runs off the end
            slots *= 2
            base, parent, symbol = _longer(base, slots, 0), _longer(parent, slots, -1), _longer(symbol, slots, -1)
    return base[:used], parent[:used], symbol[:used]


@nb.njit(cache=True)
def _longer(array: np.ndarray, size: int, fill: int) -> np.ndarray:
    longer = np.full(size, fill, dtype=np.int32)
    longer[: len(array)] = array
    return longer


@nb.njit(cache=True)
def _find_rests(
    data: np.ndarray,
    offsets: np.ndarray,
    symbols: np.ndarray,
    cells: np.ndarray,
    symbol: np.ndarray,
    rest_start: np.ndarray,
    rests: np.ndarray,
    found: np.ndarray,
) -> None:
    """Count each symbol's rests in `found`; if `rests` has room for them, also write them."""
    writing = len(rests) > 0
    prefix = np.empty(LONGEST + 1, dtype=np.int32)  # symbol of the prefix of each length, or -1
    for place in range(len(symbols)):
        first, last = offsets[place], offsets[place + 1]
        size = last - first
        cell = np.uint64(0)
        for at in range(size - 1):
            cell = (cells[cell] >> BASE_SHIFT) ^ np.uint64(data[first + at])
            prefix[at + 1] = symbol[cell]
        own, count = symbols[place], np.uint32(0)
        for cut in range(size - 1, 0, -1):
            if prefix[cut] < 0:
                continue
            cell, stands = np.uint64(0), True
            for at in range(cut, size):
                child = (cells[cell] >> BASE_SHIFT) ^ np.uint64(data[first + at])
                if cells[child] & PARENT != cell:
                    stands = False
                    break
                cell = child
            if stands:
                if writing:
                    shorter = np.uint64(cut) << np.uint64(56) | np.uint64(prefix[cut]) << np.uint64(32)
                    rests[rest_start[own] + count] = shorter | cell
                count += np.uint32(1)
        found[own] = count
