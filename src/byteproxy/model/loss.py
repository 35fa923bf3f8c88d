"""Cross-entropy through linear heads, in chunks: memory grows neither with positions times symbols nor with heads.

N positions, D width, V rows of a table, R of them in a softmax, J heads that share their positions, E targets. Logits
are made for a chunk of positions at a time, and each chunk's gradient is taken at once (the idea of fused linear
cross-entropy, as in Liger Kernel). A chunk's logits are in the type of the products, and turn into their gradients
where they stand, a piece that fits into the cache at a time. Each chunk reads the table and adds to its whole gradient,
so a chunk has about as many positions as make its logits as large as that gradient, and at least what fills the cache.
Memory is bounded by the larger of the two.

A target is an entry (position, head, row, weight), so a position may have none, one, or a bag of them. What is
predicted where is decided in `targets`. Losses are summed, not averaged: the caller divides by the global number of
targets.

Typed softmax: a raw position's softmax has 64 + 256 rows however many symbols the compressed views have, so raw bytes
pay nothing for them in bits or in time, and generation can drop the symbol rows.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from byteproxy.model.device_kind import kind_of
from byteproxy.vocab import SPECIALS, Vocab

LOGITS = 1 << 20  # that exist in float32 at the same time: about what a core's cache holds
_SMALLEST, _LARGEST = 128, 1024  # positions in a chunk
_CUDA = 32  # times as much of both on CUDA, where a chunk costs some twenty launches, however small it is


class Groups(NamedTuple):
    """Which positions have entries: int64 position_P, each once and in order; place_E, the one of these of each entry.

    places_E: the same on the host, where it is decided what stands in which chunk.
    """

    position_P: torch.Tensor
    place_E: torch.Tensor
    places_E: np.ndarray


class Entries(NamedTuple):
    """Targets, in the order of their positions: int64 [E] each, weight float32 [E].

    groups: of these positions; None: they are found when they are needed.
    """

    position: torch.Tensor
    head: torch.Tensor
    row: torch.Tensor
    weight: torch.Tensor
    groups: Groups | None = None


def groups_of(position_E: torch.Tensor) -> Groups:
    """The groups of entries at these positions, which are in order."""
    position_P, place_E = torch.unique_consecutive(position_E, return_inverse=True)
    return Groups(position_P, place_E, place_E.cpu().numpy())


def summed_loss(
    hidden_ND: torch.Tensor,
    weight_JVD: torch.Tensor,
    entries: Entries,
    soft_cap: float = 0.0,
    rows: Sequence[range] | None = None,
    new_JKD: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted sum of all entries' cross-entropies in nats, float32 scalar; and each entry's own, without gradient.

    Gradients can be taken once.

    weight_JVD: each head's table, float32; products are in hidden_ND's type.
    rows: which of its rows the softmax has, as ranges one after the other; None: all.
    new_JKD: stands for the table's first rows, and alone has a gradient; None: all of the table has one.
    """
    if len(entries.position) == 0:
        nothing = torch.zeros((), device=hidden_ND.device)
        return nothing, nothing.new_zeros(0)
    rows = (range(weight_JVD.shape[1]),) if rows is None else rows
    if new_JKD is not None:
        rows = [part for one in rows for part in _divided(one, new_JKD.shape[1]) if part]
    position, head, row, weight, groups = entries
    groups = groups_of(position) if groups is None else groups
    summed, nats_E = _Summed.apply(hidden_ND, weight_JVD, groups, head, row, weight, soft_cap, rows, new_JKD)
    return summed, nats_E


class Losses(NamedTuple):
    """The loss of some positions.

    total: weighted sum in nats, with gradient.
    nats, counts: float64 [representations, columns], unweighted sums, and of how many targets; a bag counts as one.
    """

    total: torch.Tensor
    nats: torch.Tensor
    counts: torch.Tensor


def typed_rows(representation: int, vocab: Vocab) -> tuple[range, ...]:
    """The ids that a representation's softmax chooses among: specials, then its symbols."""
    ids = vocab.symbol_ids(representation)
    return (range(ids.stop),) if ids.start == SPECIALS else (range(SPECIALS), range(ids.start, ids.stop))


def local_targets(targets_N: torch.Tensor, representation: int, vocab: Vocab) -> torch.Tensor:
    """Ids as row numbers of `typed_rows`.

    Raises IndexError if one is not among the symbols of the representation.
    """
    ids = vocab.symbol_ids(representation)
    local_N = torch.where(targets_N < SPECIALS, targets_N, targets_N - ids.start + SPECIALS)
    foreign = (targets_N >= SPECIALS) & ((targets_N < ids.start) | (targets_N >= ids.stop))
    if bool(foreign.any()):
        raise IndexError(f"id {int(targets_N[foreign][0])} is no symbol of representation {representation}")
    return local_N


def _sizes(logits_per_position: int, width: int, cuda: bool) -> tuple[int, int]:
    """Positions of a chunk, and of the pieces that it is worked on in: powers of two, so that few shapes occur."""
    logits, largest = (_CUDA * LOGITS, _CUDA * _LARGEST) if cuda else (LOGITS, _LARGEST)
    together = logits // logits_per_position
    chunk = min(largest, max(_SMALLEST, _power_of_two(together), _power_of_two(2 * width)))
    return chunk, min(chunk, _power_of_two(together))


def _power_of_two(most: int) -> int:
    """The largest up to `most`, at least 1."""
    return 1 << max(1, most).bit_length() - 1


def capped(logit: torch.Tensor, soft_cap: float) -> torch.Tensor:
    """Logits bent to stay within plus and minus `soft_cap`; 0 leaves them."""
    return logit if soft_cap == 0 else soft_cap * torch.tanh(logit / soft_cap)


class _Summed(torch.autograd.Function):
    """Weighted sum of cross-entropies of linear logits, with gradients taken chunk by chunk in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: torch.Tensor,
        weight_JVD: torch.Tensor,
        groups: Groups,
        head_E: torch.Tensor,
        row_E: torch.Tensor,
        weight_E: torch.Tensor,
        soft_cap: float,
        ranges: Sequence[range],
        new_JKD: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        rows_JRD = _rows(weight_JVD, ranges, hidden_ND.dtype, new_JKD)
        ctx.own_table = new_JKD is None
        learning_JVD = weight_JVD if new_JKD is None else new_JKD
        learned = [one for one in ranges if one.stop <= learning_JVD.shape[1]]  # they stand first
        learned_rows = sum(map(len, learned))
        heads, rows, width = rows_JRD.shape
        rows_XD = rows_JRD.view(heads * rows, width)
        position_P, place_E, places_E = groups
        on_cuda = kind_of(hidden_ND.device) == "cuda"
        chunk, piece = _sizes(heads * rows, width, on_cuda)
        of_piece = np.searchsorted(places_E, np.arange(0, len(position_P) + piece, piece)).tolist()
        nats_E = torch.empty(len(row_E), device=hidden_ND.device)
        dhidden_ND = torch.zeros_like(hidden_ND) if wanted else hidden_ND
        dweight_JVD = torch.zeros_like(learning_JVD, dtype=torch.float32) if wanted else learning_JVD
        for first in range(0, len(position_P), chunk):
            at_C = position_P[first : first + chunk]
            # A CPU's last chunk is filled up: its kernels are made, and kept, for every shape that they meet.
            size = len(at_C) if on_cuda else -(-len(at_C) // _SMALLEST) * _SMALLEST
            x_CD = hidden_ND[F.pad(at_C, (0, size - len(at_C)))]
            logit_CJR = F.linear(x_CD, rows_XD).view(size, heads, rows)
            logit_CJR[len(at_C) :] = 0
            for begin in range(0, len(at_C), piece):
                number = (first + begin) // piece
                here = slice(of_piece[number], of_piece[number + 1])
                place_X = (place_E[here] - first - begin) * heads + head_E[here]
                logit_PJR = logit_CJR[begin : min(begin + piece, len(at_C))]
                nats_E[here], dlogit_PJR = _nats(logit_PJR, place_X, row_E[here], weight_E[here], soft_cap, wanted)
                if dlogit_PJR is not None:
                    logit_PJR.copy_(dlogit_PJR)
            if not wanted:
                continue
            dlogit_CX = logit_CJR.view(size, -1)
            dhidden_ND[at_C] = (dlogit_CX @ rows_XD)[: len(at_C)]
            if learned_rows < rows:
                dlogit_CX = dlogit_CX.view(size, heads, rows)[:, :, :learned_rows].flatten(1)
            drows_JRD = (dlogit_CX.mT @ x_CD).view(heads, learned_rows, width)
            for ours_JRD, own_JRD in _parts(dweight_JVD, learned, drows_JRD):
                ours_JRD += own_JRD
        ctx.save_for_backward(dhidden_ND, dweight_JVD)
        ctx.mark_non_differentiable(nats_E)
        return nats_E @ weight_E, nats_E

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor | None, ...]:
        dhidden_ND, dweight_JVD = ctx.saved_tensors
        scale = gradients[0]
        of_table, of_new = (dweight_JVD.mul_(scale), None) if ctx.own_table else (None, dweight_JVD.mul_(scale))
        return dhidden_ND.mul_(scale), of_table, None, None, None, None, None, None, of_new


def _nats(
    logit_PJR: torch.Tensor,
    place_X: torch.Tensor,
    row_X: torch.Tensor,
    weight_X: torch.Tensor,
    soft_cap: float,
    wanted: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What some entries cost, each at the softmax `place_X`, and the gradient of their weighted sum if it is wanted."""
    logit_PJR = capped(logit_PJR.float(), soft_cap)
    lnp_PJR = logit_PJR.log_softmax(-1)
    index_X = place_X * lnp_PJR.shape[-1] + row_X
    nats_X = -lnp_PJR.view(-1)[index_X]
    if not wanted:
        return nats_X, None
    weight_PJ1 = lnp_PJR.new_zeros(lnp_PJR.shape[:2]).view(-1).index_add_(0, place_X, weight_X)
    dlogit_PJR = lnp_PJR.exp_().mul_(weight_PJ1.view(*lnp_PJR.shape[:2], 1))
    dlogit_PJR.view(-1).index_add_(0, index_X, -weight_X)
    if soft_cap:
        dlogit_PJR *= 1 - (logit_PJR / soft_cap).square_()
    return nats_X, dlogit_PJR


def rows_of(weight_JVD: torch.Tensor, new_JKD: torch.Tensor | None, ids: range) -> torch.Tensor:
    """Rows of a table [J, len(ids), D], of the one that stands for its first rows if they are there."""
    table_JVD = weight_JVD if new_JKD is None or ids.stop > new_JKD.shape[1] else new_JKD
    return table_JVD[:, ids.start : ids.stop]


def _divided(ids: range, at: int) -> tuple[range, range]:
    """Those below an id, and the others."""
    return range(min(ids.start, at), min(ids.stop, at)), range(max(ids.start, at), max(ids.stop, at))


def _rows(
    weight_JVD: torch.Tensor, ranges: Sequence[range], dtype: torch.dtype, new_JKD: torch.Tensor | None
) -> torch.Tensor:
    """Rows of a softmax [J, R, D], in one pass over them."""
    heads, _, width = weight_JVD.shape
    rows_JRD = weight_JVD.new_empty(heads, sum(map(len, ranges)), width, dtype=dtype)
    for one, own_JRD in zip(ranges, rows_JRD.split([len(one) for one in ranges], 1), strict=True):
        own_JRD.copy_(rows_of(weight_JVD, new_JKD, one))
    return rows_JRD


def _parts(
    table_JVD: torch.Tensor, ranges: Sequence[range], rows_JRD: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Where each range of a softmax's rows stands in its table, and among the rows."""
    parts = rows_JRD.split([len(one) for one in ranges], 1)
    return ((table_JVD[:, one.start : one.stop], part) for one, part in zip(ranges, parts, strict=True))
