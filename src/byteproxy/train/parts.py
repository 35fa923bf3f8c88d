"""What of a model moves together: its parameters, or some of their rows, each with its learning rate and its begin.

The rows of specials and bytes lie in one table with those of tokens. Where they move otherwise than these, an optimizer
owns the two stretches of the table as parameters of their own, which share the table's memory; each gets its part of
the table's gradient. AdamW moves each number by itself, so the result is exactly that of two tables, with moments,
steps and decay of their own. Nothing is copied, and AdamW stays fused.

Of a sharded parameter an optimizer owns what this process holds, as a plain tensor in the same memory.
"""

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.sharding import own_part
from byteproxy.vocab import FIRST_SYMBOL

_TABLES = ("embed_tokens.weight", "lm_head.weight", "symbol_heads.weight")
"""Parameters whose last but one dimension is the symbols'."""
_HEADS = ("byte_heads.", "head_ngram_bias.", "symbol_heads.")
"""Heads beyond the first, and what only they read."""
_NEW = ("byte_heads.", "head_ngram_bias.", "embed_tokens.new_rows", "lm_head.new_rows")
_BEFORE = ("embed_tokens.", "ngrams.")


class Part(NamedTuple):
    """A parameter of an optimizer.

    name: as checkpoints call it. whole: the model's own parameter. moved: what the optimizer moves, the same, some rows
    of it, or what this process holds of it, in its memory. rows: which those are; None: all. matrix: whether it is one
    of those inside the layers. rate: factor of the learning rate. late: it waits until more than the new rows moves.
    """

    name: str
    moved: nn.Parameter
    whole: nn.Parameter
    rows: tuple[int | slice, ...] | None
    matrix: bool
    rate: float
    late: bool

    def take_gradient(self, begun: bool) -> None:
        """Let what moves have its part of the gradient; none where it doesn't yet. begun: whether late ones do."""
        gradient = None if self.late and not begun else self.whole.grad
        if gradient is not None and self.moved is not self.whole:
            gradient = own_part(gradient) if self.rows is None else gradient[self.rows]
        self.moved.grad = gradient


def parts_of(model: nn.Module, config: OptimConfig) -> list[Part]:
    """All parts of a model, in the order of its parameters; without options of its own each parameter is one."""
    layers = sum(1 for _ in model.get_submodule("layers").children())
    return [
        part._replace(rate=part.rate * config.heads_rate) if name.startswith(_HEADS) else part
        for name, whole in model.named_parameters()
        for part in _parts(name, whole, layers, config)
    ]


def _parts(name: str, whole: nn.Parameter, layers: int, config: OptimConfig) -> Iterator[Part]:
    matrix = name.startswith("layers.") and whole.dim() == 2
    if not config.parts_rows:
        own = own_part(whole)
        moved = whole if own is whole else nn.Parameter(own, whole.requires_grad)
        yield Part(name, moved, whole, None, matrix, 1.0, False)
        return
    new = config.new_rows_rate, False
    if name.startswith(_NEW) or (name in _TABLES and whole.shape[-2] <= FIRST_SYMBOL):
        yield Part(name, whole, whole, None, matrix, *new)
    elif name in _TABLES:
        for index in _stretches(whole):
            moved = nn.Parameter(whole.detach()[index], whole.requires_grad)
            how = new if index[-1] == slice(0, FIRST_SYMBOL) else _of_depth(name, layers, config)
            yield Part(f"{name}[{_written(index)}]", moved, whole, index, matrix, *how)
    else:
        yield Part(name, whole, whole, None, matrix, *_of_depth(name, layers, config))


def _of_depth(name: str, layers: int, config: OptimConfig) -> tuple[float, bool]:
    """The rate of a parameter by the depth at which it stands, and whether it waits for the new rows."""
    waits = config.new_rows_share > 0
    if not name.startswith("layers."):
        return config.depth_rate(0.0 if name.startswith(_BEFORE) else 1.0), waits
    layer = int(name.split(".")[1])
    outer = min(layer, layers - 1 - layer) < config.new_rows_layers
    return config.depth_rate(layer / max(1, layers - 1)), waits and not outer


def _stretches(whole: nn.Parameter) -> Iterator[tuple[int | slice, ...]]:
    """The rows of specials and bytes, and the others, of each head of a table; each lies in one piece of memory."""
    for head in [()] if whole.dim() == 2 else [(number,) for number in range(len(whole))]:
        yield (*head, slice(0, FIRST_SYMBOL))
        yield (*head, slice(FIRST_SYMBOL, whole.shape[-2]))


def _written(index: tuple[int | slice, ...]) -> str:
    return ",".join(f"{one.start}:{one.stop}" if isinstance(one, slice) else str(one) for one in index)
