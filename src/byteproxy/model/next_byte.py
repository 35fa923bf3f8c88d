"""What a model of tokens says about the next byte: its softmax over tokens, summed over those that begin alike.

T token positions (softmaxes), R rows of a representation's typed softmax (specials, then its V tokens), X prefixes, Y
masses, Q queries, each a position and a prefix.

After a position, and after some bytes u of the token to come, byte b follows with the mass of all tokens that begin
with ub. In a vocabulary sorted by bytes that is a range (`views.prefix_tree`). Cumulative sums over the sorted
vocabulary would give each range as a difference, but a difference of float32 sums near 1 knows nothing of a range of
1e-9. So sums are made from the longest prefixes to the empty one: only numbers above zero are added, and a mass of
1e-30 is as exact as one of 0.5. A mass below 1e-37 of the whole may count as nothing. A query then costs a read for
each byte that may follow.

Most prefixes need no sum of their own. One with which a single token begins has that token's row for its mass, and one
that is no token and is followed by one byte only has the mass of what is a byte longer. So masses are the rows, and
behind them the sums of the prefixes that are left, about half as many as tokens.

Rules. The closing sentinel of the representation says that the segment ends, and counts as that of raw text; only the
empty prefix may be followed by it, as it is no part of a token. Mass on all other specials, and on tokens without text,
is *lost*: it belongs to no byte and is left out, so whoever normalises shares it out in proportion.

Cost: per position V exponentials and as many additions; positions are taken some at a time, so that no more than
`MASSES` numbers exist at once.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from byteproxy.views.prefix_tree import ROOT, PrefixTree
from byteproxy.vocab import FIRST_BYTE, FIRST_SYMBOL, RAW, SPECIALS, closing

MASSES = 1 << 23
"""Masses that exist at the same time, those of rows included."""
_FEWEST, _MOST, _STEP = 16, 1024, 32  # positions whose masses exist at the same time, a multiple where they are many
_CUDA = 16  # times as many on CUDA


class NextByte:
    """The prefix tree of a softmax's tokens on a device, ready to turn probabilities of rows into masses of bytes."""

    def __init__(
        self, tree: PrefixTree, row_V: np.ndarray, end: int, rows: int, device: torch.device | str = "cpu"
    ) -> None:
        """row_V: int64 [V], the row of each token. end: the row of what ends text. rows: how many there are."""
        self.tree, self.end = tree, end

        def put(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array.astype(np.int64)).to(device)

        mass_X, sums = _sums(tree, row_V, rows)
        self.sums = [(put(mass), put(first)) for mass, first in sums]
        self.size = rows + sum(len(first) for _, first in sums)
        self.mass_X = put(mass_X)
        self.child_X, self.children_X = put(tree.child), put(tree.children)
        self.column_X = put(FIRST_BYTE + tree.byte.astype(np.int64))
        self.node_in_path, self.path_start_V = put(tree.path), put(tree.path_start)
        self.lost_rows = put(np.setdiff1d(np.arange(rows), np.append(row_V[tree.node >= 0], end)))

    @classmethod
    def typed(cls, tree: PrefixTree, representation: int, device: torch.device | str = "cpu") -> "NextByte":
        """Of a representation's typed softmax: specials, then its tokens."""
        tokens = len(tree.node)
        return cls(tree, SPECIALS + np.arange(tokens), closing(representation), SPECIALS + tokens, device)

    def node_in(self, token_Q: torch.Tensor, before_Q: torch.Tensor) -> torch.Tensor:
        """The node of so many first bytes of each token, int64 [Q]; the root for what is no token, below 0."""
        return torch.where(token_Q < 0, ROOT, self.node_in_path[self.path_start_V[token_Q.clamp_min(0)] + before_Q])

    def chunks(self, positions: int) -> Iterator[slice]:
        """Positions 0 up to `positions` in parts whose masses may exist at once."""
        size = MASSES * (_CUDA if self.mass_X.is_cuda else 1) // self.size
        size = min(_MOST, max(_FEWEST, size // _STEP * _STEP))
        return (slice(first, min(first + size, positions)) for first in range(0, positions, size))

    def masses(self, prob_RT: torch.Tensor) -> torch.Tensor:
        """What each row has, [R, T], and behind it the masses of prefixes that many tokens begin with: [Y, T]."""
        mass_YT = prob_RT.new_empty(self.size, prob_RT.shape[1])
        mass_YT[: len(prob_RT)] = prob_RT
        done = len(prob_RT)
        for mass, first in self.sums:
            mass_YT[done : done + len(first)] = F.embedding_bag(mass, mass_YT[:done], first, mode="sum")
            done += len(first)
        return mass_YT

    def joint(self, mass_YT: torch.Tensor, position_Q: torch.Tensor, node_Q: torch.Tensor) -> torch.Tensor:
        """The mass of each next byte, in the rows of the softmax of bytes: [Q, specials and bytes].

        A row sums to the mass of all tokens that begin with its prefix and are longer, or with the empty prefix to all
        that is not lost. position_Q: which of the T positions. node_Q: the prefix.
        """
        counts_Q = self.children_X[node_Q]
        query_E = torch.repeat_interleave(torch.arange(len(node_Q), device=node_Q.device), counts_Q)
        place_E = torch.arange(len(query_E), device=node_Q.device) - (counts_Q.cumsum(0) - counts_Q)[query_E]
        child_E = self.child_X[node_Q][query_E] + place_E
        joint_QB = mass_YT.new_zeros(len(node_Q), FIRST_SYMBOL)
        joint_QB[query_E, self.column_X[child_E]] = mass_YT[self.mass_X[child_E], position_Q[query_E]]
        joint_QB[:, closing(RAW)] = torch.where(node_Q == ROOT, mass_YT[self.end, position_Q], 0)
        return joint_QB

    def mass(self, mass_YT: torch.Tensor, position_Q: torch.Tensor, node_Q: torch.Tensor) -> torch.Tensor:
        """The mass of all tokens that begin with each prefix: [Q]."""
        return mass_YT[self.mass_X[node_Q], position_Q]

    def lost(self, prob_RT: torch.Tensor) -> torch.Tensor:
        """The mass that belongs to no byte and isn't the end: [T]."""
        return prob_RT[self.lost_rows].sum(0)


def _sums(tree: PrefixTree, row_V: np.ndarray, rows: int) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Where each prefix finds its mass, [X]; and for each depth, the longest first, what its sums add up.

    Sums stand behind the rows, in that order. What they add is all of a depth's in one array, and where each begins.
    """
    own_X = np.bincount(tree.node[tree.node >= 0], minlength=tree.nodes)  # tokens that are the prefix
    alone_X, passes_X = own_X + tree.children == 1, (own_X == 0) & (tree.children == 1)
    mass_X, found, done = np.zeros(tree.nodes, np.int64), [], rows
    for begin, end in reversed(list(zip(tree.depths, tree.depths[1:], strict=False))):
        here = np.arange(begin, end)
        single = here[alone_X[here] & ~passes_X[here]]
        mass_X[single] = row_V[tree.order[tree.first[single]]]
        mass_X[here[passes_X[here]]] = mass_X[tree.child[here[passes_X[here]]]]
        if not len(summed := here[~alone_X[here]]):
            continue
        of_tokens, at = _ranges(tree.first[summed], own_X[summed])
        of_children, below = _ranges(tree.child[summed], tree.children[summed])
        sum_of = np.concatenate([of_tokens, of_children])
        order = np.argsort(sum_of, kind="stable")
        found.append(
            (
                np.concatenate([row_V[tree.order[at]], mass_X[below]])[order],
                np.searchsorted(sum_of[order], np.arange(len(summed))),
            )
        )
        mass_X[summed] = done + np.arange(len(summed))
        done += len(summed)
    return mass_X, found


def _ranges(first: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each element of ranges, one after the other: the range that it is of, and what it is."""
    of = np.repeat(np.arange(len(first)), count)
    return of, first[of] + np.arange(len(of)) - (np.cumsum(count) - count)[of]


def conditional(joint_QB: torch.Tensor) -> torch.Tensor:
    """Distributions over what comes next from its masses; all zero where there is no mass to tell by."""
    total_Q1 = joint_QB.sum(-1, keepdim=True)
    return joint_QB / torch.where(total_Q1 > 0, total_Q1, 1)
