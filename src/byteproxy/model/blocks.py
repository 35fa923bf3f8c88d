"""The layers of a network: modules that are called, so that what wraps or hooks one sees each weight where it is used.

N positions, D width, F ffn width. Parameters are float32, and each module casts its own to the type of what it reads,
so that optimizers see exact weights while matrix products run in bfloat16.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from byteproxy.model.attention.branches import Branches
from byteproxy.model.attention.packed import PackedAttention, Rows, Step
from byteproxy.model.linear import Linear, Norm
from byteproxy.model.model_config import ModelConfig


class Block(nn.Module):
    """Attention, then SwiGLU, each on a normed copy and added to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int, input_vocab: int) -> None:
        super().__init__()
        self.input_layernorm = Norm(config.width, config.norm_epsilon)
        self.self_attn = PackedAttention(config, layer, input_vocab)
        self.post_attention_layernorm = Norm(config.width, config.norm_epsilon)
        self.mlp = Mlp(config)

    def forward(self, x_ND: torch.Tensor, reading: Rows | Step | Branches) -> torch.Tensor:
        """The residual stream [N, D] after this layer."""
        layer = _compiled() if reading.compiled else _layer
        after_ND: torch.Tensor = layer(self, x_ND, reading)
        return after_ND


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.width, config.ffn)
        self.up_proj = Linear(config.width, config.ffn)
        self.down_proj = Linear(config.ffn, config.width)

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        """The layer's output, [N, D]."""
        y_ND: torch.Tensor = self.down_proj(F.silu(self.gate_proj(x_ND)) * self.up_proj(x_ND))
        return y_ND


def _layer(block: Block, x_ND: torch.Tensor, reading: Rows | Step | Branches) -> torch.Tensor:
    """What a block computes. All blocks share what is compiled of it, and hooks of a block stay outside of that."""
    x_ND = x_ND + block.self_attn(block.input_layernorm(x_ND), reading)
    after_ND: torch.Tensor = x_ND + block.mlp(block.post_attention_layernorm(x_ND))
    return after_ND


@cache
def _compiled() -> Any:
    """Two graphs, before attention and after it: what attends runs as it is, since its shapes differ by the step."""
    torch._dynamo.config.nested_graph_breaks = True  # or each module around that break would be graphs of its own
    return torch.compile(_layer, dynamic=False)
