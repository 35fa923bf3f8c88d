"""What training costs: FLOPs by formula, and the matrix-product rate of the machine to hold them against.

A position costs 3 x (2 x parameters of the matrices it passes + 4 x width x keys it attends to in each layer + 2 x
width x rows of each softmax it uses): the products forward, and twice that again backward. Norms, rotations, tables and
the optimizer are left out, and so is work that an attention backend does beyond the keys attended (padding, masked
pairs, weights computed again): the formula prices the method, wall time is reported beside it. Agrees to 1 % with
torch's FlopCounterMode on plain matrix products. Of the heads beyond the first, a position near its segment's end is
priced in full, though the last of them have no target there. So are steps in which only new rows move
(`optim.new_rows_share`), which need no weight gradients of what waits: of three products of a matrix they make two.
Scaffolding, rows of tokens and tables of n-grams, is looked up and added, and so is no part of the formula either.
"""

import time

import numpy as np
import torch
import torch.nn.functional as F

from byteproxy.mixture.both_forms import shown_apart
from byteproxy.mixture.loader import Stream
from byteproxy.mixture.planner import Plan
from byteproxy.mixture.row_pieces import CLOSED, ENDED, FROM, REPRESENTATION, TO
from byteproxy.model.attention.packed import PackedAttention
from byteproxy.model.lora_config import ALL_TRAINED, LoraConfig
from byteproxy.model.model_config import Checkpointing, ModelConfig
from byteproxy.model.objective import Objective
from byteproxy.vocab import FIRST_SYMBOL, RAW, SPECIALS, Vocab

BRANCHES = 2.5
"""A symbol's, for a price: 2.1 with 4,096 symbols and 2.6 with 22,000, of Python text."""


def training_flops(config: ModelConfig, lengths: np.ndarray, logits: int) -> int:
    """FLOPs of forward and backward.

    lengths: of the documents, in positions.
    logits: that are computed: over all softmaxes, positions times rows.
    """
    ffn = 2 * int(lengths.sum()) * 3 * config.width * config.ffn
    return 3 * (config.layers * (PackedAttention.flops(config, lengths) + ffn) + 2 * config.width * logits)


def recomputed_flops(config: ModelConfig, lengths: np.ndarray, checkpointing: Checkpointing) -> int:
    """FLOPs that activation checkpointing adds to the formula's: layers forward once more, or their attention."""
    if checkpointing == "none":
        return 0
    if checkpointing == "attention":
        return config.layers * PackedAttention.flops(config, lengths)
    return training_flops(config, lengths, 0) // 3


def step_flops(
    config: ModelConfig, objective: Objective, stream: Stream, plan: Plan, lora: LoraConfig = ALL_TRAINED
) -> int:
    """FLOPs of training on one planned step of a stream; its text is counted only where that is needed."""
    compressed = int(stream.text_bytes(plan)[1:].sum()) if objective.symbol_bytes else None
    logits = plan_logits(config, objective, stream.vocab, plan, compressed)
    whole = training_flops(config, plan.lengths, logits) + distillation_flops(config, objective, stream.vocab, plan)
    return whole - lora_savings(config, objective, stream.vocab, plan, lora)


def plan_logits(
    config: ModelConfig, objective: Objective, vocab: Vocab, plan: Plan, compressed_bytes: int | None = None
) -> int:
    """Logits of one planned step: positions times rows, of each softmax that is used there.

    compressed_bytes: of text behind its compressed segments, each priced a softmax of its own where
        `objective.symbol_bytes` predicts them (those of a piece's first symbol too, which nothing predicts); needed for
        that only.
    """
    targets, p = plan.targets, plan.pieces
    within = p[:, TO] - p[:, FROM] + p[:, CLOSED] + p[:, ENDED]  # positions with a target in their own segment
    total = 0
    if objective.symbol_bytes:
        if compressed_bytes is None:
            raise ValueError("objective.symbol_bytes predicts each byte of compressed text: say how many there are")
        ends = p[p[:, REPRESENTATION] != RAW][:, [CLOSED, ENDED]]
        total += (compressed_bytes + int(ends.sum())) * FIRST_SYMBOL
    for representation in range(vocab.representations):
        count = int(targets[representation])
        here = int(within[p[:, REPRESENTATION] == representation].sum())
        bytes_ahead = here * FIRST_SYMBOL * (config.byte_heads - 1)
        rows = vocab.softmax_rows(representation)
        if representation == RAW:
            total += count * (vocab.size if config.softmax == "shared" else rows) + bytes_ahead
            continue
        if objective.symbols:
            total += count * (vocab.size if config.softmax == "shared" else rows)
            total += here * rows * (config.symbol_heads - 1)
        if objective.bag or objective.bytes:
            total += count * FIRST_SYMBOL
        if objective.bytes:
            total += bytes_ahead
    return total


def lora_savings(config: ModelConfig, objective: Objective, vocab: Vocab, plan: Plan, lora: LoraConfig) -> int:
    """FLOPs that one planned step saves by LoRA: one of three products of what stays as it is, less those of factors.

    It saves none where there are no factors. What stays are the layers' matrices and the softmax's rows of tokens.
    """
    if not lora.rank:
        return 0
    positions, staying = int(plan.lengths.sum()), 0
    for representation, count in enumerate(plan.targets.tolist()):
        if config.softmax == "shared":
            staying += int(count) * (vocab.size - FIRST_SYMBOL)
        elif representation != RAW and objective.symbols:
            staying += int(count) * (vocab.softmax_rows(representation) - SPECIALS)
    saved = positions * config.matrix_parameters + config.width * staying
    return 2 * (saved - 3 * positions * lora.factor_parameters(config))


def distillation_flops(config: ModelConfig, objective: Objective, vocab: Vocab, plan: Plan) -> int:
    """FLOPs of what one planned step distils: a second softmax of bytes, and teachers' passes, which are forward only.

    Priced is all that a row shows in both forms. A frozen teacher reads the symbols once more. Causal teachers'
    branches are read, too, and taken to be `BRANCHES` a symbol: how many there are depends on the text, and how many
    are light enough to be left out on the model.
    """
    if not objective.distill:
        return 0
    pieces = plan.pieces[shown_apart(plan.pieces)]
    counts, representation = pieces[:, TO] - pieces[:, FROM] + pieces[:, CLOSED], pieces[:, REPRESENTATION]
    branches = BRANCHES if objective.distill_form == "causal" else 0
    forward = 3 * int(counts[representation == RAW].sum()) * FIRST_SYMBOL
    for number in range(1, vocab.representations):
        forward += int((1 + branches) * int(counts[representation == number].sum()) * vocab.softmax_rows(number))
    read = training_flops(config, 1 + counts[representation != RAW], 0) // 3
    return 2 * config.width * forward + int((branches + objective.frozen_teacher) * read)


def matmul_rate(
    dtype: torch.dtype,
    shape: tuple[int, int, int] = (2048, 512, 512),
    seconds: float = 0.1,
    device: torch.device | str = "cpu",
) -> float:
    """FLOPs per second of this machine's own matrix product at [m, k] x [k, n]: the best of those in `seconds`.

    A product that takes longer than that is made once.
    """
    m, k, n = shape
    x, weight = torch.randn(m, k, dtype=dtype, device=device), torch.randn(n, k, dtype=dtype, device=device)
    _timed(x[:1], weight)  # what a library does once is no part of it
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        best = min(best, _timed(x, weight))
        if time.perf_counter() >= end:
            return 2 * m * k * n / best


def _timed(x: torch.Tensor, weight: torch.Tensor) -> float:
    start = time.perf_counter()
    F.linear(x, weight)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter() - start
