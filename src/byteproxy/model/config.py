"""The shape of a model."""

from dataclasses import dataclass

from byteproxy.errors import InputError


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only transformer whose parameters map one to one onto `LlamaForCausalLM`.

    width: of the residual stream.
    layers, heads: transformer blocks, and attention heads in each; width / heads must be even.
    key_value_heads: heads of keys and values, shared by heads / key_value_heads query heads each; None: one each.
    ffn: width of the SwiGLU layer.
    rope_theta: base of the rotary position embedding.
    norm_epsilon: added to the mean square in RMSNorm.
    """

    width: int = 192
    layers: int = 4
    heads: int = 3
    key_value_heads: int | None = None
    ffn: int = 512
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "ffn"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is {getattr(self, name)}: give at least 1")
        if self.width % (2 * self.heads):
            raise InputError(
                f"model.width {self.width} does not split into {self.heads} heads of an even width: "
                f"change model.width or model.heads"
            )
        if self.heads % self.kv_heads:
            raise InputError(
                f"model.key_value_heads {self.kv_heads} does not divide model.heads {self.heads}: give a divisor"
            )

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.heads if self.key_value_heads is None else self.key_value_heads

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads

    @property
    def matrix_parameters(self) -> int:
        """Parameters of the matrices that every position passes through; embeddings and softmax not among them."""
        attention = 2 * self.width * (self.width + self.kv_heads * self.head_width)
        return self.layers * (attention + 3 * self.width * self.ffn)
