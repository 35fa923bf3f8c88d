"""The prefixes of a vocabulary of byte strings as a tree: which tokens begin with a string, and what may follow it.

Sorted by their bytes, the tokens that begin with a prefix are a range. These ranges nest, so they are the nodes of a
tree, and a node's range is its own tokens (those that *are* the prefix) and then the ranges of its children, which are
one byte longer. Nodes are numbered by depth, then by bytes: the children of a node follow one another, and so do the
nodes of a depth. So sums over all ranges take one pass over the depths, from the longest, and add only.

Tokens without text (specials, numbers that no text has) stand outside. Several tokens may have the same bytes. Whether
a tokenizer would ever write a token makes no difference here. Building costs a step for each byte of the vocabulary: a
tenth of a second for 50,000 tokens, which have some 100,000 prefixes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ROOT = 0
NO_NODE = -1


class PrefixTree(NamedTuple):
    """X nodes, the prefixes of V tokens; node 0 is the empty prefix. All int64 but for `byte`.

    order: [tokens with text], the tokens sorted by their bytes, equal ones by their numbers.
    first, last: [X], the range of `order` that begins with each prefix.
    parent: [X], the node of the prefix without its last byte; of the root NO_NODE. byte: uint8 [X], that last byte.
    key: [X - 1], of all nodes but the root, 256 x parent + byte, ascending.
    child, children: [X], a node's first child, and how many it has; they stand in the order of their bytes.
    depths: [longest + 2], where the nodes of each depth begin, and X.
    node: [V], the node that is all of a token, NO_NODE for tokens without text.
    path_start: [V], where in `path` each token's nodes begin; path: those of its prefixes, from the root to itself.
    """

    order: np.ndarray
    first: np.ndarray
    last: np.ndarray
    parent: np.ndarray
    byte: np.ndarray
    key: np.ndarray
    child: np.ndarray
    children: np.ndarray
    depths: np.ndarray
    node: np.ndarray
    path_start: np.ndarray
    path: np.ndarray

    @property
    def nodes(self) -> int:
        """How many prefixes there are, the empty one included."""
        return len(self.parent)

    def step(self, node_Q: np.ndarray, byte_Q: np.ndarray) -> np.ndarray:
        """The node after each node and byte, int64 [Q]; NO_NODE where no token begins so, and after NO_NODE."""
        wanted = np.asarray(node_Q, np.int64) * 256 + np.asarray(byte_Q, np.int64)
        at = np.searchsorted(self.key, wanted)
        there = at < len(self.key)
        there[there] = self.key[at[there]] == wanted[there]
        return np.where(there & (np.asarray(node_Q) >= 0), at + 1, NO_NODE)

    def find(self, prefix: bytes) -> int:
        """The node of a prefix, NO_NODE if no token begins with it."""
        node = np.array([ROOT])
        for byte in prefix:
            node = self.step(node, np.array([byte]))
        return int(node[0])

    def tokens(self, prefix: bytes) -> np.ndarray:
        """The tokens that begin with a prefix, itself included, in the order of their bytes."""
        node = self.find(prefix)
        return self.order[:0] if node == NO_NODE else self.order[self.first[node] : self.last[node]]


def prefix_tree(strings: Sequence[bytes]) -> PrefixTree:
    """The tree of a vocabulary. strings: the bytes of each token; none: it has no text."""
    length = np.array([len(string) for string in strings], np.int64)
    order = np.array(sorted(np.flatnonzero(length).tolist(), key=lambda token: (strings[token], token)), np.int64)
    data = np.frombuffer(b"".join(strings[token] for token in order.tolist()), np.uint8)
    size = length[order]
    start = np.cumsum(size) - size
    path_start = np.cumsum(length + 1) - (length + 1)
    path = np.zeros(int((length + 1).sum()), np.int64)
    at = np.zeros(len(order), np.int64)  # the node of each token's prefix of the depth so far
    parents, labels = [np.array([NO_NODE])], [np.zeros(1, np.uint8)]
    firsts, lasts = [np.zeros(1, np.int64)], [np.array([len(order)])]
    depths = [0, 1]
    for depth in range(1, int(size.max(initial=0)) + 1):
        long = np.flatnonzero(size >= depth)
        parent, byte = at[long], data[start[long] + depth - 1]
        new = np.ones(len(long), bool)
        new[1:] = (parent[1:] != parent[:-1]) | (byte[1:] != byte[:-1])
        begins = np.flatnonzero(new)
        at[long] = depths[-1] + np.cumsum(new) - 1
        path[path_start[order[long]] + depth] = at[long]
        parents.append(parent[begins])
        labels.append(byte[begins])
        firsts.append(long[begins])
        lasts.append(long[np.append(begins[1:], len(long)) - 1] + 1)
        depths.append(depths[-1] + len(begins))
    parent, byte, nodes = np.concatenate(parents), np.concatenate(labels), depths[-1]
    children = np.bincount(parent[1:], minlength=nodes)
    node = np.full(len(strings), NO_NODE, np.int64)
    node[order] = at
    return PrefixTree(
        order=order,
        first=np.concatenate(firsts),
        last=np.concatenate(lasts),
        parent=parent,
        byte=byte,
        key=parent[1:] * 256 + byte[1:],
        child=1 + np.cumsum(children) - children,
        children=children,
        depths=np.array(depths, np.int64),
        node=node,
        path_start=path_start,
        path=path,
    )
