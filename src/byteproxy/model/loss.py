"""Cross-entropy through linear heads, in chunks: memory grows neither with positions times symbols nor with heads.

N positions, D width, R rows of a softmax, J heads that share their positions, E targets. Logits are made for some
positions at a time, and each chunk's gradient is taken at once (the idea of fused linear cross-entropy, as in Liger
Kernel). A target is an entry (position, head, row, weight), so a position may have none, one, or a bag of them. What is
predicted where is decided in `targets`. Losses are summed, not averaged: the caller divides by the global number of
targets.

Typed softmax: a raw position's softmax has 64 + 256 rows however many symbols the compressed views have, so raw bytes
pay nothing for them in bits or in time, and generation can drop the symbol rows.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from byteproxy.vocab import SPECIALS, Vocab

LOGITS = 1 << 20  # that exist at the same time: about what a core's cache holds
_SMALLEST, _LARGEST = 128, 1024  # positions in a chunk
_CUDA = 32  # times as much of both on CUDA, where a chunk costs some twenty launches, however small it is


class Entries(NamedTuple):
    """Targets, in the order of their positions: int64 [E] each, weight float32 [E]."""

    position: torch.Tensor
    head: torch.Tensor
    row: torch.Tensor
    weight: torch.Tensor


def summed_loss(
    hidden_ND: torch.Tensor, rows_JRD: torch.Tensor, entries: Entries, soft_cap: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted sum of all entries' cross-entropies in nats, float32 scalar; and each entry's own, without gradient.

    rows_JRD: the rows of each head's softmax, float32; products are in hidden_ND's type.
    """
    if len(entries.position) == 0:
        nothing = torch.zeros((), device=hidden_ND.device)
        return nothing, nothing.new_zeros(0)
    summed, nats_E = _Summed.apply(hidden_ND, rows_JRD.to(hidden_ND.dtype), *entries, soft_cap)
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


def _chunk(logits_per_position: int, cuda: bool) -> int:
    """Positions whose logits exist at the same time: a power of two, so that few shapes occur."""
    logits, largest = (_CUDA * LOGITS, _CUDA * _LARGEST) if cuda else (LOGITS, _LARGEST)
    return min(largest, max(_SMALLEST, 1 << (logits // logits_per_position).bit_length() - 1))


def capped(logit: torch.Tensor, soft_cap: float) -> torch.Tensor:
    """Logits bent to stay within plus and minus `soft_cap`; 0 leaves them."""
    return logit if soft_cap == 0 else soft_cap * torch.tanh(logit / soft_cap)


class _Summed(torch.autograd.Function):
    """Weighted sum of cross-entropies of linear logits, with gradients taken chunk by chunk in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: torch.Tensor,
        rows_JRD: torch.Tensor,
        position_E: torch.Tensor,
        head_E: torch.Tensor,
        row_E: torch.Tensor,
        weight_E: torch.Tensor,
        soft_cap: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        heads, rows, width = rows_JRD.shape
        rows_XD = rows_JRD.reshape(heads * rows, width)
        position_P, place_E = torch.unique_consecutive(position_E, return_inverse=True)
        chunk = _chunk(heads * rows, hidden_ND.is_cuda)
        bounds = torch.arange(0, len(position_P) + chunk, chunk, device=place_E.device)
        of_chunk = torch.searchsorted(place_E, bounds).tolist()
        nats_E = torch.empty(len(position_E), device=hidden_ND.device)
        dhidden_ND = torch.zeros_like(hidden_ND) if wanted else hidden_ND
        drows_XD = torch.zeros_like(rows_XD, dtype=torch.float32) if wanted else rows_XD
        for number, first in enumerate(range(0, len(position_P), chunk)):
            here = slice(of_chunk[number], of_chunk[number + 1])
            at_C = position_P[first : first + chunk]
            # A CPU's last chunk is filled up: its kernels are made, and kept, for every shape that they meet.
            size = len(at_C) if hidden_ND.is_cuda else chunk
            x_CD = hidden_ND[F.pad(at_C, (0, size - len(at_C)))]
            logit_CJR = F.linear(x_CD, rows_XD).float().view(size, heads, rows)
            logit_CJR = capped(logit_CJR, soft_cap)
            sum_CJ = logit_CJR.logsumexp(-1)
            place_X = (place_E[here] - first) * heads + head_E[here]
            index_X = place_X * rows + row_E[here]
            nats_E[here] = sum_CJ.view(-1)[place_X] - logit_CJR.view(-1)[index_X]
            if not wanted:
                continue
            weight_CJ = torch.zeros_like(sum_CJ).view(-1).index_add_(0, place_X, weight_E[here]).view_as(sum_CJ)
            bend_CJR = 1 - (logit_CJR / soft_cap).square_() if soft_cap else None
            dlogit_CJR = logit_CJR.sub_(sum_CJ[..., None]).exp_().mul_(weight_CJ[..., None])
            dlogit_CJR.view(-1).index_add_(0, index_X, -weight_E[here])
            if bend_CJR is not None:
                dlogit_CJR *= bend_CJR
            dlogit_CX = dlogit_CJR.view(size, -1).to(hidden_ND.dtype)
            dhidden_ND[at_C] = (dlogit_CX @ rows_XD)[: len(at_C)]
            drows_XD += dlogit_CX.mT @ x_CD
        ctx.save_for_backward(dhidden_ND, drows_XD.view_as(rows_JRD))
        ctx.mark_non_differentiable(nats_E)
        return nats_E @ weight_E, nats_E

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor | None, ...]:
        dhidden_ND, drows_JRD = ctx.saved_tensors
        scale = gradients[0]
        return dhidden_ND * scale, (drows_JRD * scale).to(dhidden_ND.dtype), None, None, None, None, None
