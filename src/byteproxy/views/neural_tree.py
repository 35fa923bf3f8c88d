"""The neural compressor as a finite set: every string that fits into a window, found once.

A window's symbol depends on its own bytes alone, and the strings that fit are prefix-closed, so they are the nodes of a
tree. The tree is expanded from the root, a block of nodes at a time: the predictor gives their counts in one pass, and
all 256 continuations of each are tried at once in 64-bit integers. There are about 2^W / h strings, for h bits a byte
near a window's end, and each costs the predictor one position. So compiling W = 16 costs about as much as 40,000 bytes
of the corpus.

The deepest blocks are expanded first. The nodes that wait are therefore bounded by a block's children at each of 64
depths, and so is what the predictor has to remember of them.

It shares only the counts of a prefix with its oracle, `tests/views/neural_oracle.py`; the arithmetic is written anew.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from byteproxy.progress import Progress, silent
from byteproxy.views.coder import LONGEST, SCALE_BITS, Code, checked

BLOCK_NODES = 1024


class Grower(Protocol):
    """A predictor that goes on from prefixes which it has read already; what it remembers of them is opaque.

    Counts are 256 integers for each prefix, at least 1 each, that sum to 2^P, and a pure function of the prefix.
    """

    def begin(self) -> tuple[Any, np.ndarray]:
        """Memory of the one empty prefix, and its counts [1, 256]."""

    def grow(self, memory: Any, rows: np.ndarray, bytes_: np.ndarray) -> tuple[Any, np.ndarray]:
        """Memory and counts [n, 256] of the prefixes `rows` [n] of a memory, each longer by one of `bytes_` [n]."""


class Tree(NamedTuple):
    """The strings that fit, each after its own prefix; the root is none of them.

    parent: int64 [n], the node that a node continues, -1 for single bytes. byte: uint8 [n], its last byte.
    depth: uint8 [n], its length in bytes. symbol: uint32 [n]. bits: float32 [n], the information of the string.
    entropy: float32 [n], bits of the byte that follows it; 0 for strings of 64 bytes, which nothing follows.
    """

    parent: np.ndarray
    byte: np.ndarray
    depth: np.ndarray
    symbol: np.ndarray
    bits: np.ndarray
    entropy: np.ndarray

    def ensure_sound(self, code: Code) -> None:
        """ValueError where this is no tree: what is walked and numbered by compiled code is checked before.

        The 256 single bytes come first, every other node continues one before it, none is longer than 64 bytes or twice
        there, and symbols are windows.
        """
        columns = {name: getattr(self, name) for name in self._fields}
        kinds = dict(zip(self._fields, ("int64", "uint8", "uint8", "uint32", "float32", "float32"), strict=True))
        size = len(self.byte) if self.byte.ndim == 1 else -1
        for name, column in columns.items():
            if column.dtype != kinds[name] or column.shape != (size,):
                raise ValueError(f"its {name} is {column.dtype} {list(column.shape)}")
        if size < 256 or (self.parent[:256] != -1).any() or (self.byte[:256] != np.arange(256)).any():
            raise ValueError("its strings do not begin with the single bytes")
        parent, later = self.parent[256:], np.arange(256, size)
        if ((parent < 0) | (parent >= later)).any():
            raise ValueError("a string continues one that is not before it")
        if (self.depth[:256] != 1).any() or (self.depth[256:] != self.depth[parent] + np.uint8(1)).any():
            raise ValueError("a length is not that of its string")
        if int(self.depth.max()) > LONGEST or len(np.unique(parent << 8 | self.byte[256:])) < len(parent):
            raise ValueError(f"a string has more than {LONGEST} bytes, or is there twice")
        if int(self.symbol.max()) >> code.bits:
            raise ValueError(f"a symbol is beyond windows of {code.bits} bits")

    def strings(self) -> list[bytes]:
        """The string of each node."""
        found: list[bytes] = []
        for parent, byte in zip(self.parent.tolist(), self.byte.tolist(), strict=True):
            found.append((found[parent] if parent >= 0 else b"") + bytes([byte]))
        return found


class _Waiting(NamedTuple):
    """Nodes to be expanded: what their parents' memory is, and which rows of it they continue."""

    memory: Any
    rows: np.ndarray
    node: np.ndarray
    byte: np.ndarray
    low: np.ndarray
    size: np.ndarray
    depth: int


def expanded(grower: Grower, code: Code, progress: Progress = silent, most: int | None = None) -> Tree | None:
    """The tree of a predictor; None if it has more than `most` nodes.

    progress: nodes found; the total is 0, as it isn't known.
    Raises InputError for counts that can't be.
    """
    memory, counts = grower.begin()
    first = np.array([code.first_counts(checked(counts, code)[0].tolist())])
    whole = np.zeros(1, np.uint64), np.array([1 << SCALE_BITS], np.uint64)
    parts: list[Tree] = []
    entropy: list[tuple[np.ndarray, np.ndarray]] = []
    found = 0
    waiting: list[_Waiting] = []

    def add(memory: Any, node: np.ndarray, depth: int, low: np.ndarray, size: np.ndarray, counts: np.ndarray) -> None:
        """Take the children of some nodes into the tree, and let them wait for their own."""
        nonlocal found
        rows, byte, low, size = _children(low, size, counts, code)
        own = np.arange(found, found + len(rows))
        found += len(rows)
        bits = SCALE_BITS - np.log2(size.astype(np.float64))
        symbol = -(-low.astype(np.int64) // code.block)
        depths = np.full(len(rows), depth + 1, np.uint8)
        none = np.zeros(len(rows), np.float32)
        parts.append(Tree(node[rows], byte, depths, symbol.astype(np.uint32), bits.astype(np.float32), none))
        if depth + 1 < LONGEST:
            for at in range(0, len(rows), BLOCK_NODES):
                some = slice(at, at + BLOCK_NODES)
                waiting.append(_Waiting(memory, rows[some], own[some], byte[some], low[some], size[some], depth + 1))

    add(memory, np.array([-1]), 0, *whole, first)
    while waiting and (most is None or found <= most):
        one = waiting.pop()
        memory, counts = grower.grow(one.memory, one.rows, one.byte)
        counts = checked(counts, code)
        entropy.append((one.node, entropies(counts, code)))
        add(memory, one.node, one.depth, one.low, one.size, counts)
        progress(found, 0)
    if most is not None and found > most:
        return None
    return _in_order(parts, entropy)


def _children(
    low: np.ndarray, size: np.ndarray, counts: np.ndarray, code: Code
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The continuations that fit: rows of their prefixes, bytes, and their intervals as uint64."""
    ends = np.zeros((len(counts), 257), np.uint64)
    np.cumsum(counts, axis=1, out=ends[:, 1:].view(np.int64))
    # At most 2^48 times 2^16 is 2^64, one too many, and for the end of the whole interval only: that is halved before.
    whole = size == 1 << SCALE_BITS
    shift = np.where(whole, 1, 0).astype(np.uint64)[:, None]
    edges = low[:, None] + ((size[:, None] >> shift) * ends >> (np.uint64(code.precision) - shift))
    block = np.uint64(code.block)
    first = (edges[:, :-1] + (block - np.uint64(1))) // block * block
    rows, byte = np.nonzero(first + block <= edges[:, 1:])
    lows = edges[rows, byte]
    return rows, byte.astype(np.uint8), lows, edges[rows, byte + 1] - lows


def entropies(counts: np.ndarray, code: Code) -> np.ndarray:
    """Bits of the next byte at counts [n, 256]: float32 [n]."""
    share = counts / (1 << code.precision)
    return -(share * np.log2(share)).sum(axis=1).astype(np.float32)


def _in_order(parts: Sequence[Tree], entropy: Sequence[tuple[np.ndarray, np.ndarray]]) -> Tree:
    """The nodes as one tree, numbered by depth, then prefix, then byte: however they were found, the same."""
    tree = Tree(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    for node, bits in entropy:
        tree.entropy[node] = bits
    new = np.full(len(tree.parent) + 1, -1)  # the last one stands for the root
    order = []
    begin = 0
    for depth in range(1, int(tree.depth.max()) + 1):
        own = np.flatnonzero(tree.depth == depth)
        own = own[np.lexsort((tree.byte[own], new[tree.parent[own]]))]
        new[own] = np.arange(begin, begin + len(own))
        begin += len(own)
        order.append(own)
    ordered = Tree(*(column[np.concatenate(order)] for column in tree))
    return ordered._replace(parent=new[ordered.parent])


def pruned(tree: Tree, kept: np.ndarray) -> Tree:
    """The nodes that are `kept`, bool [n], and all of whose prefixes are."""
    kept = kept.copy()
    for depth in range(2, int(tree.depth.max()) + 1):
        own = np.flatnonzero(tree.depth == depth)
        kept[own] &= kept[tree.parent[own]]
    number = np.append(np.cumsum(kept) - 1, -1)
    smaller = Tree(*(column[kept] for column in tree))
    return smaller._replace(parent=number[smaller.parent])
