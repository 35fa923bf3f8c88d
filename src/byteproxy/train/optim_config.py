"""How weights move, as a configuration, and the learning rate of each step that follows from it. Imports no torch.

The schedule "wsd" warms up, stays and falls in a straight line (Hu et al. 2024, arXiv 2404.06395): with `warmup_steps`,
a run can be made longer from before its fall (`identity.py`). "cosine" falls from the end of its warm-up on.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from byteproxy.errors import InputError
from byteproxy.ranges import ensure_in_range, ranged

OPTIMIZERS = ("adamw", "muon")
Schedule = Literal["wsd", "cosine"]
States = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class OptimConfig:
    """How weights move.

    optimizer: "adamw" for everything, or "muon" for the layers' matrices and AdamW for the rest.
    learning_rate: peak learning rate.
    warmup_share: share of the steps over which the learning rate rises from 0.
    warmup_steps: steps of that rise, in place of a share; such a run can be made longer later.
    decay_share: share of the steps, the last ones, over which the learning rate falls in a straight line; "wsd" only.
    weight_decay: decoupled, on the layers' matrices only, unless decay_all.
    states: dtype of AdamW's moments: "float32", or "bfloat16" for half their memory, rounded at random so that the mean
        is exact. Muon's momentum, one number a weight, stays float32.
    clip: largest norm of the gradient; a longer one is scaled down.
    schedule: of the learning rate, "wsd" (warm up, stay, fall) or "cosine" (warm up, then half a cosine).
    final_share: share of the peak where the fall ends; the paper has a cosine to 0.1.
    beta1, beta2, epsilon: of AdamW.
    momentum: of Muon.
    decay_all: decay norms and tables as well.
    spike: a step is skipped if its gradient's norm is that many times the usual one; 0: only if it is not finite.
    max_skips: skipped steps in a row before the run is stopped.
    first_layer_rate, last_layer_rate: factors of the learning rate of the first and the last layer; those of the layers
        between lie on a straight line. What stands before the layers has the first one, what stands behind them the
        last one.
    new_rows_rate: factor of the learning rate of the new rows: those of specials and bytes in the tables, and the
        further byte heads. The rates of layers don't touch them.
    new_rows_share: share of the steps, the first ones, in which only the new rows move. The rest begins afterwards, by
        a rise of its own, as if the run began there.
    new_rows_layers: first layers, and as many last ones, that move from the first step on, like the new rows.
    heads_rate: factor of the learning rate of heads beyond the first, and of the tables that only they read, besides
        that of new rows.
    """

    optimizer: str = "muon"
    learning_rate: float = ranged(3e-3, 0.0, 100.0, above=True)
    warmup_share: float = ranged(0.02, 0.0, 1.0)
    warmup_steps: int | None = ranged(None, 0, 1 << 40)
    decay_share: float = ranged(0.4, 0.0, 1.0)
    weight_decay: float = ranged(0.1, 0.0, 100.0)
    states: States = "float32"
    clip: float = ranged(1.0, 0.0, 1e12, above=True)
    schedule: Schedule = "wsd"
    final_share: float = ranged(0.0, 0.0, 1.0)
    beta1: float = ranged(0.9, 0.0, 1.0, below=True)
    beta2: float = ranged(0.95, 0.0, 1.0, below=True)
    epsilon: float = ranged(1e-10, 1e-30, 1.0)
    momentum: float = ranged(0.95, 0.0, 1.0, below=True)
    decay_all: bool = False
    spike: float = ranged(10.0, 1.0, 1e9, above=True, or_zero=True)
    max_skips: int = ranged(20, 0, (1 << 31) - 1)
    first_layer_rate: float = ranged(1.0, 0.0, 1e4)
    last_layer_rate: float = ranged(1.0, 0.0, 1e4)
    new_rows_rate: float = ranged(1.0, 0.0, 1e4)
    new_rows_share: float = ranged(0.0, 0.0, 1.0)
    new_rows_layers: int = ranged(0, 0, 4096)
    heads_rate: float = ranged(1.0, 0.0, 1e4)

    def __post_init__(self) -> None:
        chosen = ("optimizer", OPTIMIZERS), ("schedule", get_args(Schedule)), ("states", get_args(States))
        for name, choices in chosen:
            if getattr(self, name) not in choices:
                raise InputError(f"optim.{name} is {getattr(self, name)!r}: give one of {', '.join(choices)}")
        ensure_in_range(self, "optim.")
        if self.schedule == "wsd" and self.warmup_steps is None and self.warmup_share + self.decay_share > 1:
            raise InputError(
                f"optim.warmup_share {self.warmup_share} and optim.decay_share {self.decay_share} sum to more than 1: "
                "shorten one of them"
            )
        if self.new_rows_layers and not self.new_rows_share:
            raise InputError(
                f"optim.new_rows_layers is {self.new_rows_layers}, and optim.new_rows_share 0, so all layers move from "
                "the first step on: give it a share, or leave the layers out"
            )

    @property
    def parts_rows(self) -> bool:
        """Whether the rows of specials and bytes of a table move otherwise than its others."""
        return bool(self.new_rows_share) or {self.first_layer_rate, self.last_layer_rate, self.new_rows_rate} != {1.0}

    def depth_rate(self, depth: float) -> float:
        """The factor of the learning rate at a depth: 0 that of the first layer, 1 that of the last."""
        return self.first_layer_rate + (self.last_layer_rate - self.first_layer_rate) * depth

    def all_move_from(self, steps: int) -> int:
        """The step, from 0, from which on more than the new rows moves, in a run of `steps`."""
        return math.ceil(self.new_rows_share * steps)

    def warmup(self, steps: int) -> float:
        """Steps over which the learning rate rises, in a run of `steps`."""
        return self.warmup_share * steps if self.warmup_steps is None else float(self.warmup_steps)


def learning_rate(config: OptimConfig, step: int, steps: int, since: int = 0) -> float:
    """The learning rate of optimizer step `step` (from 0) in a run of `steps`, of what moves since step `since`.

    The first step's is above 0, and the fall would end with the step after the last, so that none is taken at 0.
    """
    warmup = config.warmup(steps)
    rise = min(1.0, (step - since + 1) / max(1.0, warmup))
    if config.schedule == "wsd":
        left = min(1.0, (steps - step) / max(1.0, config.decay_share * steps))
    else:
        left = (1 + math.cos(math.pi * max(0.0, step - warmup) / max(1.0, steps - warmup))) / 2
    return config.learning_rate * min(rise, config.final_share + (1 - config.final_share) * left)
