"""Optimizers: Muon for the matrices inside the layers, AdamW for tables and norms, one schedule over both.

Updates of Muon are scaled to AdamW's size (Moonlight, arXiv 2502.16982), so both kinds share one learning rate. Norms
and tables are not decayed unless asked. Parts of a model may have factors of that rate, and some may begin later
(`parts.py`). A part that doesn't move yet has no gradient, so an optimizer keeps nothing of it: its moments begin, and
count their steps, where it does.
"""

from itertools import groupby
from typing import Any

import torch
import torch.distributed as dist

from byteproxy.model.network import Transformer
from byteproxy.train import parallel
from byteproxy.train.bfloat16_states import Bfloat16AdamW
from byteproxy.train.muon import Muon
from byteproxy.train.optim_config import OptimConfig, learning_rate
from byteproxy.train.parts import Part, parts_of
from byteproxy.train.sharded_muon import ShardedMuon


class Update:
    """How one model moves: its optimizers, which together own every parameter once, and what they do in each step.

    Muon takes what has two dimensions inside `model.layers`; AdamW takes tables, heads, norms, biases and whatever else
    there is. AdamW runs fused, one kernel over many tensors instead of a dozen passes over each: that needs all of them
    floating-point, on a CPU or an accelerator that has the kernel, and in place there before this is called.
    """

    def __init__(
        self,
        model: Transformer,
        config: OptimConfig,
        heads_detached: bool = False,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        """heads_detached: heads beyond the first change nothing else, so their gradient doesn't count with others.

        group: the processes that hold the model together; None: each holds all of it.
        """
        self._model, self._config, self._group = model, config, group
        self._parts = parts_of(model, config)
        self._apart = {id(one) for one in model.further_heads()} if heads_detached else set[int]()
        self._frozen = {whole for whole in model.parameters() if not whole.requires_grad}
        self._begun = True
        self.optimizers = _optimizers(self._parts, config, model.dtype, group)

    def prepare(self, step: int, steps: int) -> None:
        """Set the learning rates of an optimizer step, and let gradients be taken of what moves in it, anew."""
        since = self._config.all_move_from(steps)
        self._begun = step >= since
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                rate = learning_rate(self._config, step, steps, since if group["late"] else 0)
                group["lr"] = rate * group["rate"]
        if since:
            moving = {part.whole for part in self._parts if self._begun or not part.late}
            for whole in self._model.parameters():
                whole.requires_grad_(whole in moving and whole not in self._frozen)
        self.forget_gradients()

    def begins(self, step: int, steps: int) -> list[int]:
        """A step, and the one after it from which on more moves, if there is one."""
        since = self._config.all_move_from(steps)
        return [step, since] if step < since < steps else [step]

    def phase(self, number: int) -> int:
        """Another number than the mixture's for one of its phases where not all moves: other norms are usual there."""
        return number if self._begun else -1 - number

    def forget_gradients(self) -> None:
        """Drop the gradients so far."""
        self._model.zero_grad(set_to_none=True)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def clip(self) -> torch.Tensor:
        """Scale the gradient of all that moves to the largest norm allowed, and give the norm that it had.

        Detached heads are scaled by themselves, and their norm is given only where it is not finite.
        """
        for part in self._parts:
            part.take_gradient(self._begun)
        both = [
            [part.moved for part in self._parts if (id(part.whole) in self._apart) == apart] for apart in (False, True)
        ]
        if self._group is None:
            norm, of_heads = (torch.nn.utils.clip_grad_norm_(moved, self._config.clip) for moved in both)
        else:
            gradients = [[one.grad for one in moved if one.grad is not None] for moved in both]
            norm, of_heads = parallel.norms_over(gradients, self._group).float()
            for moved, own in zip(both, (norm, of_heads), strict=True):
                torch.nn.utils.clip_grads_with_norm_(moved, self._config.clip, own)
        return norm if of_heads.isfinite() else of_heads

    def gradient_norms(self) -> dict[str, float]:
        """The norm of each gradient by the name of what moves by it; all ranks have to ask."""
        found = {part.name: [part.moved.grad] for part in self._parts if part.moved.grad is not None}
        return dict(zip(found, parallel.norms_over(list(found.values()), self._group).tolist(), strict=True))

    def step(self) -> None:
        """Move what moves, by the gradients that `clip` left."""
        for optimizer in self.optimizers:
            optimizer.step()


def _optimizers(
    parts: list[Part], config: OptimConfig, dtype: torch.dtype, group: dist.ProcessGroup | None
) -> list[torch.optim.Optimizer]:
    matrices = _groups([part for part in parts if part.matrix], config.weight_decay)
    rest = _groups([part for part in parts if not part.matrix], config.weight_decay if config.decay_all else 0.0)
    if config.optimizer == "adamw":
        return [_adamw([*matrices, *rest], config)]
    settings = config.learning_rate, config.weight_decay, config.momentum, dtype
    shapes: dict[torch.Tensor, torch.Size] = {part.moved: part.whole.shape for part in parts if part.matrix}
    muon = Muon(matrices, *settings) if group is None else ShardedMuon(matrices, *settings, shapes, group)
    return [muon, _adamw(rest, config)]


def _groups(parts: list[Part], weight_decay: float) -> list[dict[str, Any]]:
    """Groups of one rate and begin each, with the names of their parameters."""

    def alike(part: Part) -> tuple[float, bool]:
        return part.rate, part.late

    return [
        {
            "params": [(part.name, part.moved) for part in same],
            "weight_decay": weight_decay,
            "rate": rate,
            "late": late,
        }
        for (rate, late), same in groupby(sorted(parts, key=alike), alike)
    ]


def _adamw(groups: list[dict[str, Any]], config: OptimConfig) -> torch.optim.Optimizer:
    betas = (config.beta1, config.beta2)
    if config.states == "bfloat16":
        return Bfloat16AdamW(groups, config.learning_rate, betas, config.epsilon)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, eps=config.epsilon, fused=True)
