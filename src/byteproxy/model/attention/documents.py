"""Document by document: buckets of padded documents as batched matrix products, long ones through SDPA.

Work grows with the square of a document, not of a row, and no mask but causality is ever built. On two CPU
cores a layer's attention takes SDPA's kernel 1.8 times as long as the batched products, for the demo's documents (as
measured by `benchmarks/train.py`); beyond `LONGEST_PRODUCT`, where scores would cost memory, SDPA takes over.
"""

from typing import Any

import torch
import torch.nn.functional as F

from byteproxy.model.attention.layout import Layout

LONGEST_PRODUCT = 1024


class _Take(torch.autograd.Function):
    """Rows by index, -1 giving zeros, where `inverse` leads back: the gradient is a take as well, never a scatter."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, index: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(index, inverse)
        return _take(x, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        return _Take.apply(gradients[0], inverse, index), None, None


def _take(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    taken = x.index_select(0, index.clamp_min(0))
    empty = (index < 0).nonzero()[:, 0]
    return taken.index_fill_(0, empty, 0) if len(empty) else taken


def attend(q_NHE: torch.Tensor, k_NHE: torch.Tensor, v_NHE: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Causal softmax attention, each position to its own document up to itself: [N, heads, head width]."""
    qkv_M3HE = _Take.apply(torch.stack((q_NHE, k_NHE, v_NHE), 1), layout.into_M, layout.back_N)
    parts = qkv_M3HE.split([bucket.documents * bucket.length for bucket in layout.buckets])
    out = []
    for bucket, part in zip(layout.buckets, parts, strict=True):
        q, k, v = part.unflatten(0, (bucket.documents, bucket.length)).permute(2, 0, 3, 1, 4).unbind(0)
        attended = _products(q, k, v) if bucket.length <= LONGEST_PRODUCT else _kernel(q, k, v)
        out.append(attended.transpose(1, 2).flatten(0, 1))
    return _Take.apply(torch.cat(out), layout.back_N, layout.into_M)


def _products(q_GHTE: torch.Tensor, k_GHTE: torch.Tensor, v_GHTE: torch.Tensor) -> torch.Tensor:
    length, width = q_GHTE.shape[2:]
    future_TT = q_GHTE.new_full((length, length), float("-inf")).triu(1)
    score_GHTT = (q_GHTE * width**-0.5) @ k_GHTE.transpose(2, 3) + future_TT
    return score_GHTT.softmax(-1) @ v_GHTE


def _kernel(q_GHTE: torch.Tensor, k_GHTE: torch.Tensor, v_GHTE: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q_GHTE, k_GHTE, v_GHTE, is_causal=True)
