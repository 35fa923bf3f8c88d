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
                shape = self._shape(parameter)
                if len(shape) != 2:
                    raise ValueError(f"Muon takes matrices, not a parameter of shape {tuple(shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            for stack in stacks(moved, self._shape, self._stack_bytes()):
                self._update(stack, group["lr"], group["weight_decay"], group["momentum"])
        return loss

    def _shape(self, parameter: torch.Tensor) -> torch.Size:
        """Of the matrix that a parameter is, or is a part of."""
        return parameter.shape

    def _stack_bytes(self) -> int:
        return STACK_BYTES

    def _update(self, parameters: list[torch.Tensor], lr: float, weight_decay: float, momentum: float) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - momentum)
        updates = self._orthogonalised(parameters, list(torch._foreach_lerp(gradients, momenta, momentum)))
        torch._foreach_mul_(parameters, 1 - lr * weight_decay)
        torch._foreach_add_(parameters, updates, alpha=-lr * 0.2 * math.sqrt(max(self._shape(parameters[0]))))

    def _orthogonalised(self, parameters: list[torch.Tensor], ahead: list[torch.Tensor]) -> list[torch.Tensor]:
        """What parameters of a stack move by, before scaling, from their momenta, which look ahead."""
        return orthogonalised_each(ahead, self._dtype)


def orthogonalised_each(matrices: list[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    """Matrices of one shape, either way round, each `orthogonalised`; products and what is returned are in `dtype`."""
    x_NRC = torch.empty(len(matrices), *sorted(matrices[0].shape), dtype=dtype, device=matrices[0].device)
    for x_RC, matrix in zip(x_NRC, matrices, strict=True):
        x_RC.copy_(matrix.T if matrix.shape[0] > matrix.shape[1] else matrix)
    updates_NRC = orthogonalised(x_NRC)
    return [u if u.shape == matrix.shape else u.T for u, matrix in zip(updates_NRC, matrices, strict=True)]


def orthogonalised(x_NRC: torch.Tensor) -> torch.Tensor:
    """Each matrix with its singular values brought near 1 (0.7 to 1.2), in its own dtype; needs R <= C."""
    norm_N11 = torch.linalg.vector_norm(x_NRC, dim=(1, 2), keepdim=True, dtype=torch.float32)
    x_NRC = x_NRC / norm_N11.clamp(min=_EPSILON).to(x_NRC.dtype)
    for _ in range(_ITERATIONS):
        gram_NRR = x_NRC @ x_NRC.mT
        step_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=_B, alpha=_C)
        x_NRC = torch.baddbmm(x_NRC, step_NRR, x_NRC, beta=_A)
    return x_NRC


def stacks(
    parameters: list[torch.Tensor], shape: Callable[[torch.Tensor], torch.Size], most_bytes: int
) -> Iterator[list[torch.Tensor]]:
    """Parameters whose matrices share a shape, one way or the other round, at most so many bytes of bfloat16 together.

    shape: of a parameter's matrix.
    """
    alike: dict[tuple[Any, ...], list[torch.Tensor]] = {}
    for parameter in parameters:
        alike.setdefault((*sorted(shape(parameter)), parameter.dtype, parameter.device), []).append(parameter)
    for same in alike.values():
        most = max(1, most_bytes // (2 * shape(same[0]).numel()))
        yield from (same[start : start + most] for start in range(0, len(same), most))
