"""Keys and values of the bytes read so far, in memory allocated once.

One document of at most `context` positions. A forward pass over n new positions costs n x (positions so far) in
attention and reads each weight once.
"""

import torch

from byteproxy.model.config import ModelConfig


class Cache:
    """Attends for `Transformer.hidden`: new positions see all earlier ones and, among themselves, up to themselves."""

    def __init__(self, config: ModelConfig, context: int, dtype: torch.dtype) -> None:
        """Room for `context` positions in every layer."""
        shape = (config.layers, config.heads, context, config.head_width)
        self.keys_LHTE = torch.empty(shape, dtype=dtype)
        self.values_LHTE = torch.empty(shape, dtype=dtype)
        self.context = context
        self.filled = 0

    def places(self, n: int) -> torch.Tensor:
        """The places that n new positions take: int64 [n]."""
        return torch.arange(self.filled, self.filled + n)

    def advance(self, n: int) -> None:
        """Count n positions as read, once all layers have seen them."""
        self.filled += n

    def attend(self, layer: int, q_NHE: torch.Tensor, k_NHE: torch.Tensor, v_NHE: torch.Tensor) -> torch.Tensor:
        """Store the new keys and values and attend: [N, H, E]."""
        n, _, width = q_NHE.shape
        total = self.filled + n
        if total > self.context:
            raise IndexError(f"{total} positions do not fit into a cache of {self.context}")
        self.keys_LHTE[layer, :, self.filled : total] = k_NHE.transpose(0, 1)
        self.values_LHTE[layer, :, self.filled : total] = v_NHE.transpose(0, 1)
        score_HNT = (q_NHE * width**-0.5).transpose(0, 1) @ self.keys_LHTE[layer, :, :total].transpose(1, 2)
        if n > 1:
            future_NT = score_HNT.new_full((n, total), float("-inf")).triu(self.filled + 1)
            score_HNT = score_HNT + future_NT
        return (score_HNT.softmax(-1) @ self.values_LHTE[layer, :, :total]).transpose(0, 1)
