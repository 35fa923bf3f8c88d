"""The two modules that all layers are made of."""

import torch
import torch.nn.functional as F
from torch import nn


class Linear(nn.Linear):
    """A matrix, with a bias if asked for, in the type of what it is multiplied with."""

    def __init__(self, inputs: int, outputs: int, bias: bool = False) -> None:
        super().__init__(inputs, outputs, bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[..., outputs] of input [..., inputs]."""
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return F.linear(input, self.weight.to(input.dtype), bias)


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
        """Each row scaled to mean square 1, times the weight."""
        return F.rms_norm(x_ND, x_ND.shape[-1:], self.weight.to(x_ND.dtype), self.epsilon)
