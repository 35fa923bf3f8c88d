"""Optimizers: Muon for the matrices inside the layers, AdamW for tables and norms, one learning-rate curve over both.

Muon (Jordan et al. 2024) is torch's own, with updates scaled to AdamW's size (Moonlight, arXiv 2502.16982), so both
kinds share one learning rate. Norms and tables are not decayed.
"""

from dataclasses import dataclass

import torch

from byteproxy.errors import InputError
from byteproxy.model.transformer import Transformer

OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True)
class OptimConfig:
    """How weights move.

    optimizer: "adamw" for everything, or "muon" for the layers' matrices and AdamW for the rest.
    learning_rate: at its peak.
    warmup_share: share of the steps over which it rises from 0.
    decay_share: share of the steps, the last ones, over which it falls to 0 in a straight line.
    weight_decay: on the layers' matrices only.
    clip: the gradient's largest norm.
    """

    optimizer: str = "muon"
    learning_rate: float = 3e-3
    warmup_share: float = 0.02
    decay_share: float = 0.4
    weight_decay: float = 0.1
    clip: float = 1.0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise InputError(f"optim.optimizer is {self.optimizer!r}: give one of {', '.join(OPTIMIZERS)}")
        if not self.learning_rate > 0:
            raise InputError(f"optim.learning_rate is {self.learning_rate}: give a positive number")
        if self.warmup_share < 0 or self.decay_share < 0 or self.warmup_share + self.decay_share > 1:
            raise InputError("optim.warmup_share and optim.decay_share must not be negative, nor sum to more than 1")


def optimizers(model: Transformer, config: OptimConfig) -> list[torch.optim.Optimizer]:
    """The optimizers of a model; together they own every parameter once."""
    matrices = [parameter for parameter in model.layers.parameters() if parameter.dim() == 2]
    inside = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    adamw = {"lr": config.learning_rate, "betas": (0.9, 0.95), "eps": 1e-10, "fused": True}
    if config.optimizer == "adamw":
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        return [torch.optim.AdamW(groups, **adamw)]  # type: ignore[arg-type]
    muon = torch.optim.Muon(
        matrices, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, torch.optim.AdamW(rest, weight_decay=0.0, **adamw)]  # type: ignore[arg-type]


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """The learning rate of optimizer step `step` (from 0) in a run of `steps`."""
    rise = min(1.0, (step + 1) / max(1.0, config.warmup_share * steps))
    fall = min(1.0, (steps - step) / max(1.0, config.decay_share * steps))
    return config.learning_rate * min(rise, fall)
