"""The shape of a model: what decides its parameters."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from byteproxy.errors import InputError
from byteproxy.ranges import ensure_in_range, ranged
from byteproxy.vocab import FIRST_SYMBOL

Backend = Literal["auto", "documents", "sdpa", "varlen", "flex", "dense"]
"""Of attention (`model.attention`)."""
Checkpointing = Literal["none", "attention", "full"]
Inputs = Literal["symbols", "mean", "positions", "last"]
RopePositions = Literal["positions", "bytes"]
Softmax = Literal["typed", "shared"]
Biases = Literal["none", "qkv", "all"]
Architecture = Literal["auto", "llama", "mistral", "qwen2", "qwen3"]
Scaling = Literal["none", "linear", "llama3"]
MAX_BYTE_PLACES = 16
"""Places of a symbol's bytes that `inputs = "positions"` tells apart; bytes beyond share the last one."""
SHAPE_FIELDS = (
    *("width", "layers", "heads", "key_value_heads", "head_dim", "ffn", "rope_theta", "rope_scaling"),
    *("norm_epsilon", "qk_norm", "attention_biases", "architecture"),
)
"""What a published model decides in the configuration of a run that begins with it."""

_STOCK: dict[Architecture, tuple[bool, tuple[Biases, ...]]] = {
    "llama": (False, ("none", "all")),
    "qwen2": (False, ("qkv",)),
    "qwen3": (True, ("none", "all")),
    "mistral": (False, ("none",)),
}
"""Whether queries and keys are normed in a stock architecture, and the biases that it may have; `auto` is the first
that fits."""


@dataclass(frozen=True)
class RopeScaling:
    """How rotary embeddings are slowed down, so that a model reads further than it was first trained to.

    kind: "none"; "linear", all by one factor (Position Interpolation, arXiv 2306.15595); "llama3", as Llama 3.1 has it,
        the slow ones only.
    factor: by which they are slowed down.
    low_frequency_factor: with "llama3", what turns fewer times over the original positions is slowed down in full.
    high_frequency_factor: with "llama3", what turns more often is left as it is; between the two, in proportion.
    original_positions: with "llama3", those of the first training.
    """

    kind: Scaling = "none"
    factor: float = ranged(1.0, 1e-3, 1e6)
    low_frequency_factor: float = ranged(1.0, 1e-3, 1e6)
    high_frequency_factor: float = ranged(4.0, 1e-3, 1e6)
    original_positions: int = ranged(8192, 1, (1 << 31) - 1)

    def __post_init__(self) -> None:
        ensure_in_range(self, "model.rope_scaling.")
        if self.kind not in get_args(Scaling):
            raise InputError(f"model.rope_scaling.kind is {self.kind!r}: give one of {', '.join(get_args(Scaling))}")
        if self.low_frequency_factor >= self.high_frequency_factor:
            raise InputError(
                f"model.rope_scaling.low_frequency_factor {self.low_frequency_factor} is not below "
                f"high_frequency_factor {self.high_frequency_factor}: lower it"
            )


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only transformer whose parameters map one to one onto `LlamaForCausalLM`, options apart.

    width: of the residual stream.
    layers: transformer blocks.
    heads: attention heads in each block.
    key_value_heads: heads of keys and values, each shared by heads / key_value_heads query heads; None: one for each.
    head_dim: width of a head, an even number; None: width / heads.
    ffn: width of the SwiGLU layer.
    rope_theta: base of the rotary position embedding.
    rope_scaling: slows it down, as in models that were made to read further.
    norm_epsilon: added to the mean square in RMSNorm.
    qk_norm: queries and keys are normed in each head. The stock export is then a Qwen3, not a Llama.
    attention_biases: "none"; "qkv", of queries, keys and values, and the stock export is a Qwen2; "all", of the output
        as well.
    architecture: the stock export's: "llama", "mistral" (a Llama under another name), "qwen2", "qwen3", or "auto" for
        the one that has the options in use.
    soft_cap: logits are bent to stay within plus and minus this; 0 leaves them. No stock export.
    value_embeddings: each layer adds a table's row of the symbol to its values. No stock export.
    ngrams: lengths of the n-grams of symbols, ending at each position, whose hashed embeddings are added to the inputs.
        No stock export.
    ngram_rows: rows of the table of each of these lengths.
    ngram_outputs: tables of the same lengths are added to what the softmax of bytes reads, too.
    rope_positions: what rotary embeddings count: "positions"; or, with composed inputs, "bytes" of the text, specials
        among them, so that a distance means the same in every representation; for raw positions that is the same.
    inputs: what compressed positions read: "symbols", rows of a table of their own (the paper); "mean", the mean of the
        byte table's rows of the symbol's bytes; "positions", as mean, but all rows after the first scaled by place;
        "last", the row of its last byte, and with `ngrams` the n-grams that end there: what a raw position reads at the
        same place, so that a compressed sequence is the raw one with positions left out.
    hashed_rows: rows of a table that is added to composed inputs by a hash of the symbol's bytes; 0: none.
    softmax: "typed": a position chooses among the specials and the symbols of its representation; "shared": among all
        that there are (the paper), so that raw bytes pay for compressed symbols.
    byte_heads: bytes predicted at each position whose text is known, the next one included.
    byte_head_ngrams: lengths of the n-grams that each further byte head reads beside the position's state, those that
        end just before its byte; tables of their own, `ngram_rows` each. So a head knows what those before it guessed
        (the idea of Hydra, arXiv 2402.05109), and more guesses in a row are right. Nothing else reads these tables.
    symbol_heads: symbols predicted at each compressed position, the next one included.
    """

    width: int = ranged(192, 1, 1 << 20)
    layers: int = ranged(4, 1, 4096)
    heads: int = ranged(3, 1, 1 << 16)
    key_value_heads: int | None = ranged(None, 1, 1 << 16)
    head_dim: int | None = ranged(None, 2, 1 << 16)
    ffn: int = ranged(512, 1, 1 << 22)
    rope_theta: float = ranged(10_000.0, 1.0, 1e12)
    rope_scaling: RopeScaling = field(default_factory=RopeScaling)
    norm_epsilon: float = ranged(1e-5, 1e-30, 1.0)
    qk_norm: bool = False
    attention_biases: Biases = "none"
    architecture: Architecture = "auto"
    soft_cap: float = ranged(0.0, 1e-3, 1e6, or_zero=True)
    value_embeddings: bool = False
    ngrams: tuple[int, ...] = ranged((), 2, 256)
    ngram_rows: int = ranged(4096, 1, (1 << 31) - 1)
    ngram_outputs: bool = False
    rope_positions: RopePositions = "positions"
    inputs: Inputs = "symbols"
    hashed_rows: int = ranged(0, 0, (1 << 31) - 1)
    softmax: Softmax = "typed"
    byte_heads: int = ranged(1, 1, 256)
    byte_head_ngrams: tuple[int, ...] = ranged((), 2, 256)
    symbol_heads: int = ranged(1, 1, 256)

    def __post_init__(self) -> None:
        ensure_in_range(self, "model.")
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise InputError(f"model.{name} is {getattr(self, name)!r}: give one of {', '.join(get_args(kind))}")
        if self.head_dim is None and self.width % (2 * self.heads):
            raise InputError(
                f"model.width {self.width} does not split into {self.heads} heads of an even width: "
                f"change model.width or model.heads, or give model.head_dim"
            )
        if self.head_width % 2:
            raise InputError(f"model.head_dim is {self.head_dim}: give an even number")
        if self.architecture != "auto" and not self._fits(self.architecture):
            raise InputError(
                f"model.architecture is {self.architecture!r}, which is not one with model.qk_norm "
                f'{str(self.qk_norm).lower()} and model.attention_biases "{self.attention_biases}": let it be "auto"'
            )
        if self.heads % self.kv_heads:
            raise InputError(
                f"model.key_value_heads {self.kv_heads} does not divide model.heads {self.heads}: give a divisor"
            )
        for name in ("ngrams", "byte_head_ngrams"):
            lengths = getattr(self, name)
            if len(set(lengths)) < len(lengths):
                raise InputError(f"model.{name} is {list(lengths)}: give different lengths")
        if self.byte_head_ngrams and self.byte_heads == 1:
            raise InputError(
                "model.byte_head_ngrams is read by further byte heads only: let model.byte_heads be above 1, or leave "
                "it out"
            )
        if self.ngram_outputs and not self.ngrams:
            raise InputError("model.ngram_outputs is on, but model.ngrams is empty: give lengths, such as [2, 3, 4]")
        if self.rope_positions == "bytes" and not self.composed:
            raise InputError(
                'model.rope_positions is "bytes", which only composed inputs know: let model.inputs be "mean", '
                '"positions" or "last"'
            )
        if self.hashed_rows and self.inputs not in ("mean", "positions"):
            raise InputError(
                'model.hashed_rows adds to composed inputs: let model.inputs be "mean" or "positions", or leave it 0'
            )

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.heads if self.key_value_heads is None else self.key_value_heads

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads if self.head_dim is None else self.head_dim

    @property
    def stock_architecture(self) -> Architecture | None:
        """The stock architecture of an export; None: none has these biases."""
        return next((one for one in (self.architecture, *_STOCK) if one != "auto" and self._fits(one)), None)

    def _fits(self, architecture: Architecture) -> bool:
        normed, biases = _STOCK[architecture]
        return self.qk_norm == normed and self.attention_biases in biases

    @property
    def composed(self) -> bool:
        """Whether compressed positions read bytes, and no symbol has an embedding of its own."""
        return self.inputs != "symbols"

    @property
    def matrix_parameters(self) -> int:
        """Parameters of the matrices that every position passes through; embeddings and softmax not among them."""
        attention = 2 * self.width * (self.heads + self.kv_heads) * self.head_width
        return self.layers * (attention + 3 * self.width * self.ffn)

    @property
    def breaks_export(self) -> tuple[str, ...]:
        """The options in use that no stock architecture has; with none, export is a rename and a slice."""
        used = {
            "soft_cap": self.soft_cap,
            "value_embeddings": self.value_embeddings,
            "ngrams": self.ngrams,
            "attention_biases": self.stock_architecture is None,
        }
        return tuple(name for name, value in used.items() if value)

    @property
    def byte_head_parameters(self) -> int:
        """Parameters of the further byte heads, and of the tables that only they read."""
        return ((self.byte_heads - 1) * FIRST_SYMBOL + len(self.byte_head_ngrams) * self.ngram_rows) * self.width

    @property
    def stock_shape(self) -> "ModelConfig":
        """The same without what a published model has not: further heads, tables of n-grams and the like."""
        return ModelConfig(**{name: getattr(self, name) for name in SHAPE_FIELDS})

    def raw_parameters(self) -> int:
        """Parameters that reading and writing raw bytes takes: what is left when the compressor is thrown away."""
        ngrams = (1 + self.ngram_outputs) * len(self.ngrams) * self.ngram_rows
        tables = (2 * FIRST_SYMBOL + ngrams) * self.width
        if self.value_embeddings:
            tables += self.layers * FIRST_SYMBOL * self.kv_heads * self.head_width
        norms = self.width * (2 * self.layers + 1) + (2 * self.layers * self.head_width if self.qk_norm else 0)
        biases = 0 if self.attention_biases == "none" else (self.heads + 2 * self.kv_heads) * self.head_width
        biases += self.width if self.attention_biases == "all" else 0
        return self.matrix_parameters + tables + norms + self.layers * biases


_CHOICES = {
    "inputs": Inputs,
    "softmax": Softmax,
    "rope_positions": RopePositions,
    "attention_biases": Biases,
    "architecture": Architecture,
}
