"""Which few weights are trained where a model's own stay as they are (LoRA), as a configuration. Imports no torch."""

from dataclasses import dataclass

from byteproxy.errors import InputError
from byteproxy.model.model_config import ModelConfig
from byteproxy.ranges import ensure_in_range, ranged
from byteproxy.vocab import FIRST_SYMBOL

MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LoraConfig:
    """What is trained of a model that a run begins with: all, or two small factors of each matrix (arXiv 2106.09685).

    rank: of the product of factors that is added to a matrix, whose own weights stay as they are; 0: no factors, and
        all weights are trained.
    alpha: the product is multiplied by alpha / rank.
    matrices: of each layer, that get factors; the others stay as they are.
    """

    rank: int = ranged(0, 0, 1 << 16)
    alpha: float = ranged(16.0, 0.0, 1e6, above=True)
    matrices: tuple[str, ...] = MATRICES

    def __post_init__(self) -> None:
        ensure_in_range(self, "lora.")
        if len(set(self.matrices)) < len(self.matrices) or not set(self.matrices) <= set(MATRICES):
            raise InputError(f"lora.matrices is {list(self.matrices)}: give some of {', '.join(MATRICES)}, each once")

    @property
    def scale(self) -> float:
        """What the product of factors is multiplied by."""
        return self.alpha / self.rank

    def factor_parameters(self, model: ModelConfig) -> int:
        """Parameters of the factors of all layers."""
        q, kv = model.heads * model.head_width, model.kv_heads * model.head_width
        sizes = {"q_proj": q, "k_proj": kv, "v_proj": kv, "o_proj": q}  # each beside the width
        return model.layers * self.rank * sum(model.width + sizes.get(one, model.ffn) for one in self.matrices)

    def trained_parameters(self, model: ModelConfig, parameters: int) -> int:
        """Of the parameters of a model those that are trained, options that add a few left out."""
        if not self.rank:
            return parameters
        return self.factor_parameters(model) + 2 * FIRST_SYMBOL * model.width + model.byte_head_parameters


ALL_TRAINED = LoraConfig()
"""No factors."""
