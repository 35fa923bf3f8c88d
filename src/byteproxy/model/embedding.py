"""What positions read: a row of the table, or one composed of their bytes; with hashed n-grams if asked for.

N positions, M ids that they are spelled with, D width. Composed inputs need no table of a view's strings: the text's
own bytes and where each position's end are enough, so a view of 2^16 symbols costs what bytes cost. The idea is that of
superposed tokens; hashed n-gram embeddings are those of the Byte Latent Transformer (arXiv 2412.09871).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from byteproxy.model.config import LONGEST_PLACE
from byteproxy.vocab import FIRST_SYMBOL

MULTIPLIER = -7046029254386353131  # odd, golden ratio times 2^64: products wrap around


class Spelling(NamedTuple):
    """Positions as the specials and bytes that they stand for, end to end.

    ids_M: int64, ids of specials and bytes.
    ends_N: int64; position p is spelled ids_M[ends_N[p-1]:ends_N[p]], the first from 0.
    segment_ends_N: int64, where in ids_M the segment that a position stands in ends, as far as it is in this row.
    """

    ids_M: torch.Tensor
    ends_N: torch.Tensor
    segment_ends_N: torch.Tensor

    @property
    def begins_N(self) -> torch.Tensor:
        """Where each position's own ids begin."""
        return F.pad(self.ends_N[:-1], (1, 0))

    def places(self, positions_N: torch.Tensor) -> torch.Tensor:
        """How many ids stand before each position's last one in its document, which begins `positions_N` before it."""
        place_N = torch.arange(len(self.ends_N), device=self.ends_N.device)
        return self.ends_N - 1 - self.begins_N[place_N - positions_N]


def composed(
    table_VD: torch.Tensor, spelling: Spelling, scale_PD: torch.Tensor | None, hashed_HD: torch.Tensor | None
) -> torch.Tensor:
    """The mean of each position's byte rows, float32 [N, D].

    scale_PD: what the row of a symbol's second byte is multiplied by, and those after it, where places are told
        apart. A first byte is as it is, so a raw one reads the same with a spelling and without.
    hashed_HD: rows that symbols of two bytes and more add by their hash.
    """
    ids_M, begins_N = spelling.ids_M, spelling.begins_N
    table_VD = table_VD[:FIRST_SYMBOL]
    counts_N = spelling.ends_N - begins_N
    place_M = torch.arange(len(ids_M), device=ids_M.device) - torch.repeat_interleave(begins_N, counts_N)
    if scale_PD is not None:
        table_VD = torch.cat((table_VD, (scale_PD[:, None] * table_VD).flatten(0, 1)))
        ids_in_table_M = place_M.clamp_max(LONGEST_PLACE - 1) * FIRST_SYMBOL + ids_M
    else:
        ids_in_table_M = ids_M
    x_ND = F.embedding_bag(ids_in_table_M, table_VD, begins_N, mode="mean")
    if hashed_HD is None:
        return x_ND
    summed_M = F.pad(_mixed((place_M + 1) * FIRST_SYMBOL + ids_M).cumsum(0), (1, 0))
    row_N = _mixed(summed_M[spelling.ends_N] - summed_M[begins_N]) % len(hashed_HD)
    return x_ND + F.embedding(row_N, hashed_HD) * (counts_N > 1)[:, None]


def ngram_rows(
    sequence_S: torch.Tensor, at_N: torch.Tensor, place_N: torch.Tensor, length: int, rows: int
) -> torch.Tensor:
    """The row of the n-gram of this length that ends at each position: int64 [N].

    sequence_S: ids. at_N: where in it each position's last id is.
    place_N: how many ids of its document stand before that; what an n-gram lacks there counts as padding.
    """
    hash_N = _mixed(sequence_S[at_N])
    for back in range(1, length):
        before_N = torch.where(place_N >= back, sequence_S[(at_N - back).clamp_min(0)], 0)
        hash_N = _mixed(hash_N + before_N)
    return hash_N % rows


def _mixed(x: torch.Tensor) -> torch.Tensor:
    product = (x + 1) * MULTIPLIER
    return product ^ (product >> 29)
