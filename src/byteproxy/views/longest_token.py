"""The longest token that ends at each byte of a text, whatever tokens the text is written in.

An automaton of Aho and Corasick (CACM 1975) over the tree of a vocabulary's prefixes: its state is the longest prefix
of any token that ends at the byte. A byte that follows in no token leads over the state's own suffixes, from the
longest, which takes two steps a byte at most on average. Of each state it is known in advance which token is the
longest that ends there. A step is a search among the children of a node, so a table for each node and byte, hundreds
of megabytes for a large vocabulary, isn't needed. Building takes some tenths of a second for 50,000 tokens.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from byteproxy.jit import nb
from byteproxy.views.prefix_tree import NO_NODE, ROOT, prefix_tree
from byteproxy.vocab import BYTES, FIRST_BYTE

NO_TOKEN = -1


class LongestTokens(NamedTuple):
    """X states, the prefixes of tokens by their length; state 0 is the empty one.

    child, children: int64 [X], a state's first longer one, and how many it has; they are in the order of `byte`.
    byte: uint8 [X], the last one of each. suffix: int64 [X], the longest state that ends as this one does.
    token: int64 [X], the longest token that ends as this one does, NO_TOKEN where none does.
    """

    child: np.ndarray
    children: np.ndarray
    byte: np.ndarray
    suffix: np.ndarray
    token: np.ndarray

    def of_ids(self, ids: np.ndarray) -> np.ndarray:
        """The longest token of raw bytes that ends at each position, int64 [N]; NO_TOKEN where none does.

        ids: int64 [N], of any symbols. Nothing that is no raw byte is part of a token: text begins behind it.
        """
        found = np.empty(len(ids), np.int64)
        _walk(*self, ids, found)
        return found


def longest_tokens(strings: Sequence[bytes]) -> LongestTokens:
    """The automaton of a vocabulary. Of several tokens of the same bytes the first one counts.

    strings: the bytes of each token; none: it has no text.
    """
    tree = prefix_tree(strings)
    own = np.full(tree.nodes, NO_TOKEN, np.int64)
    text = np.flatnonzero(tree.node != NO_NODE)[::-1]
    own[tree.node[text]] = text
    suffix = np.zeros(tree.nodes, np.int64)
    _link(tree.parent, tree.byte, tree.child, tree.children, suffix, own)
    return LongestTokens(tree.child, tree.children, tree.byte, suffix, own)


@nb.njit(cache=True)
def _after(child, children, byte, state, value):  # type: ignore[no-untyped-def]
    """The state one byte longer than another, NO_NODE where there is none."""
    low, high = child[state], child[state] + children[state]
    end = high
    while low < high:
        middle = (low + high) // 2
        if byte[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low if low < end and byte[low] == value else NO_NODE


@nb.njit(cache=True)
def _step(child, children, byte, suffix, state, value):  # type: ignore[no-untyped-def]
    """The longest state that ends with a state's bytes and one more."""
    while True:
        after = _after(child, children, byte, state, value)
        if after != NO_NODE:
            return after
        if state == ROOT:
            return ROOT
        state = suffix[state]


@nb.njit(cache=True)
def _link(parent, byte, child, children, suffix, token):  # type: ignore[no-untyped-def]
    """Fill in the suffixes, and the tokens of states that are none themselves; shorter states come first."""
    for state in range(1, len(parent)):
        if parent[state] != ROOT:
            suffix[state] = _step(child, children, byte, suffix, suffix[parent[state]], byte[state])
        if token[state] == NO_TOKEN:
            token[state] = token[suffix[state]]


@nb.njit(cache=True)
def _walk(child, children, byte, suffix, token, ids, found):  # type: ignore[no-untyped-def]
    state = ROOT
    for place in range(len(ids)):
        value = ids[place] - FIRST_BYTE
        state = _step(child, children, byte, suffix, state, value) if 0 <= value < BYTES else ROOT
        found[place] = token[state]
