"""Keys and values of the symbols read so far, in memory allocated once.

One document of at most `context` positions. A forward pass over n new positions costs n x (positions so far) in
attention and reads each weight once.
"""

import torch

from byteproxy.model.config import ModelConfig
from byteproxy.model.transformer import Transformer


class Cache:
    """What a model has read of one document: new positions see all before them and, among themselves, up to themselves.

    Raw bytes and specials are plain rows of the table for every model, so no spelling is needed.
    """

    def __init__(self, config: ModelConfig, context: int, dtype: torch.dtype) -> None:
        """Room for `context` positions in every layer."""
        shape = (config.layers, config.heads, context, config.head_width)
        self.keys_LHTE = torch.empty(shape, dtype=dtype)
        self.values_LHTE = torch.empty(shape, dtype=dtype)
        self.symbols_T = torch.empty(context, dtype=torch.int64)
        self.before = max(config.ngrams, default=1) - 1  # symbols that the n-grams of the next one reach back to
        self.context = context
        self.filled = 0

    def read(self, model: Transformer, symbols_N: torch.Tensor) -> torch.Tensor:
        """Hidden states [N, D] of the next symbols of the document, which count as read from now on."""
        total = self.filled + len(symbols_N)
        if total > self.context:
            raise IndexError(f"{total} positions do not fit into a cache of {self.context}")
        before = self.symbols_T[max(0, self.filled - self.before) : self.filled]
        hidden_ND = model.hidden(symbols_N, torch.arange(self.filled, total), self._attend, before=before)
        self.symbols_T[self.filled : total] = symbols_N
        self.filled = total
        return hidden_ND

    def _attend(self, layer: int, q_NHE: torch.Tensor, k_NHE: torch.Tensor, v_NHE: torch.Tensor) -> torch.Tensor:
        """Store the new keys and values and attend: [N, H, E]."""
        n, _, width = q_NHE.shape
        total = self.filled + n
        self.keys_LHTE[layer, :, self.filled : total] = k_NHE.transpose(0, 1)
        self.values_LHTE[layer, :, self.filled : total] = v_NHE.transpose(0, 1)
        score_HNT = (q_NHE * width**-0.5).transpose(0, 1) @ self.keys_LHTE[layer, :, :total].transpose(1, 2)
        if n > 1:
            future_NT = score_HNT.new_full((n, total), float("-inf")).triu(self.filled + 1)
            score_HNT = score_HNT + future_NT
        return (score_HNT.softmax(-1) @ self.values_LHTE[layer, :, :total]).transpose(0, 1)
