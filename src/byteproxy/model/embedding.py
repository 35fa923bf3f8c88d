"""Input embeddings: a row of the table, or one composed of a position's bytes, with hashed n-grams if asked for.

N positions, M ids that they are expanded to, D width, K lengths of n-grams. Composed inputs need no table of a view's
strings: the text's own bytes and where each position's end are enough, so a view of 2^16 symbols costs what bytes cost.
The idea is that of superposed tokens; hashed n-gram embeddings are those of the Byte Latent Transformer (arXiv
2412.09871).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from byteproxy.model.hints import TokenHints
from byteproxy.model.model_config import MAX_BYTE_PLACES, ModelConfig
from byteproxy.vocab import FIRST_SYMBOL

MULTIPLIER = -7046029254386353131  # odd, golden ratio times 2^64: products wrap around


class ByteExpansion(NamedTuple):
    """Positions as the specials and bytes that they stand for, end to end.

    ids_M: int64, ids of specials and bytes.
    ends_N: int64; position p stands for ids_M[ends_N[p-1]:ends_N[p]], the first from 0.
    segment_ends_N: int64, where in ids_M the segment that a position stands in ends, as far as it is in this row.
    """

    ids_M: torch.Tensor
    ends_N: torch.Tensor
    segment_ends_N: torch.Tensor

    @property
    def begins_N(self) -> torch.Tensor:
        """Where each position's own ids begin."""
        return F.pad(self.ends_N[:-1], (1, 0))

    def rope_positions(self, positions_N: torch.Tensor) -> torch.Tensor:
        """How many ids stand before each position's last one in its document, which begins `positions_N` before it."""
        place_N = torch.arange(len(self.ends_N), device=self.ends_N.device)
        return self.ends_N - 1 - self.begins_N[place_N - positions_N]


class InputEmbedding(nn.Embedding):
    """A row for each symbol that is read: weight [V, D]; options of composed inputs add parameters, see `composed`."""

    def __init__(self, config: ModelConfig, input_vocab: int) -> None:
        super().__init__(input_vocab, config.width)
        self.inputs, rows = config.inputs, config.hashed_rows
        scaled = config.inputs == "positions"
        self.place_scales = nn.Parameter(torch.ones(MAX_BYTE_PLACES - 1, config.width)) if scaled else None
        self.hashed = nn.Parameter(torch.zeros(rows, config.width)) if rows else None
        self.new_rows: nn.Parameter | None = None  # of specials and bytes, where they alone learn (`lora.py`)

    def forward(
        self, input: torch.Tensor, expansion: ByteExpansion | None = None, hints: TokenHints | None = None
    ) -> torch.Tensor:
        """What positions of these ids read, float32 [N, D]; without an expansion each is the special or byte it is.

        hints: rows that they read, too; only of a model whose inputs are symbols.
        """
        if expansion is None or self.inputs == "symbols":
            if hints is None:
                return self._own_rows(input, F.embedding(input, self.weight))
            # One lookup for both, as each would have a gradient as large as the table.
            ids = torch.cat((input, hints.id_N.clamp_min(0)))
            x_ND, hint_ND = F.embedding(ids, self.weight).chunk(2)
            return self._own_rows(input, x_ND) + hint_ND * (hints.scale * (hints.id_N >= 0))[:, None]
        if self.inputs == "last":
            return F.embedding(expansion.ids_M[expansion.ends_N - 1], self.weight)
        return composed(self.weight, expansion, self.place_scales, self.hashed)

    def _own_rows(self, input: torch.Tensor, x_ND: torch.Tensor) -> torch.Tensor:
        """Rows of the table, with those of specials and bytes where these alone learn."""
        if self.new_rows is None:
            return x_ND
        new_ND = F.embedding(input.clamp_max(len(self.new_rows) - 1), self.new_rows)
        return torch.where((input < len(self.new_rows))[:, None], new_ND, x_ND)


class NgramTables(nn.Module):
    """Hashed embeddings of the n-grams that end at a position: weight [K, rows, D], a table for each length.

    scale: float32 [], what they are multiplied by; 1 but in a training that lets them fade.
    learns: whether they have a gradient. Not while they fade: what falls would be made up for by larger numbers.
    """

    scale: torch.Tensor
    learns = True

    def __init__(self, lengths: Sequence[int], rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(len(lengths), rows, width))
        self.register_buffer("scale", torch.ones(()), persistent=False)

    def scaled(self) -> torch.Tensor:
        """The tables as they count, without gradient: their own memory where the scale is 1."""
        weight_KRD = self.weight.detach()
        return weight_KRD if self.scale == 1 else weight_KRD * self.scale

    def forward(self, rows: Sequence[torch.Tensor], begins_N: torch.Tensor | None = None) -> torch.Tensor:
        """The sum over lengths, float32 [N, D]. rows: int64 [N] for each length, see `NgramEnds`.

        begins_N: rows are [M], and each position takes the mean over those from its begin to the next position's.
        """
        lengths, size, _ = self.weight.shape
        row_NK = torch.stack([row_N + number * size for number, row_N in enumerate(rows)], -1)
        tables_XD = (self.weight if self.learns else self.weight.detach()).flatten(0, 1)
        if begins_N is None:
            return self.scale * F.embedding_bag(row_NK, tables_XD, mode="sum")
        scale = lengths * self.scale
        return scale * F.embedding_bag(row_NK.flatten(), tables_XD, lengths * begins_N, mode="mean")


class NgramEnds(NamedTuple):
    """Where n-grams end: ids [S], at_N in these, and place_N ids of the document stand before each."""

    ids_S: torch.Tensor
    at_N: torch.Tensor
    place_N: torch.Tensor

    def rows(self, lengths: Sequence[int], rows: int) -> list[torch.Tensor]:
        """The rows of a table of so many, int64 [N] for each length."""
        return [ngram_rows(*self, length, rows) for length in lengths]


def ends_of_positions(symbols_N: torch.Tensor, positions_N: torch.Tensor, expansion: ByteExpansion | None) -> NgramEnds:
    """One n-gram at the end of each position, [N]; of symbols where there is no expansion."""
    if expansion is None:
        return NgramEnds(symbols_N, torch.arange(len(symbols_N), device=symbols_N.device), positions_N)
    return NgramEnds(expansion.ids_M, expansion.ends_N - 1, expansion.rope_positions(positions_N))


def ends_of_ids(positions_N: torch.Tensor, expansion: ByteExpansion) -> NgramEnds:
    """One n-gram at the end of each id that positions are expanded to, [M]."""
    begins_N = expansion.begins_N
    place_N = torch.arange(len(begins_N), device=begins_N.device)
    first_N, counts_N = begins_N[place_N - positions_N], expansion.ends_N - begins_N
    first_M = torch.repeat_interleave(first_N, counts_N, output_size=len(expansion.ids_M))
    at_M = torch.arange(len(expansion.ids_M), device=begins_N.device)
    return NgramEnds(expansion.ids_M, at_M, at_M - first_M)


def composed(
    table_VD: torch.Tensor, expansion: ByteExpansion, scale_PD: torch.Tensor | None, hashed_HD: torch.Tensor | None
) -> torch.Tensor:
    """The mean of each position's byte rows, float32 [N, D].

    scale_PD: what the row of a symbol's second byte is multiplied by, and those after it, where places are told
        apart. A first byte is as it is, so a raw one reads the same with an expansion and without.
    hashed_HD: rows that symbols of two bytes and more add by their hash.
    """
    ids_M, begins_N = expansion.ids_M, expansion.begins_N
    table_VD = table_VD[:FIRST_SYMBOL]
    counts_N = expansion.ends_N - begins_N
    begin_M = torch.repeat_interleave(begins_N, counts_N, output_size=len(ids_M))  # said, so that no device is asked
    place_M = torch.arange(len(ids_M), device=ids_M.device) - begin_M
    if scale_PD is not None:
        table_VD = torch.cat((table_VD, (scale_PD[:, None] * table_VD).flatten(0, 1)))
        ids_in_table_M = place_M.clamp_max(MAX_BYTE_PLACES - 1) * FIRST_SYMBOL + ids_M
    else:
        ids_in_table_M = ids_M
    x_ND = F.embedding_bag(ids_in_table_M, table_VD, begins_N, mode="mean")
    if hashed_HD is None:
        return x_ND
    summed_M = F.pad(_mixed((place_M + 1) * FIRST_SYMBOL + ids_M).cumsum(0), (1, 0))
    row_N = _mixed(summed_M[expansion.ends_N] - summed_M[begins_N]) % len(hashed_HD)
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
