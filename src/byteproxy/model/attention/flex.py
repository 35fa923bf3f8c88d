"""FlexAttention with a block mask of the documents: compiled on CUDA. On a CPU torch has its forward pass only.

Blocks of 128 x 128 pairs that no document reaches are never computed.
"""

from functools import cache

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from byteproxy.model.attention.layout import Layout
from byteproxy.model.attention.sharing import for_each_head


def attend(q_NHE: torch.Tensor, k_NGE: torch.Tensor, v_NGE: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Causal softmax attention, each position to its own document up to itself: [N, heads, head width]."""
    k_NHE, v_NHE = for_each_head(q_NHE, k_NGE, v_NGE)
    kernel = _compiled() if q_NHE.is_cuda else flex_attention
    q_1HNE, k_1HNE, v_1HNE = (x.transpose(0, 1)[None] for x in (q_NHE, k_NHE, v_NHE))
    out = kernel(q_1HNE, k_1HNE, v_1HNE, block_mask=_mask(layout))
    assert isinstance(out, torch.Tensor), "without return_aux there is one result"
    return out[0].transpose(0, 1)


def _mask(layout: Layout) -> BlockMask:
    """Made once per layout, for all layers."""
    known = layout.__dict__.get("flex_mask")
    if known is None:
        document_N, n = layout.document_N, len(layout.positions_N)

        def seen(batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            return (document_N[query] == document_N[key]) & (query >= key)

        known = layout.__dict__["flex_mask"] = create_block_mask(seen, None, None, n, n, document_N.device)
    return known


@cache
def _compiled():  # type: ignore[no-untyped-def]
    return torch.compile(flex_attention)
