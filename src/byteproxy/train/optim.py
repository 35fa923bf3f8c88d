"""Optimizers: Muon for the matrices inside the layers, AdamW for tables and norms, one learning-rate curve over both.

Updates of Muon are scaled to AdamW's size (Moonlight, arXiv 2502.16982), so both kinds share one learning rate. Norms
and tables are not decayed unless asked.

The curve "wsd" warms up, stays and falls in a straight line (Hu et al. 2024, arXiv 2404.06395): a run can be made
longer from before its fall. "cosine" falls from the end of its warm-up on.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from byteproxy.errors import InputError
from byteproxy.model.transformer import Transformer
from byteproxy.train.muon import Muon

OPTIMIZERS = ("adamw", "muon")
Curve = Literal["wsd", "cosine"]


@dataclass(frozen=True)
class OptimConfig:
    """How weights move.

    optimizer: "adamw" for everything, or "muon" for the layers' matrices and AdamW for the rest.
    learning_rate: at its peak.
    warmup_share: share of the steps over which it rises from 0.
    decay_share: share of the steps, the last ones, over which it falls in a straight line; curve "wsd" only.
    weight_decay: decoupled, on the layers' matrices only, unless decay_all.
    clip: the gradient's largest norm.
    curve: "wsd" (warm up, stay, fall) or "cosine" (warm up, then half a cosine).
    final_share: of the peak, where the fall ends; the paper has a cosine to 0.1.
    beta1, beta2, epsilon: AdamW's.
    momentum: Muon's.
    decay_all: decay norms and tables as well.
    spike: a step is skipped if its gradient's norm is that many times the usual one; 0: only if it is not finite.
    most_skips: in a row, before the run is stopped.
    """

    optimizer: str = "muon"
    learning_rate: float = 3e-3
    warmup_share: float = 0.02
    decay_share: float = 0.4
    weight_decay: float = 0.1
    clip: float = 1.0
    curve: Curve = "wsd"
    final_share: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-10
    momentum: float = 0.95
    decay_all: bool = False
    spike: float = 10.0
    most_skips: int = 20

    def __post_init__(self) -> None:
        """Each test is written so that nan fails it."""
        for name, choices in (("optimizer", OPTIMIZERS), ("curve", get_args(Curve))):
            if getattr(self, name) not in choices:
                raise InputError(f"optim.{name} is {getattr(self, name)!r}: give one of {', '.join(choices)}")
        for name in ("learning_rate", "clip", "epsilon"):
            self._ensure(name, 0 < getattr(self, name) < math.inf, "a positive number")
        for name in ("warmup_share", "decay_share", "final_share"):
            self._ensure(name, 0 <= getattr(self, name) <= 1, "a share from 0 to 1")
        for name in ("beta1", "beta2", "momentum"):
            self._ensure(name, 0 <= getattr(self, name) < 1, "a number from 0 to below 1")
        self._ensure("weight_decay", 0 <= self.weight_decay < math.inf, "0 or a positive number")
        self._ensure("spike", self.spike == 0 or 1 < self.spike < math.inf, "more than 1, or 0 for no such rule")
        self._ensure("most_skips", self.most_skips >= 0, "0 or more")
        if self.curve == "wsd" and self.warmup_share + self.decay_share > 1:
            raise InputError(
                f"optim.warmup_share {self.warmup_share} and optim.decay_share {self.decay_share} sum to more than 1: "
                "shorten one of them"
            )

    def _ensure(self, name: str, right: bool, remedy: str) -> None:
        if not right:
            raise InputError(f"optim.{name} is {getattr(self, name)}: give {remedy}")


def optimizers(model: Transformer, config: OptimConfig) -> list[torch.optim.Optimizer]:
    """The optimizers of a model; together they own every parameter once.

    Muon takes what has two dimensions inside `model.layers`; AdamW takes tables, heads, norms, biases and whatever else
    there is. AdamW runs fused, one kernel over many tensors instead of a dozen passes over each: that needs all of them
    floating-point, on a CPU or an accelerator that has the kernel, and in place there before this is called.
    """
    matrices = [parameter for parameter in model.layers.parameters() if parameter.dim() == 2]
    inside = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    groups = [{"params": rest, "weight_decay": config.weight_decay if config.decay_all else 0.0}]
    if config.optimizer == "adamw":
        groups.insert(0, {"params": matrices, "weight_decay": config.weight_decay})
        return [_adamw(groups, config)]
    muon = Muon(matrices, config.learning_rate, config.weight_decay, config.momentum, model.dtype)
    return [muon, _adamw(groups, config)]


def _adamw(groups: list[dict[str, Any]], config: OptimConfig) -> torch.optim.AdamW:
    betas = (config.beta1, config.beta2)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, eps=config.epsilon, fused=True)


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """The learning rate of optimizer step `step` (from 0) in a run of `steps`.

    The first step's is above 0, and the fall would end with the step after the last, so that none is taken at 0.
    """
    warmup = config.warmup_share * steps
    rise = min(1.0, (step + 1) / max(1.0, warmup))
    if config.curve == "wsd":
        left = min(1.0, (steps - step) / max(1.0, config.decay_share * steps))
    else:
        left = (1 + math.cos(math.pi * max(0.0, step - warmup) / max(1.0, steps - warmup))) / 2
    return config.learning_rate * min(rise, config.final_share + (1 - config.final_share) * left)
