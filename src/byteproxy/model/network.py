"""A Llama-shaped network over one line of packed positions: embedding, blocks, norm, heads, and the loss.

Tensor names carry their shape: N positions, M of a decoding step, D width, X hidden states, Q queries (a hidden state
for one byte), V symbols. Parameters are float32 and are cast to `dtype` where they are used, so that optimizers see
exact weights while matrix products run in bfloat16.

Training, scoring, the neural predictor and portable decoding run the same modules, and each module is called: hooks,
sharding, activation checkpointing and compilation of a block see every weight where it is used. `forward` gives losses.
`hidden` and `read` give hidden states, for those who score or write with them.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from byteproxy.model import attention
from byteproxy.model.attention.branches import Branches, keeping, pieces_of
from byteproxy.model.attention.layout import Kept, Layout
from byteproxy.model.attention.packed import KeyValues, Rows, Step, as_it_is, rotation
from byteproxy.model.blocks import Block
from byteproxy.model.distillation import Distilled
from byteproxy.model.embedding import (
    ByteExpansion,
    InputEmbedding,
    NgramEnds,
    NgramTables,
    ends_of_ids,
    ends_of_positions,
)
from byteproxy.model.heads import Heads, PlaceScales
from byteproxy.model.hints import HintTokens, TokenHints
from byteproxy.model.linear import Linear, Norm
from byteproxy.model.loss import Losses
from byteproxy.model.model_config import Backend, Checkpointing, ModelConfig
from byteproxy.model.targets import Queries, Targets, contexts_of
from byteproxy.vocab import FIRST_SYMBOL


class Batch(NamedTuple):
    """Packed documents that are learned from.

    symbols_N: int64. layout: where the documents lie. targets: what is predicted, see `targets.targets_of`.
    expansion: what positions stand for; None: composed inputs and bytes further on are not asked for.
    hints: what raw positions read, too; None: nothing, or in a model whose hints stay, all that it finds.
    """

    symbols_N: torch.Tensor
    layout: Layout
    targets: Targets
    expansion: ByteExpansion | None = None
    hints: TokenHints | None = None


class Transformer(nn.Module):
    """Parameter names map one to one onto `LlamaForCausalLM`; options have some of their own.

    ngrams, ngram_bias: tables of hashed n-grams that are added to inputs, and to what the softmax of bytes reads.
    byte_heads: the second byte ahead and on [R - 1, specials and bytes, D]; head_ngram_bias: what these read besides.
    symbol_heads: the second symbol ahead and on [heads - 1, V, D].
    expansion_scales: of the bytes of the next symbol, where symbols are expanded to bytes at the output.
    checkpointing: what of each layer is computed again in the backward pass (`blocks.py`).
    hints: the tokens that raw positions hint at, where these stay (`hints.py`).
    connected: whether a loss without targets has a gradient, too, of zeros: sharded layers wait for each other there.
    """

    def __init__(
        self,
        config: ModelConfig,
        input_vocab: int,
        dtype: torch.dtype = torch.float32,
        output_vocab: int | None = None,
        backend: Backend = "auto",
    ) -> None:
        """input_vocab, output_vocab: symbols that the model reads, and that it predicts (None: as many)."""
        super().__init__()
        output_vocab = input_vocab if output_vocab is None else output_vocab
        self.config, self.dtype, self.backend = config, dtype, backend
        self.compiled_for, self.connected = 0, False
        self.checkpointing: Checkpointing = "none"
        width, cap, tables = config.width, config.soft_cap, (config.ngram_rows, config.width)
        self.embed_tokens = InputEmbedding(config, input_vocab)
        self.layers = nn.ModuleList(Block(config, layer, input_vocab) for layer in range(config.layers))
        self.norm = Norm(width, config.norm_epsilon)
        self.lm_head = Heads(Linear(width, output_vocab).weight.detach(), cap)  # drawn, so that a seed gives the same
        self.ngrams = NgramTables(config.ngrams, *tables) if config.ngrams else None
        self.ngram_bias = NgramTables(config.ngrams, *tables) if config.ngram_outputs else None
        expands = config.composed and config.ngram_outputs
        self.expansion_scales = PlaceScales(width) if expands else None
        further = torch.zeros(config.byte_heads - 1, FIRST_SYMBOL, width)
        self.byte_heads = Heads(further, cap) if len(further) else None
        lengths = config.byte_head_ngrams
        self.head_ngram_bias = NgramTables(lengths, *tables) if lengths else None
        further = torch.zeros(config.symbol_heads - 1, output_vocab, width)
        self.symbol_heads = Heads(further, cap) if len(further) else None
        self.hints: HintTokens | None = None
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=width**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        nn.init.zeros_(self.lm_head.weight)
        for block in self.blocks():
            nn.init.zeros_(block.self_attn.o_proj.weight)
            nn.init.zeros_(block.mlp.down_proj.weight)

    def blocks(self) -> list[Block]:
        """The layers, typed."""
        return [block for block in self.layers if isinstance(block, Block)]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.norm.weight.device

    def further_heads(self) -> list[nn.Parameter]:
        """Parameters of the heads beyond the first, and of what only these read."""
        modules = (self.byte_heads, self.head_ngram_bias, self.symbol_heads)
        return [parameter for module in modules if module is not None for parameter in module.parameters()]

    def compile_for(self, positions: int) -> None:
        """Compile the blocks for training passes over that many positions; other passes run as they are."""
        self.compiled_for = positions

    def scale_ngrams(self, scale: float, learn: bool = True) -> None:
        """Let tables of n-grams count by so much from now on, those that only further byte heads read as before.

        learn: whether they have a gradient.
        """
        for tables in (self.ngrams, self.ngram_bias):
            if tables is not None:
                tables.scale.fill_(scale)
                tables.learns = learn

    @torch.no_grad()
    def settle_ngrams(self) -> None:
        """Make a plain model of one whose n-grams are scaled, which computes the same; at 0 it has none any more."""
        for tables in (self.ngrams, self.ngram_bias):
            if tables is not None:
                tables.weight.copy_(tables.scaled())
        if self.ngrams is not None and not self.ngrams.scale:
            self.ngrams = self.ngram_bias = self.expansion_scales = None
            self.config = replace(self.config, ngrams=(), ngram_outputs=False)
        self.scale_ngrams(1.0)

    def forward(self, batch: Batch) -> Losses:
        """What all targets of a batch cost."""
        layout = batch.layout
        after = [one.after for one in contexts_of(batch.targets)]
        if sum(map(len, after)):
            layout = replace(layout, kept=Kept(layout, np.concatenate(after), self.config.layers))
        hidden_ND = self.hidden(batch.symbols_N, layout, batch.expansion, batch.hints)
        return self.losses(hidden_ND, batch.targets, layout.positions_N, batch.expansion, layout.kept)

    def hidden(
        self,
        symbols_N: torch.Tensor,
        layout: Layout,
        expansion: ByteExpansion | None = None,
        hints: TokenHints | None = None,
    ) -> torch.Tensor:
        """Hidden states [N, D] of packed documents; no document sees another.

        expansion: what composed inputs read; without it every position is read as the special or byte that it is.
        hints: what raw positions read, too; None: nothing, or in a model whose hints stay, all that it finds.
        """
        if hints is None and self.hints is not None:
            hints = self.hints(symbols_N)
        positions_N = layout.positions_N
        ngrams = self._ngrams(symbols_N, positions_N, expansion)
        x_ND = self.inputs(symbols_N, positions_N, expansion, ngrams, hints)
        if expansion is not None and self.config.rope_positions == "bytes":
            positions_N = expansion.rope_positions(positions_N)
        backend = keeping(attention.backend(self.backend, symbols_N.device, self.dtype))
        compiled = len(symbols_N) == self.compiled_for and self.training
        rows = Rows(
            symbols_N,
            *rotation(self.config, positions_N, self.dtype),
            layout,
            as_it_is(backend) if compiled else backend,
            compiled,
            self.checkpointing if torch.is_grad_enabled() else "none",
        )
        return self._through_layers(x_ND, rows, ngrams)

    def inputs(
        self,
        symbols_N: torch.Tensor,
        positions_N: torch.Tensor,
        expansion: ByteExpansion | None,
        ngrams: list[torch.Tensor],
        hints: TokenHints | None = None,
    ) -> torch.Tensor:
        """What the first layer reads, float32 [N, D]; ngrams: rows of those that end at each position."""
        x_ND: torch.Tensor = self.embed_tokens(symbols_N, expansion, hints)
        if self.ngrams is None:
            return x_ND
        if expansion is None or self.config.inputs in ("symbols", "last"):
            return x_ND + self.ngrams(ngrams)
        of_ids = ends_of_ids(positions_N, expansion).rows(self.config.ngrams, self.config.ngram_rows)
        return x_ND + self.ngrams(of_ids, expansion.begins_N)

    def _ngrams(
        self, symbols_N: torch.Tensor, positions_N: torch.Tensor, expansion: ByteExpansion | None
    ) -> list[torch.Tensor]:
        ends = ends_of_positions(symbols_N, positions_N, expansion if self.config.composed else None)
        return ends.rows(self.config.ngrams, self.config.ngram_rows)

    def read(self, step: Step, ends: NgramEnds | None = None) -> torch.Tensor:
        """Hidden states [M, D] of the next positions of documents that are being decoded.

        ends: of these positions' n-grams, for a model that reads any.
        """
        ngrams = [] if ends is None else ends.rows(self.config.ngrams, self.config.ngram_rows)
        return self._through_layers(self.inputs(step.symbols_N, step.symbols_N, None, ngrams), step, ngrams)

    @torch.no_grad()
    def branch_states(self, kept: Kept, after_X: np.ndarray, symbols_X: np.ndarray) -> torch.Tensor:
        """Hidden states [X, D] of symbols of which each follows a position of documents that were read.

        kept: what the pass over these documents kept, in which `after_X` were among the positions that it was made for.
        """
        device = kept.positions_P.device
        place_X, read_X = (torch.from_numpy(one).to(device) for one in (kept.places(after_X)[1] + 1, symbols_X))
        turn = rotation(self.config, place_X, self.dtype)
        branches = Branches(read_X, *turn, kept, *pieces_of(kept, after_X, self.config.heads))
        return self._through_layers(self.inputs(read_X, read_X, None, []), branches, [])

    def new_states(self, documents: int, positions: int) -> list[KeyValues]:
        """Room for what each layer keeps of so many positions of documents that are decoded."""
        return [block.self_attn.new_state(documents, positions, self.dtype) for block in self.blocks()]

    def _through_layers(
        self, x_ND: torch.Tensor, reading: Rows | Step | Branches, ngrams: list[torch.Tensor]
    ) -> torch.Tensor:
        x_ND = x_ND.to(self.dtype)
        for block in self.layers:
            x_ND = block(x_ND, reading)
        hidden_ND: torch.Tensor = self.norm(x_ND)
        return hidden_ND if self.ngram_bias is None else hidden_ND + self.ngram_bias(ngrams).to(hidden_ND.dtype)

    def losses(
        self,
        hidden_ND: torch.Tensor,
        targets: Targets,
        positions_N: torch.Tensor | None = None,
        expansion: ByteExpansion | None = None,
        kept: Kept | None = None,
    ) -> Losses:
        """What targets cost that are predicted from these hidden states, of documents that `forward` describes.

        kept: what causal teachers' branches see, where the model teaches itself so.
        """
        total = hidden_ND[:0].sum().float() if self.connected else torch.zeros((), device=hidden_ND.device)
        exact = torch.device("cpu") if hidden_ND.device.type == "mps" else hidden_ND.device  # mps has no float64
        nats, counts = (torch.zeros(targets.size, dtype=torch.float64, device=exact) for _ in range(2))
        further: tuple[torch.Tensor, torch.Tensor] | None = None
        for name, head, rows, entries, share_E, cell_E, queries, detached in targets.softmaxes:
            hidden_XD = hidden_ND.detach() if detached else hidden_ND
            if kept is not None and isinstance(entries, Distilled) and entries.states is None:
                entries = entries._replace(branch_states=partial(self.branch_states, kept))
            if queries is not None:
                assert expansion is not None, "bytes further on are known by what positions are expanded to"
                assert positions_N is not None, "n-grams need to know where documents begin"
                if queries.place_Q is not None:
                    hidden_XD = torch.cat((hidden_ND, self._expanded(hidden_ND, queries, positions_N, expansion)))
                else:
                    further = self._further(hidden_ND, positions_N, expansion) if further is None else further
                    own_ND = further[0].detach() if detached else further[0]
                    hidden_XD = own_ND[queries.position_Q] + further[1][queries.before_Q]
            summed, nats_E = getattr(self, name)(hidden_XD, entries, rows, head)
            total = total + summed
            nats.view(-1).index_add_(0, cell_E.to(exact), (nats_E * share_E).to(exact).double())
            counts.view(-1).index_add_(0, cell_E.to(exact), share_E.to(exact).double())
        return Losses(total, nats, counts)

    def _expanded(
        self, hidden_ND: torch.Tensor, queries: Queries, positions_N: torch.Tensor, expansion: ByteExpansion
    ) -> torch.Tensor:
        """What the softmax of bytes reads for each byte of the next symbols, [Q, D].

        It is the hidden state as it was before the n-gram at its end was added, scaled by the byte's place in the
        symbol, and the n-gram that ends just before the byte: so a first byte is predicted as a raw position would.
        """
        assert self.ngram_bias is not None, "symbols are expanded with tables at the output"
        assert self.expansion_scales is not None, "and with composed inputs"
        rows = ends_of_ids(positions_N, expansion).rows(self.config.ngrams, self.config.ngram_rows)
        own_ND = self.ngram_bias([row_M[expansion.ends_N - 1] for row_M in rows])
        scaled_QD = self.expansion_scales((hidden_ND - own_ND)[queries.position_Q], queries.place_Q)
        before_QD = self.ngram_bias([row_M[queries.before_Q] for row_M in rows])
        return (scaled_QD + before_QD).to(hidden_ND.dtype)

    def _further(
        self, hidden_ND: torch.Tensor, positions_N: torch.Tensor, expansion: ByteExpansion
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What further byte heads with n-grams add up: [N, D], hidden states as they were before the n-gram at their
        end was added; and [M, D], what each n-gram gives to the byte after it."""
        assert self.head_ngram_bias is not None, "only of heads that read n-grams"
        config, ends = self.config, ends_of_ids(positions_N, expansion)
        if self.ngram_bias is not None:
            rows = ends.rows(config.ngrams, config.ngram_rows)
            own_ND = self.ngram_bias([row_M[expansion.ends_N - 1] for row_M in rows])
            hidden_ND = hidden_ND - own_ND.to(hidden_ND.dtype)
        bias_MD: torch.Tensor = self.head_ngram_bias(ends.rows(config.byte_head_ngrams, config.ngram_rows))
        return hidden_ND, bias_MD.to(hidden_ND.dtype)
