"""FlashAttention over documents of different lengths in one call: torch's `varlen_attn`, CUDA only.

No padding and no mask in memory; queries, keys and values in bfloat16 or float16.
"""

import torch
from torch.nn.attention.varlen import varlen_attn

from byteproxy.model.attention.layout import Layout
from byteproxy.model.attention.sharing import for_each_head


def attend(q_NHE: torch.Tensor, k_NGE: torch.Tensor, v_NGE: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Causal softmax attention, each position to its own document up to itself: [N, heads, head width]."""
    k_NHE, v_NHE = for_each_head(q_NHE, k_NGE, v_NGE)
    longest = max(layout.lengths)
    out = varlen_attn(q_NHE, k_NHE, v_NHE, layout.bounds, layout.bounds, longest, longest, window_size=(-1, 0))
    assert isinstance(out, torch.Tensor), "without return_aux there is one result"
    return out
