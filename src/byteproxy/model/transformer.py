"""A Llama-shaped transformer over one line of packed positions.

Tensor names carry their shape: N positions, D width, H heads, G key-value heads, E head width, F ffn width, V symbols,
R byte heads. Parameters are float32 and are cast to `dtype` where they are used, so that optimizers see exact weights
while matrix products run in bfloat16. Attention is an argument: training passes a packed layout, generation a key-value
cache. RoPE turns halves of a head against each other, as Hugging Face's Llama does. What stands between two attentions
is one function each of a block, `read` and `write`, and these are what gets compiled: once for all layers.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from byteproxy.model import attention
from byteproxy.model.attention.layout import Layout
from byteproxy.model.config import LONGEST_PLACE, ModelConfig
from byteproxy.model.embedding import Spelling, composed, ngram_rows
from byteproxy.vocab import FIRST_SYMBOL

Attend = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(layer, q_NHE, k_NHE, v_NHE) -> [N, H, E]"""


class Transformer(nn.Module):
    """Symbols in, hidden states out; `lm_head.weight` [V, D] turns these into logits (see `loss`).

    byte_heads: [R - 1, specials and bytes, D], of the second byte ahead and on. symbol_heads: [heads - 1, V, D].
    byte_head_ngrams: [lengths, rows, D], what the byte heads read beside the hidden state, see `targets.chained`.
    """

    def __init__(
        self,
        config: ModelConfig,
        rows: int,
        dtype: torch.dtype = torch.float32,
        output_rows: int | None = None,
        backend: attention.Backend = "auto",
    ) -> None:
        """rows, output_rows: symbols that the model reads, and that it predicts (None: as many)."""
        super().__init__()
        output_rows = rows if output_rows is None else output_rows
        self.config, self.dtype, self.backend = config, dtype, backend
        self.compiled_for = 0
        self._read, self._write = Block.read, Block.write
        width = config.width
        self.embed_tokens = nn.Embedding(rows, width)
        self.layers = nn.ModuleList(Block(config, layer, rows) for layer in range(config.layers))
        self.norm = Norm(width, config.norm_epsilon)
        self.lm_head = nn.Linear(width, output_rows, bias=False)
        self.place_scales = nn.Parameter(torch.ones(LONGEST_PLACE - 1, width)) if config.inputs == "positions" else None
        self.hashed = nn.Parameter(torch.zeros(config.hashed_rows, width)) if config.hashed_rows else None
        self.ngrams = nn.ParameterList(torch.zeros(config.ngram_rows, width) for _ in config.ngrams)
        outputs = config.ngrams if config.ngram_outputs else ()
        self.output_ngrams = nn.ParameterList(torch.zeros(config.ngram_rows, width) for _ in outputs)
        spells = config.composed and config.ngram_outputs
        self.spell_scales = nn.Parameter(torch.ones(LONGEST_PLACE, width)) if spells else None
        self.byte_heads = _heads(config.byte_heads, FIRST_SYMBOL, width)
        lengths = len(config.byte_head_ngrams)
        self.byte_head_ngrams = nn.Parameter(torch.zeros(lengths, config.ngram_rows, width)) if lengths else None
        self.symbol_heads = _heads(config.symbol_heads, output_rows, width)
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=width**-0.5)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        nn.init.zeros_(self.lm_head.weight)
        for block in self.blocks():
            nn.init.zeros_(block.self_attn.o_proj.weight)
            nn.init.zeros_(block.mlp.down_proj.weight)

    def blocks(self) -> list["Block"]:
        """The layers, typed."""
        return [block for block in self.layers if isinstance(block, Block)]

    def compile_for(self, positions: int) -> None:
        """Compile what stands between attentions for passes over that many positions; others run as they are."""
        self.compiled_for = positions
        self._read = torch.compile(Block.read, dynamic=False)
        self._write = torch.compile(Block.write, dynamic=False)

    def forward(self, symbols_N: torch.Tensor, layout: Layout, spelling: Spelling | None = None) -> torch.Tensor:
        """Hidden states [N, D] of packed documents; no document sees another."""
        attend = attention.backend(self.backend, symbols_N.device, self.dtype)
        return self.hidden(symbols_N, layout.positions_N, lambda _, q, k, v: attend(q, k, v, layout), spelling)

    def hidden(
        self,
        symbols_N: torch.Tensor,
        positions_N: torch.Tensor,
        attend: Attend,
        spelling: Spelling | None = None,
        before: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Hidden states [N, D] of symbols at these places in their documents, with any way to attend.

        spelling: what composed inputs read; without it every position is read as the special or byte that it is.
        before: the symbols that stand before the first one in its document, as many as the longest n-gram needs.
        """
        for x_ND in self.states(symbols_N, positions_N, attend, spelling, before):
            last_ND = x_ND  # one at a time: without gradients no layer's need stay
        hidden_ND: torch.Tensor = self.norm(last_ND)
        if not self.output_ngrams:
            return hidden_ND
        rows = self.last_ngrams(symbols_N, positions_N, spelling, before)
        return hidden_ND + self.told(rows).to(hidden_ND.dtype)

    def states(
        self,
        symbols_N: torch.Tensor,
        positions_N: torch.Tensor,
        attend: Attend,
        spelling: Spelling | None = None,
        before: torch.Tensor | None = None,
    ) -> Iterator[torch.Tensor]:
        """The residual stream [N, D] that the first layer reads, then that after each layer; arguments: as `hidden`."""
        x_ND = self.inputs(symbols_N, positions_N, spelling, before).to(self.dtype)
        yield x_ND
        in_bytes = spelling is not None and self.config.places == "bytes"
        rotation = self.rotation(spelling.places(positions_N) if spelling is not None and in_bytes else positions_N)
        compiled = len(symbols_N) == self.compiled_for and self.training
        read, write = (self._read, self._write) if compiled else (Block.read, Block.write)
        for block in self.blocks():
            q_NHE, k_NHE, v_NHE = read(block, x_ND, *rotation, symbols_N)
            x_ND = write(block, x_ND, attend(block.layer, q_NHE, k_NHE, v_NHE))
            yield x_ND

    def inputs(
        self, symbols_N: torch.Tensor, positions_N: torch.Tensor, spelling: Spelling | None, before: torch.Tensor | None
    ) -> torch.Tensor:
        """What the first layer reads, float32 [N, D]; of composed positions a mean over their ids, or the last one."""
        weight = self.embed_tokens.weight
        if spelling is None or self.config.inputs in ("symbols", "last"):
            ids_N = symbols_N
            if spelling is not None and self.config.composed:
                ids_N = spelling.ids_M[spelling.ends_N - 1]
            x_ND = F.embedding(ids_N, weight)
            rows = self.last_ngrams(symbols_N, positions_N, spelling, before) if self.ngrams else []
            for table, row_N in zip(self.ngrams, rows, strict=True):
                x_ND = x_ND + F.embedding(row_N, table)
            return x_ND
        x_ND = composed(weight, spelling, self.place_scales, self.hashed)
        for table, row_M in zip(self.ngrams, self.all_ngrams(self.config.ngrams, positions_N, spelling), strict=True):
            x_ND = x_ND + F.embedding_bag(row_M, table, spelling.begins_N, mode="mean")
        return x_ND

    def last_ngrams(
        self, symbols_N: torch.Tensor, positions_N: torch.Tensor, spelling: Spelling | None, before: torch.Tensor | None
    ) -> list[torch.Tensor]:
        """The rows of the n-grams that end where each position does, int64 [N] for each length."""
        if spelling is not None and self.config.composed:
            known, at_N, place_N = spelling.ids_M, spelling.ends_N - 1, spelling.places(positions_N)
        else:
            known = symbols_N if before is None else torch.cat((before, symbols_N))
            at_N = torch.arange(len(known) - len(symbols_N), len(known), device=known.device)
            place_N = positions_N
        return [ngram_rows(known, at_N, place_N, length, self.config.ngram_rows) for length in self.config.ngrams]

    def all_ngrams(self, lengths: Sequence[int], positions_N: torch.Tensor, spelling: Spelling) -> list[torch.Tensor]:
        """The rows of the n-grams that end at each id of spelled positions, int64 [M] for each length."""
        begins_N = spelling.begins_N
        place_N = torch.arange(len(begins_N), device=begins_N.device)
        first_M = torch.repeat_interleave(begins_N[place_N - positions_N], spelling.ends_N - begins_N)
        at_M = torch.arange(len(spelling.ids_M), device=begins_N.device)
        rows = self.config.ngram_rows
        return [ngram_rows(spelling.ids_M, at_M, at_M - first_M, length, rows) for length in lengths]

    def told(self, rows: list[torch.Tensor]) -> torch.Tensor:
        """What n-grams of these rows add to what the softmax reads, float32 [len(row), D]."""
        parts = [F.embedding(row, table) for row, table in zip(rows, self.output_ngrams, strict=True)]
        return torch.stack(parts).sum(0)

    def told_heads(self, rows: list[torch.Tensor]) -> torch.Tensor:
        """What n-grams of these rows add to what a further byte head reads, float32 [len(row), D]."""
        assert self.byte_head_ngrams is not None, "only of a model that has such tables"
        row_MK = torch.stack([row + number * self.config.ngram_rows for number, row in enumerate(rows)], -1)
        return F.embedding_bag(row_MK, self.byte_head_ngrams.flatten(0, 1), mode="sum")

    def rotation(self, positions_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine of every position's angles, each [N, 1, E/2], computed in float32."""
        width = self.config.head_width
        frequency_E = self.config.rope_theta ** (-torch.arange(0, width, 2, device=positions_N.device) / width)
        angle_N1E = (positions_N[:, None] * frequency_E)[:, None]
        return angle_N1E.cos().to(self.dtype), angle_N1E.sin().to(self.dtype)


def _heads(count: int, rows: int, width: int) -> nn.Parameter | None:
    return nn.Parameter(torch.zeros(count - 1, rows, width)) if count > 1 else None


class Block(nn.Module):
    """Attention, then SwiGLU, each on a normed copy and added to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int, rows: int) -> None:
        super().__init__()
        self.layer = layer
        self.input_layernorm = Norm(config.width, config.norm_epsilon)
        self.self_attn = Attention(config, rows)
        self.post_attention_layernorm = Norm(config.width, config.norm_epsilon)
        self.mlp = Mlp(config)

    def read(
        self, x_ND: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, symbols_N: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values, each [N, H, E]."""
        return self.self_attn.read(self.input_layernorm(x_ND), cos, sin, symbols_N)

    def write(self, x_ND: torch.Tensor, y_NHE: torch.Tensor) -> torch.Tensor:
        """The residual stream after this layer, from what attention gathered."""
        x_ND = x_ND + F.linear(y_NHE.flatten(1), self.self_attn.o_proj.weight.to(x_ND.dtype))
        return x_ND + self.mlp(self.post_attention_layernorm(x_ND))


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        """Each row scaled to mean square 1, times the weight."""
        return F.rms_norm(x_ND, x_ND.shape[-1:], self.weight.to(x_ND.dtype), self.epsilon)


class Attention(nn.Module):
    """Projections around whatever attends."""

    def __init__(self, config: ModelConfig, rows: int) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        kv_width = config.kv_heads * config.head_width
        self.q_proj = nn.Linear(config.width, config.width, bias=False)
        self.k_proj = nn.Linear(config.width, kv_width, bias=False)
        self.v_proj = nn.Linear(config.width, kv_width, bias=False)
        self.o_proj = nn.Linear(config.width, config.width, bias=False)
        self.q_norm = Norm(config.head_width, config.norm_epsilon) if config.qk_norm else None
        self.k_norm = Norm(config.head_width, config.norm_epsilon) if config.qk_norm else None
        self.value_table = nn.Parameter(torch.zeros(rows, kv_width)) if config.value_embeddings else None

    def read(
        self, x_ND: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, symbols_N: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values, each [N, H, E]; key-value heads are repeated for those that share them."""
        weight = torch.cat((self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)).to(x_ND.dtype)
        heads = self.heads, self.kv_heads, self.kv_heads
        q_NHE, k_NGE, v_NGE = F.linear(x_ND, weight).unflatten(1, (sum(heads), -1)).split(heads, 1)
        if self.q_norm is not None and self.k_norm is not None:
            q_NHE, k_NGE = self.q_norm(q_NHE), self.k_norm(k_NGE)
        if self.value_table is not None:
            v_NGE = v_NGE + F.embedding(symbols_N, self.value_table).to(v_NGE.dtype).view_as(v_NGE)
        q_NHE, k_NGE = _rotated(q_NHE, cos, sin), _rotated(k_NGE, cos, sin)
        if self.kv_heads != self.heads:
            k_NGE, v_NGE = (x.repeat_interleave(self.heads // self.kv_heads, 1) for x in (k_NGE, v_NGE))
        return q_NHE, k_NGE, v_NGE


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.ffn, bias=False)
        self.up_proj = nn.Linear(config.width, config.ffn, bias=False)
        self.down_proj = nn.Linear(config.ffn, config.width, bias=False)

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        """The layer's output, [N, D]."""
        weight = torch.cat((self.gate_proj.weight, self.up_proj.weight)).to(x_ND.dtype)
        gate_NF, up_NF = F.linear(x_ND, weight).chunk(2, -1)
        return F.linear(F.silu(gate_NF) * up_NF, self.down_proj.weight.to(x_ND.dtype))


def _rotated(x_NHE: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    left, right = x_NHE.chunk(2, -1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), -1)
