"""The two modules that all layers are made of."""

import torch
import torch.nn.functional as F
from torch import nn


class Linear(nn.Linear):
    """A matrix without bias, in the type of what it is multiplied with."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[..., outputs] of input [..., inputs]."""
        return F.linear(input, self.weight.to(input.dtype))


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        """Each row scaled to mean square 1, times the weight."""
        return F.rms_norm(x_ND, x_ND.shape[-1:], self.weight.to(x_ND.dtype), self.epsilon)
