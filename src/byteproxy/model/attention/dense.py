"""The oracle: one mask over all pairs of positions and plain matrix products.

Costs N x N x width operations whatever the documents are. It is what the other backends are tested against, and what
torch's FLOP counter can see.
"""

import torch

from byteproxy.model.attention.layout import Layout
from byteproxy.model.attention.sharing import for_each_head


def attend(q_NHE: torch.Tensor, k_NGE: torch.Tensor, v_NGE: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Causal softmax attention, each position to its own document up to itself: [N, heads, head width]."""
    k_NHE, v_NHE = for_each_head(q_NHE, k_NGE, v_NGE)
    n, _, width = q_NHE.shape
    place_N = torch.arange(n, device=q_NHE.device)
    document_N = layout.document_N
    seen_NN = (document_N[:, None] == document_N) & (place_N[:, None] >= place_N)
    q_HNE, k_HNE, v_HNE = (x.transpose(0, 1) for x in (q_NHE, k_NHE, v_NHE))
    score_HNN = (q_HNE @ k_HNE.transpose(1, 2)) * width**-0.5
    weight_HNN = score_HNN.masked_fill(~seen_NN, float("-inf")).softmax(-1)
    return (weight_HNN @ v_HNE).transpose(0, 1)
