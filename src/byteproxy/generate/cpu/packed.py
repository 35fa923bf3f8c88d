"""Passes over a model on a CPU: its weights in the order in which `compiled` reads them, and what it keeps.

L layers, D width, E head width, T positions that fit. The memory is that of the weights, once more; tables of symbols
and n-grams are not copied. Types: a float64 model is computed in float64, all others in float32; a bfloat16 model's
matrices stay bfloat16, which halves what a pass reads.
"""

from collections.abc import Iterable

import numpy as np
import torch

from byteproxy.generate.cpu import team
from byteproxy.generate.cpu.compiled import Cache, Layers, add_ngrams, ngram_rows, room, run
from byteproxy.generate.cpu.product import WIDTH, packed
from byteproxy.model.attention.packed import PackedAttention, rotation
from byteproxy.model.embedding import NgramTables
from byteproxy.model.linear import Linear
from byteproxy.model.network import Transformer

_SHARE = 1 << 19  # bytes of a layer's weights for each thread at least


class Packed:
    """What a model has read of documents, and passes over it, on a CPU."""

    def __init__(self, model: Transformer, documents: int, positions: int) -> None:
        """Room for `positions` in each document and layer."""
        config = self.config = model.config
        self._type = np.float64 if model.dtype == torch.float64 else np.float32
        self._layers = self._of(model, positions)
        self._layer_bytes = sum(matrix[0].nbytes for matrix in self._layers if matrix.ndim == 4)
        self._table = model.embed_tokens.weight.detach().numpy()
        self._ngrams = _tables(model.ngrams)
        self._output_ngrams = _tables(model.ngram_bias)
        self._lengths = np.array(config.ngrams, np.int64)
        heads = (config.layers, documents, config.kv_heads)
        self._cache = Cache(
            np.zeros((*heads, -(-positions // WIDTH), config.head_width, WIDTH), self._type),
            np.zeros((*heads, -(-config.head_width // WIDTH), positions, WIDTH), self._type),
        )
        self._symbols_BT = np.zeros((documents, positions), np.int64)
        self.positions = positions

    def move(self, last: int, document: int, count: int) -> None:
        """Copy what is kept of a document's first positions to another."""
        panels = -(-count // WIDTH)
        keys, values = self._cache
        keys[:, document, :, :panels] = keys[:, last, :, :panels]
        values[:, document, :, :, :count] = values[:, last, :, :, :count]
        self._symbols_BT[document, :count] = self._symbols_BT[last, :count]

    def take_back(self, document: int, count: int) -> None:
        """Forget all but a document's first positions: what is behind them is written over before anything sees it."""

    def read(self, first: int, filled: list[int], symbols: list[np.ndarray]) -> torch.Tensor:
        """Hidden states [M, D] of the next symbols of documents `first` and on, of which so much has been read."""
        counts = [len(one) for one in symbols]
        begin_B = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=begin_B[1:])
        symbols_M = symbols[0] if len(symbols) == 1 else np.concatenate(symbols)
        document_M = np.repeat(np.arange(first, first + len(counts)), counts)
        place_M = np.arange(len(symbols_M)) + np.repeat(np.array(filled) - begin_B[:-1], counts)
        x_MD = self._table[symbols_M].astype(self._type, copy=False)
        if self._ngrams:
            self._symbols_BT[document_M, place_M] = symbols_M
            row_KM = ngram_rows(self._symbols_BT, document_M, place_M, self._lengths, self.config.ngram_rows)
            add_ngrams(x_MD, self._ngrams, row_KM)
        heads, epsilon = self.config.heads, self.config.norm_epsilon
        shared = room(self._layers, self._cache, len(x_MD), len(counts), max(counts), heads)
        arguments = (self._layers, self._cache, shared, x_MD, symbols_M, first, place_M, begin_B, heads, epsilon)
        hidden_MD = team.run_parallel(run, arguments, self._threads())
        if self._output_ngrams:
            add_ngrams(hidden_MD, self._output_ngrams, row_KM)
        return torch.from_numpy(hidden_MD)

    def _threads(self) -> int:
        """Threads of a pass: torch's number, or fewer where a thread's share of a layer would be too small."""
        return max(1, min(torch.get_num_threads(), self._layer_bytes // _SHARE))

    def _of(self, model: Transformer, positions: int) -> Layers:
        blocks, dtype = model.blocks(), model.dtype
        attentions, mlps = [block.self_attn for block in blocks], [block.mlp for block in blocks]

        def panels(matrices: Iterable[tuple[torch.Tensor, ...]]) -> np.ndarray:
            return np.stack([packed(torch.cat(matrix).to(dtype)) for matrix in matrices])

        def plain(vectors: Iterable[torch.Tensor]) -> np.ndarray:
            return np.stack([vector.detach().numpy() for vector in vectors]).astype(self._type)

        cos, sin = rotation(model.config, torch.arange(positions), model.dtype)
        return Layers(
            plain(block.input_layernorm.weight for block in blocks),
            panels((one.q_proj.weight, one.k_proj.weight, one.v_proj.weight) for one in attentions),
            plain(_bias(one.q_proj, one.k_proj, one.v_proj) for one in attentions),
            plain(_norm(one, "q_norm") for one in attentions),
            plain(_norm(one, "k_norm") for one in attentions),
            plain(torch.empty(0, 0) if one.value_table is None else one.value_table for one in attentions),
            panels((one.o_proj.weight,) for one in attentions),
            plain(_bias(one.o_proj) for one in attentions),
            plain(block.post_attention_layernorm.weight for block in blocks),
            panels((one.gate_proj.weight, one.up_proj.weight) for one in mlps),
            panels((one.down_proj.weight,) for one in mlps),
            plain([model.norm.weight])[0],
            cos[:, 0].to(torch.float64).numpy().astype(self._type),
            sin[:, 0].to(torch.float64).numpy().astype(self._type),
        )


def _tables(ngrams: NgramTables | None) -> tuple[np.ndarray, ...]:
    return () if ngrams is None else tuple(ngrams.scaled().numpy())


def _bias(*matrices: Linear) -> torch.Tensor:
    """Their biases side by side; of none where they have none."""
    return torch.cat([torch.empty(0) if one.bias is None else one.bias for one in matrices])


def _norm(attention: PackedAttention, name: str) -> torch.Tensor:
    norm = getattr(attention, name)
    return torch.empty(0) if norm is None else norm.weight
