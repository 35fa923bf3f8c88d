"""The layers of a network: modules that are called, so that what wraps or hooks one sees each weight where it is used.

N positions, D width, F ffn width. Parameters are float32, and each module casts its own to the type of what it reads,
so that optimizers see exact weights while matrix products run in bfloat16.

A layer keeps what its backward pass needs, or only what it was given, and then computes itself again there (activation
checkpointing, Chen et al. 2016, arXiv 1604.06174). "full" keeps the residual stream between layers, for a third more
products. "attention" computes queries, keys, values and what they gather again, and keeps what the ffn needs. Nothing
in a layer is random, so no state of a generator has to be kept. Wrapping happens inside of a block, so that what hooks
a block, as sharding does, stays outside of it.
"""

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from byteproxy.model.attention.branches import Branches
from byteproxy.model.attention.packed import PackedAttention, Rows, Step
from byteproxy.model.linear import Linear, Norm
from byteproxy.model.model_config import ModelConfig

Reading: TypeAlias = Rows | Step | Branches
Part: TypeAlias = "Callable[[Block, torch.Tensor, Reading], torch.Tensor]"


class Block(nn.Module):
    """Attention, then SwiGLU, each on a normed copy and added to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int, input_vocab: int) -> None:
        super().__init__()
        self.input_layernorm = Norm(config.width, config.norm_epsilon)
        self.self_attn = PackedAttention(config, layer, input_vocab)
        self.post_attention_layernorm = Norm(config.width, config.norm_epsilon)
        self.mlp = Mlp(config)

    def forward(self, x_ND: torch.Tensor, reading: Reading) -> torch.Tensor:
        """The residual stream [N, D] after this layer."""
        run = _compiled if reading.compiled else _as_it_is
        if reading.checkpointing == "full":
            return _computed_again(run(_layer), self, x_ND, reading)
        if reading.checkpointing == "attention":
            x_ND = _computed_again(run(_attended), self, x_ND, reading)
            return run(_fed)(self, x_ND, reading)
        return run(_layer)(self, x_ND, reading)


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


def _layer(block: Block, x_ND: torch.Tensor, reading: Reading) -> torch.Tensor:
    """What a block computes. All blocks share what is compiled of it, and hooks of a block stay outside of that."""
    return _fed(block, _attended(block, x_ND, reading), reading)


def _attended(block: Block, x_ND: torch.Tensor, reading: Reading) -> torch.Tensor:
    after_ND: torch.Tensor = x_ND + block.self_attn(block.input_layernorm(x_ND), reading)
    return after_ND


def _fed(block: Block, x_ND: torch.Tensor, reading: Reading) -> torch.Tensor:
    after_ND: torch.Tensor = x_ND + block.mlp(block.post_attention_layernorm(x_ND))
    return after_ND


def _computed_again(part: Part, block: Block, x_ND: torch.Tensor, reading: Reading) -> torch.Tensor:
    """What a part of a block gives, of which nothing but what it was given is kept for the backward pass."""
    after_ND: torch.Tensor = checkpoint(part, block, x_ND, reading, use_reentrant=False, preserve_rng_state=False)
    return after_ND


def _as_it_is(part: Part) -> Part:
    return part


@cache
def _compiled(part: Part) -> Part:
    """Two graphs, before attention and after it: what attends runs as it is, since its shapes differ by the step."""
    torch._dynamo.config.nested_graph_breaks = True  # or each module around that break would be graphs of its own
    compiled: Part = torch.compile(part, dynamic=False)
    return compiled
