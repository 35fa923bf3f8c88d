"""Optimizers: Muon for the matrices inside the layers, AdamW for tables and norms, one learning rate over both.

Updates of Muon are scaled to AdamW's size (Moonlight, arXiv 2502.16982), so both kinds share one learning rate. Norms
and tables are not decayed unless asked.
"""

from typing import Any

import torch

from byteproxy.model.network import Transformer
from byteproxy.train.muon import Muon
from byteproxy.train.optim_config import OptimConfig


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
