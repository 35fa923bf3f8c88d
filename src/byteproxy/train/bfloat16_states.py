"""AdamW with moments in bfloat16, which take half the memory of float32 ones.

A moment is read into float32, updated, used for the step, and then rounded: up or down at random, so that its mean is
the exact one. To the nearest would be wrong where a moment moves slowly: with beta2 = 0.999 a second moment could never
fall, as a step takes less from it than half the distance between two numbers of bfloat16 (1 / 256 of it). The random
bits are a function of the step and the parameter's number, so a run that was stopped goes on to the same bits.

Weights stay float32. AdamW goes over a parameter in stretches, so what it needs besides is some 80 MB at most, and
reads and writes each number once more than torch's fused kernel.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import ParamsT

STRETCH = 1 << 22
"""Numbers of a parameter that are worked on at once."""
MOMENTS = "exp_avg", "exp_avg_sq"
_HALF = (1 << 16) - 1


class Bfloat16AdamW(torch.optim.Optimizer):
    """AdamW (arXiv 1711.05101) as `torch.optim.AdamW` has it, but for moments in bfloat16."""

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        number = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                number += 1
                if parameter.grad is not None:
                    self._update(parameter, number, group)
        return loss

    def _update(self, parameter: torch.Tensor, number: int, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state |= {name: torch.zeros_like(parameter, dtype=torch.bfloat16) for name in MOMENTS}
        steps = _taken(state)
        (beta1, beta2), rate = group["betas"], group["lr"]
        noise = _generator_of(steps, number, parameter.device)
        assert parameter.grad is not None, "only of parameters that have one"
        whole = (parameter, parameter.grad.contiguous(), *(state[name] for name in MOMENTS))
        for own_X, gradient_X, *kept in zip(*(_stretches(one) for one in whole), strict=True):
            mean_X, square_X = (one.float() for one in kept)
            mean_X.lerp_(gradient_X, 1 - beta1)
            square_X.mul_(beta2).addcmul_(gradient_X, gradient_X, value=1 - beta2)
            spread_X = square_X.sqrt().div_(math.sqrt(1 - beta2**steps)).add_(group["eps"])
            own_X.mul_(1 - rate * group["weight_decay"])
            own_X.addcdiv_(mean_X, spread_X, value=-rate / (1 - beta1**steps))
            del spread_X
            bits_X = torch.empty_like(mean_X, dtype=torch.int32).random_(-(1 << 31), 1 << 31, generator=noise)
            for kept_X, exact_X, own_bits_X in zip(kept, (mean_X, square_X), (bits_X, bits_X >> 16), strict=True):
                round_into(kept_X, exact_X, own_bits_X)


def _taken(state: dict[str, Any]) -> int:
    """Count a step in a parameter's state, and give how many it has taken; on the host, so that nothing waits."""
    before = state.get("step")
    state["step"] = torch.zeros(()) if before is None else before.cpu()
    state["step"] += 1
    return int(state["step"])


def _generator_of(steps: int, number: int, device: torch.device) -> torch.Generator:
    """Random numbers for a parameter in a step: its own, and the same whenever that step is taken."""
    generator = torch.Generator(device)
    generator.manual_seed((number << 40) + steps)
    return generator


def round_into(kept_X: torch.Tensor, exact_X: torch.Tensor, bits_X: torch.Tensor) -> None:
    """Round float32 into bfloat16, up or down so that the mean is exact, by the lower 16 bits of int32 `bits_X`."""
    carried_X = exact_X.view(torch.int32) + (bits_X & _HALF)
    kept_X.copy_((carried_X & ~_HALF).view(torch.float32))


def _stretches(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A tensor in parts, end to end."""
    return tensor.view(-1).split(STRETCH)
