"""Document by document: buckets of padded documents, each in blocks of queries against the keys up to them.

Work grows with the square of a document, not of a row, and no mask but causality is ever built. On a CPU each block is
a few plain products, sized so that its scores stay in the cache; blocks of the future are never computed, and backward
computes a block's weights again instead of keeping them (as FlashAttention does, Dao et al., arXiv 2205.14135), so
memory grows with positions only. `benchmarks/train.py` holds it against SDPA's own kernel. On other devices each
bucket goes through SDPA.
"""

from typing import Any

import torch
import torch.nn.functional as F

from byteproxy.model.attention.layout import Layout

BLOCK = 128  # queries at once
SCORES = 1 << 20  # scores at once, all documents and heads together: 2 MB in bfloat16


def attend(q_NHE: torch.Tensor, k_NHE: torch.Tensor, v_NHE: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Causal softmax attention, each position to its own document up to itself: [N, heads, head width]."""
    kernel = _blocks if q_NHE.device.type == "cpu" else _sdpa
    sizes = [bucket.documents * bucket.length for bucket in layout.buckets]
    padded = q_NHE, k_NHE, v_NHE
    if not layout.in_place:
        padded = tuple(_Take.apply(x, layout.into_M, layout.back_N) for x in padded)
    out = []
    for bucket, q, k, v in zip(layout.buckets, *(x.split(sizes) for x in padded), strict=True):
        size = bucket.documents, bucket.length
        attended = kernel(*(x.unflatten(0, size).transpose(1, 2) for x in (q, k, v)))
        out.append(attended.transpose(1, 2).flatten(0, 1))
    out_MHE = out[0] if len(out) == 1 else torch.cat(out)
    return out_MHE if layout.in_place else _Take.apply(out_MHE, layout.back_N, layout.into_M)


class _Take(torch.autograd.Function):
    """Rows by index, -1 giving zeros, where `inverse` leads back: the gradient is a take as well, never a scatter."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, index: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(inverse)
        return _take(x, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return _take(gradients[0], inverse), None, None


def _take(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    taken = x.index_select(0, index.clamp_min(0))
    empty = (index < 0).nonzero()[:, 0]
    return taken.index_fill_(0, empty, 0) if len(empty) else taken


def _sdpa(q_GHTE: torch.Tensor, k_GHTE: torch.Tensor, v_GHTE: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q_GHTE, k_GHTE, v_GHTE, is_causal=True)


def _blocks(q_GHTE: torch.Tensor, k_GHTE: torch.Tensor, v_GHTE: torch.Tensor) -> torch.Tensor:
    out_BTE: torch.Tensor = _Blocks.apply(*(x.flatten(0, 1) for x in (q_GHTE, k_GHTE, v_GHTE)))
    return out_BTE.unflatten(0, q_GHTE.shape[:2])


class _Blocks(torch.autograd.Function):
    """Attention of B documents and heads together, each of T positions."""

    @staticmethod
    def forward(ctx: Any, q_BTE: torch.Tensor, k_BTE: torch.Tensor, v_BTE: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(q_BTE, k_BTE, v_BTE)
        out_BTE = torch.empty_like(q_BTE)
        for some, start, stop in _pieces(q_BTE):
            weight = _weights(q_BTE[some, start:stop], k_BTE[some, :stop])
            out_BTE[some, start:stop] = weight @ v_BTE[some, :stop]
        return out_BTE

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, ...]:
        q_BTE, k_BTE, v_BTE = ctx.saved_tensors
        dout_BTE = gradients[0]
        dq_BTE, dk_BTE, dv_BTE = torch.empty_like(q_BTE), torch.zeros_like(k_BTE), torch.zeros_like(v_BTE)
        for some, start, stop in _pieces(q_BTE):
            dout, q, k = dout_BTE[some, start:stop], q_BTE[some, start:stop], k_BTE[some, :stop]
            weight = _weights(q, k)
            dscore = torch._softmax_backward_data(dout @ v_BTE[some, :stop].mT, weight, -1, weight.dtype)
            dq_BTE[some, start:stop] = dscore @ k
            dk_BTE[some, :stop] += dscore.mT @ q
            dv_BTE[some, :stop] += weight.mT @ dout
        scale = q_BTE.shape[-1] ** -0.5
        return dq_BTE.mul_(scale), dk_BTE.mul_(scale), dv_BTE


def _pieces(q_BTE: torch.Tensor) -> list[tuple[slice, int, int]]:
    """Which documents and heads, and from which query to which, are computed at once."""
    batch, length, _ = q_BTE.shape
    together = max(1, SCORES // (min(BLOCK, length) * length))
    return [
        (slice(first, first + together), start, min(start + BLOCK, length))
        for first in range(0, batch, together)
        for start in range(0, length, BLOCK)
    ]


def _weights(q_BCE: torch.Tensor, k_BSE: torch.Tensor) -> torch.Tensor:
    """Softmax weights [B, C, S] of the last C of S positions over all S of them, as far as each may see."""
    score_BCS = (q_BCE @ k_BSE.mT).mul_(q_BCE.shape[-1] ** -0.5)
    count = q_BCE.shape[1]
    score_BCS[:, :, -count:] += score_BCS.new_full((count, count), float("-inf")).triu(1)
    return score_BCS.softmax(-1)
