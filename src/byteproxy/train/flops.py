"""What training costs: FLOPs by formula, and the matrix-product rate of the machine to hold them against.

A position costs 3 x (2 x parameters of the matrices it passes + 4 x width x keys it attends to in each layer + 2 x
width x rows of the softmax it uses): the products forward, and twice that again backward. Norms, rotations and the
optimizer are left out, and so is work that an attention backend does beyond the keys attended (padding, masked pairs):
the formula prices the method, wall time is reported beside it. Agrees to 1 % with torch's FlopCounterMode on plain
matrix products.
"""

import time

import numpy as np
import torch
import torch.nn.functional as F

from byteproxy.mixture.planner import Plan
from byteproxy.model.config import ModelConfig
from byteproxy.vocab import Vocab


def training_flops(config: ModelConfig, vocab: Vocab, positions: int, keys_attended: int, targets: np.ndarray) -> int:
    """FLOPs of forward and backward.

    positions: that pass through the matrices.
    keys_attended: summed over positions, for one layer.
    targets: per representation, the positions whose softmax is computed.
    """
    matrices = 2 * positions * config.matrix_parameters
    attention = 4 * config.width * keys_attended * config.layers
    softmax = sum(
        2 * config.width * vocab.softmax_rows(representation) * int(count)
        for representation, count in enumerate(targets[: vocab.representations])
    )
    return 3 * (matrices + attention + softmax)


def plan_flops(config: ModelConfig, vocab: Vocab, plan: Plan) -> int:
    """FLOPs of training on one planned step."""
    return training_flops(config, vocab, int(plan.lengths.sum()), plan.keys_attended, plan.targets)


def matrix_rate(dtype: torch.dtype, shape: tuple[int, int, int] = (2048, 512, 512), seconds: float = 0.1) -> float:
    """FLOPs per second of this machine's own matrix product at [m, k] x [k, n], best of several in `seconds`."""
    m, k, n = shape
    x, weight = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
    F.linear(x, weight)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        F.linear(x, weight)
        best = min(best, time.perf_counter() - start)
    return 2 * m * k * n / best


def fastest_dtype() -> torch.dtype:
    """bfloat16 where it multiplies matrices at least 1.5 times as fast as float32 here, else float32.

    Measured, not looked up: what counts is the kernel, and emulated bfloat16 is slower than float32. Both are measured
    in turn, several times, and the best of each counts, so that other work on the machine hits both alike.
    """
    best = dict.fromkeys((torch.float32, torch.bfloat16), 0.0)
    for _ in range(6):
        for dtype in best:
            best[dtype] = max(best[dtype], matrix_rate(dtype, seconds=0.03))
    return torch.bfloat16 if best[torch.bfloat16] > 1.5 * best[torch.float32] else torch.float32
