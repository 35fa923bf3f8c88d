"""SDPA with one mask for the row: runs wherever torch does, and costs the square of the row.

The plain way, for devices on which `documents` has too many small calls, and a second opinion beside the oracle.
"""

import torch
import torch.nn.functional as F

from byteproxy.model.attention.layout import Layout
from byteproxy.model.attention.sharing import for_each_head


def attend(q_NHE: torch.Tensor, k_NGE: torch.Tensor, v_NGE: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Causal softmax attention, each position to its own document up to itself: [N, heads, head width]."""
    k_NHE, v_NHE = for_each_head(q_NHE, k_NGE, v_NGE)
    place_N = torch.arange(len(q_NHE), device=q_NHE.device)
    document_N = layout.document_N
    seen_NN = (document_N[:, None] == document_N) & (place_N[:, None] >= place_N)
    q_1HNE, k_1HNE, v_1HNE = (x.transpose(0, 1)[None] for x in (q_NHE, k_NHE, v_NHE))
    return F.scaled_dot_product_attention(q_1HNE, k_1HNE, v_1HNE, attn_mask=seen_NN)[0].transpose(0, 1)
