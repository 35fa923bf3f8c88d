"""A Llama-shaped transformer over one line of packed positions.

Tensor names carry their shape: N positions, D width, H heads, G key-value heads, E head width, F ffn width, V symbols.
Parameters are float32 and are cast to `dtype` where they are used, so that optimizers see exact weights while matrix
products run in bfloat16. Attention is an argument: training passes a packed layout, generation a key-value cache.
RoPE turns halves of a head against each other, as Hugging Face's Llama does.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from byteproxy.model.attention import documents
from byteproxy.model.attention.layout import Layout
from byteproxy.model.config import ModelConfig

Attend = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(layer, q_NHE, k_NHE, v_NHE) -> [N, H, E]"""


class Transformer(nn.Module):
    """Symbols in, hidden states out; `lm_head.weight` [V, D] turns these into logits (see `loss`)."""

    def __init__(self, config: ModelConfig, vocab_size: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.dtype = dtype
        self.embed_tokens = nn.Embedding(vocab_size, config.width)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = Norm(config)
        self.lm_head = nn.Linear(config.width, vocab_size, bias=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=config.width**-0.5)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        nn.init.zeros_(self.lm_head.weight)
        for block in self.blocks():
            nn.init.zeros_(block.self_attn.o_proj.weight)
            nn.init.zeros_(block.mlp.down_proj.weight)

    def blocks(self) -> list["Block"]:
        """The layers, typed."""
        return [block for block in self.layers if isinstance(block, Block)]

    def forward(self, symbols_N: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Hidden states [N, D] of packed documents; no document sees another."""
        return self.hidden(symbols_N, layout.positions_N, lambda _, q, k, v: documents.attend(q, k, v, layout))

    def hidden(self, symbols_N: torch.Tensor, positions_N: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Hidden states [N, D] of symbols at these places in their documents, with any way to attend."""
        rotation = self.rotation(positions_N)
        x_ND = self.embed_tokens(symbols_N).to(self.dtype)
        for block in self.blocks():
            x_ND = block(x_ND, rotation, attend)
        return self.norm(x_ND)

    def rotation(self, positions_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine of every position's angles, each [N, 1, E/2], computed in float32."""
        width = self.config.head_width
        frequency_E = self.config.rope_theta ** (-torch.arange(0, width, 2, device=positions_N.device) / width)
        angle_N1E = (positions_N[:, None] * frequency_E)[:, None]
        return angle_N1E.cos().to(self.dtype), angle_N1E.sin().to(self.dtype)


class Block(nn.Module):
    """Attention, then SwiGLU, each on a normed copy and added to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.input_layernorm = Norm(config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = Norm(config)
        self.mlp = Mlp(config)

    def forward(self, x_ND: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor], attend: Attend) -> torch.Tensor:
        """The residual stream after this layer."""
        x_ND = x_ND + self.self_attn(self.input_layernorm(x_ND), rotation, attend, self.layer)
        return x_ND + self.mlp(self.post_attention_layernorm(x_ND))


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.epsilon = config.norm_epsilon
        self.weight = nn.Parameter(torch.ones(config.width))

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        """Each row scaled to mean square 1, times the weight."""
        return F.rms_norm(x_ND, x_ND.shape[-1:], self.weight.to(x_ND.dtype), self.epsilon)


class Attention(nn.Module):
    """Projections around whatever attends."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        kv_width = config.kv_heads * config.head_width
        self.q_proj = nn.Linear(config.width, config.width, bias=False)
        self.k_proj = nn.Linear(config.width, kv_width, bias=False)
        self.v_proj = nn.Linear(config.width, kv_width, bias=False)
        self.o_proj = nn.Linear(config.width, config.width, bias=False)

    def forward(
        self, x_ND: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor], attend: Attend, layer: int
    ) -> torch.Tensor:
        """What each position gathers from those it attends to: [N, D]."""
        weight = torch.cat((self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)).to(x_ND.dtype)
        heads = (self.heads, self.kv_heads, self.kv_heads)
        qkv_NHE = F.linear(x_ND, weight).unflatten(1, (sum(heads), -1))
        qk_NHE, v_NGE = qkv_NHE.split((self.heads + self.kv_heads, self.kv_heads), 1)
        q_NHE, k_NGE = _rotated(qk_NHE, rotation).split((self.heads, self.kv_heads), 1)
        if self.kv_heads != self.heads:
            k_NGE, v_NGE = (x.repeat_interleave(self.heads // self.kv_heads, 1) for x in (k_NGE, v_NGE))
        y_NHE = attend(layer, q_NHE, k_NGE, v_NGE)
        return F.linear(y_NHE.flatten(1), self.o_proj.weight.to(x_ND.dtype))


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.ffn, bias=False)
        self.up_proj = nn.Linear(config.width, config.ffn, bias=False)
        self.down_proj = nn.Linear(config.ffn, config.width, bias=False)

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        """The layer's output, [N, D]."""
        gate_NF = F.linear(x_ND, self.gate_proj.weight.to(x_ND.dtype))
        up_NF = F.linear(x_ND, self.up_proj.weight.to(x_ND.dtype))
        return F.linear(F.silu(gate_NF) * up_NF, self.down_proj.weight.to(x_ND.dtype))


def _rotated(x_NHE: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    cos, sin = rotation
    left, right = x_NHE.chunk(2, -1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), -1)
