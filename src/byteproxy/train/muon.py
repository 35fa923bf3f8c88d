"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum, orthogonalised, for matrices inside layers.

Computes what `torch.optim.Muon` does with Nesterov momentum and updates scaled to AdamW's size (Moonlight, arXiv
2502.16982), which takes one matrix after the other, always in bfloat16. Here matrices of equal shape go through
Newton-Schulz together, as batched products in the run's own dtype; a matrix that is taller than wide is turned over for
that, so gate, up and down share a stack, and q, k, v and o of all layers another. In bfloat16 both take the same time,
and give the same weights up to rounding. torch's own is not used because a processor without bfloat16 emulates it:
where torch may use AVX2 only, a step for a layer of width 128 took torch's own 0.138 s of CPU time, and 0.012 s in
float32 here.

Shapes: N matrices of a stack, R rows, C columns, R <= C. Memory beside the momenta: about four times a stack.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.optim.optimizer import ParamsT

# Larger stacks gain nothing: 11 matrices of 512 x 1408 fill an accelerator, and a CPU's cache holds no more.
STACK_BYTES = 16 << 20
_A, _B, _C = 3.4445, -4.7750, 2.0315  # Jordan's quintic: steepest at 0, its fixed points lie loosely around 1
_ITERATIONS = 5
_EPSILON = 1e-7


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for parameters [rows, columns]; its state is one `momentum_buffer` each.

    lr: before the scaling by 0.2 sqrt(max(rows, columns)).
    weight_decay: decoupled, as AdamW's.
    dtype: of the products that orthogonalise. Momenta and weights keep their own.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self._dtype = dtype
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.dim() != 2:
                    raise ValueError(f"Muon takes matrices, not a parameter of shape {tuple(parameter.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for stack in _stacks([parameter for parameter in group["params"] if parameter.grad is not None]):
                self._update(stack, group["lr"], group["weight_decay"], group["momentum"])
        return loss

    def _update(self, parameters: list[torch.Tensor], lr: float, weight_decay: float, momentum: float) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, momenta, momentum)
        x_NRC = torch.empty(len(ahead), *sorted(ahead[0].shape), dtype=self._dtype, device=ahead[0].device)
        for x_RC, matrix in zip(x_NRC, ahead, strict=True):
            x_RC.copy_(matrix.T if matrix.shape[0] > matrix.shape[1] else matrix)
        updates_NRC = orthogonalised(x_NRC)
        updates = [u if u.shape == p.shape else u.T for u, p in zip(updates_NRC, parameters, strict=True)]
        torch._foreach_mul_(parameters, 1 - lr * weight_decay)
        torch._foreach_add_(parameters, updates, alpha=-lr * 0.2 * math.sqrt(updates_NRC.shape[2]))


def orthogonalised(x_NRC: torch.Tensor) -> torch.Tensor:
    """Each matrix with its singular values brought near 1 (0.7 to 1.2), in its own dtype; needs R <= C."""
    norm_N11 = torch.linalg.vector_norm(x_NRC, dim=(1, 2), keepdim=True, dtype=torch.float32)
    x_NRC = x_NRC / norm_N11.clamp(min=_EPSILON).to(x_NRC.dtype)
    for _ in range(_ITERATIONS):
        gram_NRR = x_NRC @ x_NRC.mT
        step_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=_B, alpha=_C)
        x_NRC = torch.baddbmm(x_NRC, step_NRR, x_NRC, beta=_A)
    return x_NRC


def _stacks(parameters: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Parameters that share a shape, one way or the other round, at most `STACK_BYTES` of bfloat16 together."""
    alike: dict[tuple[Any, ...], list[torch.Tensor]] = {}
    for parameter in parameters:
        alike.setdefault((*sorted(parameter.shape), parameter.dtype, parameter.device), []).append(parameter)
    for same in alike.values():
        most = max(1, STACK_BYTES // (2 * same[0].numel()))
        yield from (same[start : start + most] for start in range(0, len(same), most))
