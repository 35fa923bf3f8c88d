"""Document by document: buckets of padded documents, each in blocks of queries against the keys up to them.

Work grows with the square of a document, not of a row, and no mask but causality is ever built. On a CPU each block is
a few plain products, sized so that its scores stay in the cache; blocks of the future are never computed, and backward
computes a block's weights again instead of keeping them (as FlashAttention does, Dao et al., arXiv 2205.14135), so
memory grows with positions only. `benchmarks/train.py` holds it against SDPA's own kernel. On other devices each
bucket goes through SDPA.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

from byteproxy.model.attention.layout import Layout
from byteproxy.model.attention.sharing import for_each_head
from byteproxy.model.device_kind import kind_of

BLOCK = 128  # queries at once
SCORES = 1 << 20  # scores at once, all documents and heads together: 2 MB in bfloat16


def attend(q_NHE: torch.Tensor, k_NGE: torch.Tensor, v_NGE: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Causal softmax attention, each position to its own document up to itself: [N, heads, head width]."""
    kernel = _blocks if kind_of(q_NHE.device) == "cpu" else _sdpa
    sizes = [bucket.documents * bucket.length for bucket in layout.buckets]
    padded = q_NHE, k_NGE, v_NGE
    if not layout.in_place:
        padded = tuple(_Take.apply(x, layout.into_M, layout.back_N, layout.padding_P, None) for x in padded)
    parts = zip(layout.buckets, *(x.split(sizes) for x in padded), strict=True)
    out = [kernel(*(x.unflatten(0, bucket) for x in qkv)).flatten(0, 1) for bucket, *qkv in parts]
    out_MHE = out[0] if len(out) == 1 else torch.cat(out)
    if layout.in_place:
        return out_MHE
    taken_NHE: torch.Tensor = _Take.apply(out_MHE, layout.back_N, layout.into_M, None, layout.padding_P)
    return taken_NHE


class _Take(torch.autograd.Function):
    """Rows by index, -1 giving zeros, where `inverse` leads back: the gradient is a take as well, never a scatter.

    empty, inverse_empty: where each of these is -1; None: nowhere.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        index: torch.Tensor,
        inverse: torch.Tensor,
        empty: torch.Tensor | None,
        inverse_empty: torch.Tensor | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(inverse, inverse_empty)
        return _take(x, index, empty)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, None, None, None, None]:
        inverse, inverse_empty = ctx.saved_tensors
        return _take(gradients[0], inverse, inverse_empty), None, None, None, None


def _take(x: torch.Tensor, index: torch.Tensor, empty: torch.Tensor | None) -> torch.Tensor:
    if empty is None or not len(empty):
        return x.index_select(0, index)
    return x.index_select(0, index.clamp_min(0)).index_fill_(0, empty, 0)


def _sdpa(q_DTHE: torch.Tensor, k_DTGE: torch.Tensor, v_DTGE: torch.Tensor) -> torch.Tensor:
    q_DHTE, k_DHTE, v_DHTE = (x.transpose(1, 2) for x in (q_DTHE, *for_each_head(q_DTHE, k_DTGE, v_DTGE)))
    return F.scaled_dot_product_attention(q_DHTE, k_DHTE, v_DHTE, is_causal=True).transpose(1, 2)


def _blocks(q_DTHE: torch.Tensor, k_DTGE: torch.Tensor, v_DTGE: torch.Tensor) -> torch.Tensor:
    documents, _, heads, _ = k_DTGE.shape
    q_DTGSE = q_DTHE.unflatten(2, (heads, -1))
    q_BSTE = q_DTGSE.permute(0, 2, 3, 1, 4).flatten(0, 1).contiguous()
    k_BTE, v_BTE = (x.transpose(1, 2).flatten(0, 1).contiguous() for x in (k_DTGE, v_DTGE))
    out_BSTE: torch.Tensor = _Blocks.apply(q_BSTE, k_BTE, v_BTE)
    return out_BSTE.unflatten(0, (documents, heads)).permute(0, 3, 1, 2, 4).flatten(2, 3)


class _Blocks(torch.autograd.Function):
    """Attention of B documents and key-value heads together, each of T positions and S query heads.

    Queries that share keys are rows of one product, X = S C for a block of C positions. What is multiplied more than
    once is copied first where it does not lie end to end, or each product would copy it.
    """

    @staticmethod
    def forward(ctx: Any, q_BSTE: torch.Tensor, k_BTE: torch.Tensor, v_BTE: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(q_BSTE, k_BTE, v_BTE)
        out_BSTE = torch.empty_like(q_BSTE)
        for some, start, stop in _pieces(q_BSTE):
            q_BSCE = q_BSTE[some, :, start:stop]
            weight = _weights(q_BSCE, k_BTE[some, :stop])
            out_BSTE[some, :, start:stop] = (weight @ v_BTE[some, :stop]).view_as(q_BSCE)
        return out_BSTE

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, ...]:
        q_BSTE, k_BTE, v_BTE = ctx.saved_tensors
        dout_BSTE = gradients[0]
        dq_BSTE, dk_BTE, dv_BTE = torch.empty_like(q_BSTE), torch.zeros_like(k_BTE), torch.zeros_like(v_BTE)
        for some, start, stop in _pieces(q_BSTE):
            dout, q = (x[some, :, start:stop].flatten(1, 2).contiguous() for x in (dout_BSTE, q_BSTE))
            k = k_BTE[some, :stop].contiguous()
            weight = _weights(q_BSTE[some, :, start:stop], k)
            dscore = torch._softmax_backward_data(dout @ v_BTE[some, :stop].mT, weight, -1, weight.dtype)
            dq_BSCE = dq_BSTE[some, :, start:stop]
            dq_BSCE.copy_((dscore @ k).view_as(dq_BSCE))
            dk_BTE[some, :stop] += dscore.mT @ q
            dv_BTE[some, :stop] += weight.mT @ dout
        scale = q_BSTE.shape[-1] ** -0.5
        return dq_BSTE.mul_(scale), dk_BTE.mul_(scale), dv_BTE


def _pieces(q_BSTE: torch.Tensor) -> list[tuple[slice, int, int]]:
    """Which documents and key-value heads, and from which query to which, are computed at once."""
    batch, shared, length, _ = q_BSTE.shape
    together = max(1, SCORES // (shared * min(BLOCK, length) * length))
    return [
        (slice(first, first + together), start, min(start + BLOCK, length))
        for first in range(0, batch, together)
        for start in range(0, length, BLOCK)
    ]


def _weights(q_BSCE: torch.Tensor, k_BKE: torch.Tensor) -> torch.Tensor:
    """Softmax weights [B, X, K] of the last C of K positions over all K of them, as far as each may see."""
    batch, shared, count, width = q_BSCE.shape
    score_BXK = q_BSCE.new_empty(batch, shared * count, k_BKE.shape[1])
    torch.baddbmm(score_BXK, q_BSCE.flatten(1, 2), k_BKE.mT, beta=0, alpha=width**-0.5, out=score_BXK)
    score_BXK.unflatten(1, (shared, count))[..., -count:] += _future(count, q_BSCE.dtype)
    return score_BXK.softmax(-1)


@cache
def _future(count: int, dtype: torch.dtype) -> torch.Tensor:
    """What is added to scores of the last `count` positions among themselves: [C, C], minus infinity for the future."""
    return torch.full((count, count), float("-inf"), dtype=dtype).triu_(1)
