"""Passes over a model by torch's operations, on any device and in any type.

Tensor names carry their shape: B documents, N new positions, T positions that fit, D width, H heads, G key-value heads,
E head width, M = B x N.

Training casts and joins weights at every step, which for one new position costs more than the products. Here the three
projections of attention are one matrix, and gate and up another, made once in the type of the products. Keys are kept
once for each key-value head. Rotations are a table; the mask is made once a pass, for all layers, and not at all for
one new position in documents of the same length.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from byteproxy.model.embedding import ngram_rows
from byteproxy.model.transformer import Block, Transformer


class _Layer(NamedTuple):
    before: torch.Tensor
    qkv: torch.Tensor
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    value_table: torch.Tensor | None
    out: torch.Tensor
    between: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


class Portable:
    """What a model has read of documents, and passes over it, on any device and in any type."""

    def __init__(self, model: Transformer, documents: int, positions: int) -> None:
        """Room for `positions` in each document and layer; products are in the model's type, on its device."""
        self.config, self.dtype = model.config, model.dtype
        device = self.device = model.lm_head.weight.device
        self._layers = [_packed(block, model.dtype) for block in model.blocks()]
        self._table, self._norm = model.embed_tokens.weight, model.norm.weight.to(model.dtype)
        self._ngrams, self._output_ngrams = list(model.ngrams), list(model.output_ngrams)
        config = model.config
        shape = (config.layers, documents, config.kv_heads, positions, config.head_width)
        self._keys_LBGTE = torch.zeros(shape, dtype=model.dtype, device=device)
        self._values_LBGTE = torch.zeros(shape, dtype=model.dtype, device=device)
        self._symbols_BT = torch.zeros((documents, positions), dtype=torch.int64, device=device)
        cos, sin = model.rotation(torch.arange(positions, device=device))
        self._cos_TE, self._sin_TE = torch.cat((cos, cos), -1)[:, 0], torch.cat((-sin, sin), -1)[:, 0]
        self._place_T = torch.arange(positions, device=device)
        self.positions = positions

    def move(self, last: int, document: int, count: int) -> None:
        """Copy what is kept of a document's first positions to another."""
        self._keys_LBGTE[:, document, :, :count] = self._keys_LBGTE[:, last, :, :count]
        self._values_LBGTE[:, document, :, :count] = self._values_LBGTE[:, last, :, :count]
        self._symbols_BT[document, :count] = self._symbols_BT[last, :count]

    def read(self, first: int, filled: list[int], symbols: list[np.ndarray]) -> torch.Tensor:
        """Hidden states [M, D] of the next symbols of documents `first` and on, of which so much has been read.

        All documents read as many positions as the longest; what a shorter one reads too much is written over before
        anything sees it.
        """
        counts = [len(one) for one in symbols]
        count = max(counts)
        if max(filled) + count > self.positions and len(symbols) > 1:
            parts = (self.read(first + at, [filled[at]], [own]) for at, own in enumerate(symbols))
            return torch.cat(list(parts))
        padded_BN = np.zeros((len(symbols), count), np.int64)
        for row_N, one in zip(padded_BN, symbols, strict=True):
            row_N[: len(one)] = one
        hidden_BND = self._read(first, filled, torch.from_numpy(padded_BN).to(self.device))
        if min(counts) == count:
            return hidden_BND.flatten(0, 1)
        return torch.cat([hidden_ND[:own] for hidden_ND, own in zip(hidden_BND, counts, strict=True)])

    def _read(self, first: int, filled: list[int], new_BN: torch.Tensor) -> torch.Tensor:
        rows, count = slice(first, first + len(filled)), new_BN.shape[1]
        total = max(filled) + count
        level = min(filled) == max(filled)
        if level:
            place_BN = self._place_T[filled[0] : total].expand(len(filled), count)
            self._symbols_BT[rows, filled[0] : total] = new_BN
            where: tuple = (rows, slice(None), slice(filled[0], total))
        else:
            place_BN = torch.tensor(filled, device=self.device)[:, None] + self._place_T[:count]
            row_B1 = torch.arange(rows.start, rows.stop, device=self.device)[:, None]
            self._symbols_BT[row_B1, place_BN] = new_BN
            where = (row_B1, slice(None), place_BN)
        mask = None
        if count > 1 or not level:
            mask = self._place_T[:total] <= place_BN[:, None, :, None]
        hidden_MD = self._hidden(rows, new_BN.flatten(), place_BN, where, total, mask)
        return hidden_MD.view(*new_BN.shape, -1)

    def _hidden(
        self,
        rows: slice,
        symbols_M: torch.Tensor,
        place_BN: torch.Tensor,
        where: tuple,
        total: int,
        mask_B1NT: torch.Tensor | None,
    ) -> torch.Tensor:
        ngrams = self._ngram_rows(rows, place_BN) if self._ngrams else []
        x_MD = F.embedding(symbols_M, self._table)
        for table, row_M in zip(self._ngrams, ngrams, strict=True):
            x_MD = x_MD + F.embedding(row_M, table)
        x_MD = x_MD.to(self.dtype)
        cos_M1E, sin_M1E = self._cos_TE[place_BN].flatten(0, 1)[:, None], self._sin_TE[place_BN].flatten(0, 1)[:, None]
        for number, layer in enumerate(self._layers):
            q_MHE, k_MGE, v_MGE = self._projected(layer, x_MD, cos_M1E, sin_M1E, symbols_M)
            keys_BGTE, values_BGTE = self._keys_LBGTE[number], self._values_LBGTE[number]
            _store(keys_BGTE, where, k_MGE, place_BN.shape)
            _store(values_BGTE, where, v_MGE, place_BN.shape)
            y_MD = self._attended(q_MHE, keys_BGTE[rows, :, :total], values_BGTE[rows, :, :total], mask_B1NT)
            x_MD = x_MD + F.linear(y_MD, layer.out)
            gate_MF, up_MF = F.linear(self._normed(x_MD, layer.between), layer.gate_up).chunk(2, -1)
            x_MD = x_MD + F.linear(F.silu(gate_MF) * up_MF, layer.down)
        hidden_MD = self._normed(x_MD, self._norm)
        for table, row_M in zip(self._output_ngrams, ngrams if self._output_ngrams else [], strict=True):
            hidden_MD = hidden_MD + F.embedding(row_M, table).to(self.dtype)
        return hidden_MD

    def _projected(
        self,
        layer: _Layer,
        x_MD: torch.Tensor,
        cos_M1E: torch.Tensor,
        sin_M1E: torch.Tensor,
        symbols_M: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        heads, groups = self.config.heads, self.config.kv_heads
        qkv_MXE = F.linear(self._normed(x_MD, layer.before), layer.qkv).unflatten(1, (heads + 2 * groups, -1))
        qk_MXE, v_MGE = qkv_MXE.split((heads + groups, groups), 1)
        if layer.q_norm is not None and layer.k_norm is not None:
            q_MHE, k_MGE = qk_MXE.split((heads, groups), 1)
            qk_MXE = torch.cat((self._normed(q_MHE, layer.q_norm), self._normed(k_MGE, layer.k_norm)), 1)
        if layer.value_table is not None:
            v_MGE = v_MGE + F.embedding(symbols_M, layer.value_table).to(v_MGE.dtype).view_as(v_MGE)
        swapped_MXE = qk_MXE.roll(self.config.head_width // 2, -1)
        qk_MXE = torch.addcmul(qk_MXE * cos_M1E, swapped_MXE, sin_M1E)
        q_MHE, k_MGE = qk_MXE.split((heads, groups), 1)
        return q_MHE, k_MGE, v_MGE

    def _attended(
        self, q_MHE: torch.Tensor, k_BGTE: torch.Tensor, v_BGTE: torch.Tensor, mask_B1NT: torch.Tensor | None
    ) -> torch.Tensor:
        """[M, D]. Query heads that share keys become further queries of one head."""
        documents, groups = k_BGTE.shape[:2]
        shared = self.config.heads // groups
        q_BGSNE = q_MHE.view(documents, -1, groups, shared, self.config.head_width).permute(0, 2, 3, 1, 4)
        count = q_BGSNE.shape[3]
        if mask_B1NT is not None and shared > 1:
            mask_B1NT = mask_B1NT.repeat(1, 1, shared, 1)
        y_BGXE = F.scaled_dot_product_attention(q_BGSNE.flatten(2, 3), k_BGTE, v_BGTE, attn_mask=mask_B1NT)
        return y_BGXE.unflatten(2, (shared, count)).permute(0, 3, 1, 2, 4).flatten(2).flatten(0, 1)

    def _normed(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, x.shape[-1:], weight, self.config.norm_epsilon)

    def _ngram_rows(self, rows: slice, place_BN: torch.Tensor) -> list[torch.Tensor]:
        """The rows of the n-grams that end at each position, int64 [M] for each length."""
        begin_B1 = torch.arange(rows.start, rows.stop, device=self.device)[:, None] * self.positions
        known, at_M, place_M = self._symbols_BT.flatten(), (begin_B1 + place_BN).flatten(), place_BN.flatten()
        return [ngram_rows(known, at_M, place_M, length, self.config.ngram_rows) for length in self.config.ngrams]


def _packed(block: Block, dtype: torch.dtype) -> _Layer:
    attention, mlp = block.self_attn, block.mlp
    qkv = torch.cat((attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight))
    return _Layer(
        block.input_layernorm.weight.to(dtype),
        qkv.to(dtype),
        None if attention.q_norm is None else attention.q_norm.weight.to(dtype),
        None if attention.k_norm is None else attention.k_norm.weight.to(dtype),
        attention.value_table,
        attention.o_proj.weight.to(dtype),
        block.post_attention_layernorm.weight.to(dtype),
        torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight)).to(dtype),
        mlp.down_proj.weight.to(dtype),
    )


def _store(into_BGTE: torch.Tensor, where: tuple, x_MGE: torch.Tensor, shape: torch.Size) -> None:
    x_BNGE = x_MGE.unflatten(0, tuple(shape))
    into_BGTE[where] = x_BNGE.transpose(1, 2) if isinstance(where[0], slice) else x_BNGE
