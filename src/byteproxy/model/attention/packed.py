"""Causal attention inside documents, as Llama has it: everything of this kind of attention is in this file.

N positions in training, M when decoding (those of B documents), T positions that are kept of one, D width, H heads, G
key-value heads, S = H / G query heads that share keys, E head width. RoPE turns halves of a head against each other,
as Hugging Face's Llama does.

A kind of attention is a module that owns its projections and is called with what the layer reads and with how that is
to be read: `Rows`, packed documents (training, scoring), or a `Step` of decoding, whose keys and values it keeps in a
`KeyValues` of its own making, and takes back. It also says what it costs. Another kind is another file like this one.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from byteproxy.model.attention import Attend
from byteproxy.model.attention.branches import Branches
from byteproxy.model.attention.layout import Layout
from byteproxy.model.linear import Linear, Norm
from byteproxy.model.model_config import Checkpointing, ModelConfig


class PackedAttention(nn.Module):
    """Every position attends to its own document up to itself."""

    def __init__(self, config: ModelConfig, layer: int, input_vocab: int) -> None:
        """layer: its number, from 0. input_vocab: symbols that values may add a row of."""
        super().__init__()
        self.layer, self.heads, self.kv_heads, self.head_width = layer, config.heads, config.kv_heads, config.head_width
        q_width, kv_width = config.heads * config.head_width, config.kv_heads * config.head_width
        biases = config.attention_biases
        self.q_proj = Linear(config.width, q_width, biases != "none")
        self.k_proj = Linear(config.width, kv_width, biases != "none")
        self.v_proj = Linear(config.width, kv_width, biases != "none")
        self.o_proj = Linear(q_width, config.width, biases == "all")
        self.q_norm = Norm(config.head_width, config.norm_epsilon) if config.qk_norm else None
        self.k_norm = Norm(config.head_width, config.norm_epsilon) if config.qk_norm else None
        self.value_table = nn.Parameter(torch.zeros(input_vocab, kv_width)) if config.value_embeddings else None

    def forward(self, x_ND: torch.Tensor, reading: "Rows | Step | Branches") -> torch.Tensor:
        """What each position gathers, [N, D]."""
        q_NHE = self.q_proj(x_ND).unflatten(1, (self.heads, self.head_width))
        k_NGE, v_NGE = (one(x_ND).unflatten(1, (self.kv_heads, self.head_width)) for one in (self.k_proj, self.v_proj))
        if self.q_norm is not None and self.k_norm is not None:
            q_NHE, k_NGE = self.q_norm(q_NHE), self.k_norm(k_NGE)
        if self.value_table is not None:
            v_NGE = v_NGE + F.embedding(reading.symbols_N, self.value_table).to(v_NGE.dtype).view_as(v_NGE)
        q_NHE, k_NGE = (_rotated(one, reading.cos_N1E, reading.sin_N1E) for one in (q_NHE, k_NGE))
        gathered_NHE = reading.attend(self, q_NHE, k_NGE, v_NGE)
        y_ND: torch.Tensor = self.o_proj(gathered_NHE.flatten(1))
        return y_ND

    def new_state(self, documents: int, positions: int, dtype: torch.dtype) -> "KeyValues":
        """Room for what this layer keeps of so many positions of each document, those of a head side by side."""
        shape, device = (documents, self.kv_heads, positions, self.head_width), self.k_proj.weight.device
        return KeyValues(*(torch.zeros(shape, dtype=dtype, device=device).transpose(1, 2) for _ in range(2)))

    @staticmethod
    def flops(config: ModelConfig, lengths: np.ndarray) -> int:
        """FLOPs of one layer's forward pass over documents of these lengths: projections and products of heads."""
        projections = 2 * config.width * (config.heads + config.kv_heads) * config.head_width
        keys = int((lengths * (lengths + 1) // 2).sum())  # each position sees its document up to itself
        return 2 * int(lengths.sum()) * projections + 4 * config.heads * config.head_width * keys


def rotation(config: ModelConfig, positions_N: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of every position's angles, each [N, 1, E/2], computed in float32."""
    angle_N1E = (positions_N[:, None] * frequencies(config, positions_N.device))[:, None]
    return angle_N1E.cos().to(dtype), angle_N1E.sin().to(dtype)


def frequencies(config: ModelConfig, device: torch.device | str = "cpu") -> torch.Tensor:
    """Radians by which a position turns each pair of a head, float32 [E/2], the fastest first."""
    width, scaling = config.head_width, config.rope_scaling
    frequency_E = config.rope_theta ** (-torch.arange(0, width, 2, device=device) / width)
    if scaling.kind == "none":
        return frequency_E
    if scaling.kind == "linear":
        return frequency_E / scaling.factor
    turns_E = scaling.original_positions * frequency_E / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept_E = ((turns_E - low) / (high - low)).clamp(0, 1)
    return frequency_E * (kept_E + (1 - kept_E) / scaling.factor)


class Rows(NamedTuple):
    """Packed rows, made ready once for all layers.

    compiled: whether layers run as compiled functions, from which the backend is kept out (`as_it_is`).
    checkpointing: what of each layer is computed again in the backward pass.
    """

    symbols_N: torch.Tensor
    cos_N1E: torch.Tensor
    sin_N1E: torch.Tensor
    layout: Layout
    backend: Attend
    compiled: bool
    checkpointing: Checkpointing = "none"

    def attend(
        self, attention: PackedAttention, q_NHE: torch.Tensor, k_NGE: torch.Tensor, v_NGE: torch.Tensor
    ) -> torch.Tensor:
        """[N, H, E]."""
        return self.backend(q_NHE, k_NGE, v_NGE, self.layout)


@cache
def as_it_is(backend: Attend) -> Attend:
    """A backend that compiled layers call without compiling it, as its shapes differ by the step."""
    apart: Attend = torch.compiler.disable(backend)
    return apart


class KeyValues(NamedTuple):
    """What a layer keeps of documents: [B, T, G, E] each.

    Taking back costs nothing: what stands behind a document's last position is written over before anything sees it.
    """

    keys_BTGE: torch.Tensor
    values_BTGE: torch.Tensor

    def move(self, last: int, document: int, count: int) -> None:
        """Copy a document's first positions to another."""
        for kept in self:
            kept[document, :count] = kept[last, :count]

    def take_back(self, document: int, count: int) -> None:
        """Forget all but a document's first positions."""

    def grown(self, rows_K: torch.Tensor, more: int) -> "KeyValues":
        """Documents `rows_K` of these, and room for `more` behind them."""
        return KeyValues(*(torch.cat((kept[rows_K], kept.new_empty(more, *kept.shape[1:]))) for kept in self))


class Step(NamedTuple):
    """The next N positions of B documents, made ready once for all layers; M = B x N.

    write, read: where in [B, T, G, E] these positions are kept, and all that the documents attend to.
    mask_B1NT: what each new position may see of that; None: all of it.
    """

    symbols_N: torch.Tensor
    cos_N1E: torch.Tensor
    sin_N1E: torch.Tensor
    states: list[KeyValues]
    shape: tuple[int, int]
    write: tuple[slice | torch.Tensor, ...]
    read: tuple[slice | torch.Tensor | int, ...]
    mask_B1NT: torch.Tensor | None
    compiled: bool = False
    checkpointing: Checkpointing = "none"

    def attend(
        self, attention: PackedAttention, q_MHE: torch.Tensor, k_MGE: torch.Tensor, v_MGE: torch.Tensor
    ) -> torch.Tensor:
        """[M, H, E]. Keys and values are kept first. Query heads that share keys become further queries of one head."""
        state = self.states[attention.layer]
        state.keys_BTGE[self.write] = k_MGE.unflatten(0, self.shape)
        state.values_BTGE[self.write] = v_MGE.unflatten(0, self.shape)
        k_BGTE, v_BGTE = (kept[self.read].transpose(1, 2) for kept in state)
        shared, mask_B1XT = attention.heads // attention.kv_heads, self.mask_B1NT
        q_BNGSE = q_MHE.unflatten(0, self.shape).unflatten(2, (attention.kv_heads, shared))
        q_BGXE = q_BNGSE.permute(0, 2, 3, 1, 4).flatten(2, 3)
        if mask_B1XT is not None and shared > 1:
            mask_B1XT = mask_B1XT.repeat(1, 1, shared, 1)
        y_BGXE = F.scaled_dot_product_attention(q_BGXE, k_BGTE, v_BGTE, attn_mask=mask_B1XT)
        y_BNGSE = y_BGXE.unflatten(2, (shared, self.shape[1])).permute(0, 3, 1, 2, 4)
        return y_BNGSE.flatten(2, 3).flatten(0, 1)


def _rotated(x_NHE: torch.Tensor, cos_N1E: torch.Tensor, sin_N1E: torch.Tensor) -> torch.Tensor:
    left, right = x_NHE.chunk(2, -1)
    return torch.cat((left * cos_N1E - right * sin_N1E, right * cos_N1E + left * sin_N1E), -1)
