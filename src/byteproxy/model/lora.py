"""LoRA (Hu et al. 2021, arXiv 2106.09685): a model's own weights stay, and two small factors of each matrix learn.

Trained are the factors; the rows of specials and bytes in both tables, which a model of tokens lacks, as tables of
their own; and what no stock model has (further heads, n-grams, value tables), which begins at zero. Nothing else has a
gradient or moments. A model with factors trains and scores; `merge` makes a plain one of it, which all else takes.

By hand and not by peft: that knows `nn.Linear` and `nn.Embedding`, not heads that take their own loss, and needs
accelerate. Shapes: I inputs of a matrix, O outputs, R rank.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from byteproxy.model.linear import Linear
from byteproxy.model.lora_config import LoraConfig
from byteproxy.model.network import Transformer
from byteproxy.vocab import FIRST_SYMBOL

_NOT_STOCK = ("ngrams.", "ngram_bias.", "expansion_scales.", "byte_heads.", "head_ngram_bias.", "symbol_heads.")


class LoraLinear(Linear):
    """A matrix that stays, and the product of two factors that is added to it; at first that is zero."""

    def __init__(self, begun_with: Linear, rank: int, scale: float) -> None:
        with torch.device("meta"):
            super().__init__(begun_with.in_features, begun_with.out_features, False)
        self.weight, self.bias, self.scale = begun_with.weight, begun_with.bias, scale
        self.lora_down = nn.Parameter(self.weight.new_empty(rank, self.in_features))
        self.lora_up = nn.Parameter(self.weight.new_zeros(self.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_down, math.sqrt(5))  # as its authors' code draws it

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[..., O] of input [..., I]."""
        down = F.linear(input, self.lora_down.to(input.dtype))
        return super().forward(input) + self.scale * F.linear(down, self.lora_up.to(input.dtype))

    @torch.no_grad()
    def merged(self) -> Linear:
        """The one matrix that computes the same; it takes over the memory of the own one."""
        with torch.device("meta"):
            merged = Linear(self.in_features, self.out_features)
        merged.weight, merged.bias = self.weight, self.bias
        merged.weight.addmm_(self.lora_up, self.lora_down, alpha=self.scale)
        return merged


def adapt(model: Transformer, config: LoraConfig) -> None:
    """Give a model factors, and tables of its rows of specials and bytes, and let nothing but these learn."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(_NOT_STOCK) or name.endswith(".value_table"))
    for block in model.blocks():
        for part in (block.self_attn, block.mlp):
            for name, matrix in list(part.named_children()):
                if name in config.matrices and isinstance(matrix, Linear):
                    setattr(part, name, LoraLinear(matrix, config.rank, config.scale))
    for table in (model.embed_tokens, model.lm_head):
        table.new_rows = nn.Parameter(table.weight.detach()[:FIRST_SYMBOL].clone())


def plain_parameters(model: Transformer) -> int:
    """The number of parameters of the plain model that `merge` makes of one with factors; of another, of itself."""
    added = (".lora_down", ".lora_up", ".new_rows")
    return sum(parameter.numel() for name, parameter in model.named_parameters() if not name.endswith(added))


@torch.no_grad()
def take_new_rows(model: Transformer) -> None:
    """Let rows of specials and bytes that are tables of their own begin as they stand in the whole tables."""
    for table in (model.embed_tokens, model.lm_head):
        if table.new_rows is not None:
            table.new_rows.copy_(table.weight[:FIRST_SYMBOL])


@torch.no_grad()
def merge(model: Transformer) -> None:
    """Make a plain model of one with factors: the same tensors as any other's, which compute the same."""
    for block in model.blocks():
        for part in (block.self_attn, block.mlp):
            for name, matrix in list(part.named_children()):
                if isinstance(matrix, LoraLinear):
                    setattr(part, name, matrix.merged())
    for table in (model.embed_tokens, model.lm_head):
        if table.new_rows is not None:
            table.weight[:FIRST_SYMBOL] = table.new_rows
            table.new_rows = None
    model.requires_grad_(True)
