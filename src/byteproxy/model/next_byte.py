"""What a model of tokens says about the next byte: its softmax over tokens, summed over those that begin alike.

T token positions (softmaxes), R rows of a representation's typed softmax (specials, then its V tokens), X prefixes, Q
queries, each a position and a prefix.

After a position, and after some bytes u of the token to come, byte b follows with the mass of all tokens that begin
with ub. In a vocabulary sorted by bytes that is a range (`views.prefix_tree`). Cumulative sums over the sorted
vocabulary would give each range as a difference, but a difference of float32 sums near 1 knows nothing of a range of
1e-9. So sums are made from the longest prefixes to the empty one: only numbers above zero are added, and a mass of
1e-30 is as exact as one of 0.5. A mass below 1e-37 of the whole may count as nothing. A query then costs a read for
each byte that may follow.

Rules. The closing sentinel of the representation says that the segment ends, and counts as that of raw text; only the
empty prefix may be followed by it, as it is no part of a token. Mass on all other specials, and on tokens without text,
is *lost*: it belongs to no byte and is left out, so whoever normalises shares it out in proportion.

Cost: per position V exponentials and X additions, about twice V; positions are taken some at a time, so that no more
than `MASSES` numbers exist at once.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from byteproxy.views.prefix_tree import ROOT, PrefixTree
from byteproxy.vocab import FIRST_BYTE, FIRST_SYMBOL, RAW, SPECIALS, closing

MASSES = 1 << 22
"""Masses of prefixes that exist at the same time."""
_FEWEST, _MOST = 16, 1024  # positions whose masses exist at the same time
_CUDA = 16  # times as many on CUDA


class NextByte:
    """The prefix tree of a softmax's tokens on a device, ready to turn probabilities of rows into masses of bytes."""

    def __init__(
        self, tree: PrefixTree, row_V: np.ndarray, end: int, rows: int, device: torch.device | str = "cpu"
    ) -> None:
        """row_V: int64 [V], the row of each token. end: the row of what ends text. rows: how many there are."""
        self.tree, self.end, self.depths = tree, end, tree.depths.tolist()
        having = np.flatnonzero(tree.node >= 0)
        found, token = np.unique(tree.node[having], return_index=True)
        row_X = np.full(tree.nodes, rows)  # a row behind all others, of no mass
        row_X[found] = row_V[having[token]]
        more = np.delete(having, token)

        def put(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array.astype(np.int64)).to(device)

        self.row_X, self.row_of_more, self.node_of_more = put(row_X), put(row_V[more]), put(tree.node[more])
        self.child_X, self.children_X = put(tree.child), put(tree.children)
        self.column_X = put(FIRST_BYTE + tree.byte.astype(np.int64))
        self.node_in_path, self.path_start_V = put(tree.path), put(tree.path_start)
        self.numbers_X = torch.arange(tree.nodes, device=device)
        self.lost_rows = put(np.setdiff1d(np.arange(rows), np.append(row_V[having], end)))

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
        size = MASSES * (_CUDA if self.row_X.is_cuda else 1) // self.tree.nodes
        size = min(_MOST, max(_FEWEST, size))
        return (slice(first, min(first + size, positions)) for first in range(0, positions, size))

    def masses(self, prob_RT: torch.Tensor) -> torch.Tensor:
        """The mass of all tokens that begin with each prefix: [X, T]. prob_RT: what each row has, [R, T]."""
        prob_RT = F.pad(prob_RT, (0, 0, 0, 1))
        mass_XT = prob_RT.index_select(0, self.row_X)
        if len(self.row_of_more):
            mass_XT.index_add_(0, self.node_of_more, prob_RT[self.row_of_more])
        for above, begin, end in reversed(list(zip(self.depths, self.depths[1:], self.depths[2:], strict=False))):
            firsts = self.child_X[above:begin] - begin
            numbers = self.numbers_X[: end - begin]
            mass_XT[above:begin] += F.embedding_bag(numbers, mass_XT[begin:end], firsts, mode="sum")
        return mass_XT

    def joint(
        self, prob_RT: torch.Tensor, mass_XT: torch.Tensor, position_Q: torch.Tensor, node_Q: torch.Tensor
    ) -> torch.Tensor:
        """The mass of each next byte, in the rows of the softmax of bytes: [Q, specials and bytes].

        A row sums to the mass of all tokens that begin with its prefix and are longer, or with the empty prefix to all
        that is not lost. position_Q: which of the T positions. node_Q: the prefix.
        """
        counts_Q = self.children_X[node_Q]
        query_E = torch.repeat_interleave(torch.arange(len(node_Q), device=node_Q.device), counts_Q)
        place_E = torch.arange(len(query_E), device=node_Q.device) - (counts_Q.cumsum(0) - counts_Q)[query_E]
        child_E = self.child_X[node_Q][query_E] + place_E
        joint_QB = mass_XT.new_zeros(len(node_Q), FIRST_SYMBOL)
        joint_QB[query_E, self.column_X[child_E]] = mass_XT[child_E, position_Q[query_E]]
        joint_QB[:, closing(RAW)] = torch.where(node_Q == ROOT, prob_RT[self.end, position_Q], 0)
        return joint_QB

    def lost(self, prob_RT: torch.Tensor) -> torch.Tensor:
        """The mass that belongs to no byte and isn't the end: [T]."""
        return prob_RT[self.lost_rows].sum(0)


def conditional(joint_QB: torch.Tensor) -> torch.Tensor:
    """Distributions over what comes next from its masses; all zero where there is no mass to tell by."""
    total_Q1 = joint_QB.sum(-1, keepdim=True)
    return joint_QB / torch.where(total_Q1 > 0, total_Q1, 1)
