"""Typed softmax: each position chooses among the specials and the symbols of its own representation only.

A raw position's softmax has 64 + 256 rows however many symbols the compressed views have, so raw bytes pay nothing for
them in bits or in time, and generation can drop the symbol rows. Targets are summed, not averaged: the caller divides
by the global number of targets. Logits are made in chunks of positions, and each chunk's gradient is taken at once (the
idea of fused linear cross-entropy, as in Liger Kernel), so memory does not grow with positions times symbols.
"""

from typing import Any

import torch
import torch.nn.functional as F

from byteproxy.vocab import SPECIALS, Vocab

CHUNK = 512  # positions whose logits exist at the same time
_NO_TARGET = -100


def typed_loss(
    hidden_ND: torch.Tensor,
    head_VD: torch.Tensor,
    targets_N: torch.Tensor,
    representations_N: torch.Tensor,
    vocab: Vocab,
) -> torch.Tensor:
    """Summed cross-entropy in nats of each representation's positions: float32 [representations].

    targets_N: int64; negative where there is no target.
    Raises IndexError if a target is not among the symbols of its position's representation.
    """
    sums = []
    for representation in range(vocab.representations):
        where = ((representations_N == representation) & (targets_N >= 0)).nonzero()[:, 0]
        if len(where) == 0:
            sums.append(hidden_ND.new_zeros((), dtype=torch.float32))
            continue
        local_N = local_targets(targets_N[where], representation, vocab)
        rows_RD = softmax_rows(head_VD, representation, vocab).to(hidden_ND.dtype)
        sums.append(_SummedCrossEntropy.apply(hidden_ND[where], rows_RD, local_N))
    return torch.stack(sums)


def typed_bits(
    hidden_ND: torch.Tensor, head_VD: torch.Tensor, targets_N: torch.Tensor, representation: int, vocab: Vocab
) -> torch.Tensor:
    """The bits that each position's target costs, float32 [N]; all positions of one representation, no gradient."""
    rows_RD = softmax_rows(head_VD, representation, vocab).to(hidden_ND.dtype)
    local_N = local_targets(targets_N, representation, vocab)
    nats = [
        F.cross_entropy(F.linear(x_CD, rows_RD).float(), target_C, reduction="none")
        for x_CD, target_C in zip(hidden_ND.split(CHUNK), local_N.split(CHUNK), strict=True)
    ]
    return torch.cat(nats) / torch.log(torch.tensor(2.0)) if nats else hidden_ND.new_zeros(0, dtype=torch.float32)


def softmax_rows(head_VD: torch.Tensor, representation: int, vocab: Vocab) -> torch.Tensor:
    """The rows of the head that a representation's softmax uses: specials, then its symbols."""
    ids = vocab.symbol_ids(representation)
    return torch.cat((head_VD[:SPECIALS], head_VD[ids.start : ids.stop]))


def local_targets(targets_N: torch.Tensor, representation: int, vocab: Vocab) -> torch.Tensor:
    """Ids as row numbers of `softmax_rows`."""
    ids = vocab.symbol_ids(representation)
    local_N = torch.where(targets_N < SPECIALS, targets_N, targets_N - ids.start + SPECIALS)
    foreign = (targets_N >= SPECIALS) & ((targets_N < ids.start) | (targets_N >= ids.stop))
    if bool(foreign.any()):
        raise IndexError(f"id {int(targets_N[foreign][0])} is no symbol of representation {representation}")
    return local_N


class _SummedCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies of linear logits, with gradients taken chunk by chunk in the forward pass."""

    @staticmethod
    def forward(ctx: Any, x_ND: torch.Tensor, rows_RD: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        loss = x_ND.new_zeros((), dtype=torch.float32)
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        dx_ND = torch.empty_like(x_ND) if wanted else x_ND
        drows_RD = torch.zeros_like(rows_RD, dtype=torch.float32)
        leaf_RD = rows_RD.detach().requires_grad_(wanted)
        for start in range(0, len(x_ND), CHUNK):
            # The last chunk is filled up: kernels are made, and kept, for every shape that they meet.
            x_CD, target_C = x_ND[start : start + CHUNK].detach(), targets_N[start : start + CHUNK]
            missing = CHUNK - len(x_CD)
            leaf_CD = F.pad(x_CD, (0, 0, 0, missing)).requires_grad_(wanted)
            filled_C = F.pad(target_C, (0, missing), value=_NO_TARGET)
            with torch.set_grad_enabled(wanted):
                logit_CR = F.linear(leaf_CD, leaf_RD).float()
                part = F.cross_entropy(logit_CR, filled_C, reduction="sum", ignore_index=_NO_TARGET)
            loss += part.detach()
            if wanted:
                dx_CD, drow_RD = torch.autograd.grad(part, (leaf_CD, leaf_RD))
                dx_ND[start : start + CHUNK] = dx_CD[: CHUNK - missing]
                drows_RD += drow_RD
        ctx.save_for_backward(dx_ND, drows_RD)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, torch.Tensor, None]:
        dx_ND, drows_RD = ctx.saved_tensors
        scale = gradients[0]
        return dx_ND * scale, (drows_RD * scale).to(dx_ND.dtype), None
