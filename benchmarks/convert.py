"""The joint phase of a conversion: a training step at SmolLM2's shape, from random weights.

30 layers of width 576, 9 heads on 3, ffn 1,536, 49,152 tokens; a step of about 4,096 positions, passages of 512 bytes,
half of the text as bytes and half as tokens (3.6 bytes each). `gemm_share`: the floor is the products of one step
(forward, input gradient, weight gradient) at the rate that this machine reaches for each of their shapes alone,
attention's at the mean of these rates; the share is that time over the step's, clipping and optimizer included.
`first_step_s`: from drawing the weights to the end of the first step, compiling included; what torch keeps compiled
from earlier runs shortens it.
"""

import resource
import time
from collections.abc import Callable

import numpy as np
import torch
from benchmarks.train import floor

from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Batch, Transformer
from byteproxy.model.objective import Objective
from byteproxy.model.targets import Positions, targets_of
from byteproxy.train import compiler
from byteproxy.train.compiler import TORCH_DTYPES, fastest_dtype
from byteproxy.train.flops import training_flops
from byteproxy.train.optim import Update
from byteproxy.train.optim_config import OptimConfig
from byteproxy.vocab import FIRST_BYTE, FIRST_SYMBOL, SPECIALS, Vocab

TOKENS = 49_152
SHAPE = ModelConfig(width=576, layers=30, heads=9, key_value_heads=3, ffn=1536, rope_theta=1e5, norm_epsilon=1e-5)
RAW_LENGTHS = np.full(4, 514)  # a passage and its sentinels
TOKEN_LENGTHS = np.full(14, 145)
STEPS = 5


def measure(say: Callable[[str], None]) -> dict:
    """Figures of the step on this machine."""
    dtype = TORCH_DTYPES[fastest_dtype("cpu")]
    lengths = np.concatenate((RAW_LENGTHS, TOKEN_LENGTHS))
    positions = int(lengths.sum())
    say("the first step, compiled ...")
    begin = time.perf_counter()
    step = _stepper(lengths, dtype)
    step()
    first = time.perf_counter() - begin
    say("steps ...")
    seconds = np.array([_seconds(step) for _ in range(STEPS)])
    softmaxes = [(int(RAW_LENGTHS.sum()), FIRST_SYMBOL), (int(TOKEN_LENGTHS.sum()), SPECIALS + TOKENS)]
    flops = training_flops(SHAPE, lengths, sum(count * rows for count, rows in softmaxes))
    say("the floor ...")
    least = floor(SHAPE, positions, flops, dtype, softmaxes)
    low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75))
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "positions": positions,
        "step_s": {"median": round(float(median), 3), "quartiles": [round(float(low), 3), round(float(high), 3)]},
        "positions_s": round(positions / float(median)),
        "gflops_s": round(flops / float(median) / 1e9, 1),
        "gemm_share": round(least / float(median), 3),
        "first_step_s": round(first, 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def _stepper(lengths: np.ndarray, dtype: torch.dtype) -> Callable[[], None]:
    """One training step, compiled, on symbols that stay the same."""
    generator = torch.Generator().manual_seed(0)
    vocab = Vocab((TOKENS,))
    model = Transformer(SHAPE, vocab.size, dtype)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    raw, tokens = int(RAW_LENGTHS.sum()), int(TOKEN_LENGTHS.sum())
    symbols_N = torch.cat(
        (
            torch.randint(FIRST_BYTE, FIRST_SYMBOL, (raw,), generator=generator),
            torch.randint(FIRST_SYMBOL, vocab.size, (tokens,), generator=generator),
        )
    )
    representations_N = (torch.arange(raw + tokens) >= raw).long()
    targets_N = symbols_N.roll(-1)
    targets_N[np.cumsum(lengths) - 1] = -1
    shown = Positions(symbols_N, targets_N, representations_N)
    compiler.prepare(model, True, len(symbols_N), torch.device("cpu"))
    (optimizer,) = Update(model, OptimConfig("adamw")).optimizers

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        entries = targets_of(model.config, shown, vocab, Objective(), 0.0)
        found = model(Batch(shown.symbols_N, layout_of(lengths), entries))
        (found.total / (targets_N >= 0).sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def _seconds(step: Callable[[], None]) -> float:
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin
