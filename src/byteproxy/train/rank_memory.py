"""The memory that one of a run's processes needs, measured without its machines.

The model that a run trains is built, sharded and given a step's micro-batches, forward and back, beside its moments, as
the run would do it, on torch's fake tensors, which have shapes and no memory; a fake process group answers for the
other ranks. Torch's tracker adds up what is alive meanwhile, and the peak is the figure. 14 billion parameters on 64
ranks take some ten seconds of one core, and no memory to speak of.

What is measured are tensors: not what an allocator can't use, nor buffers of communication, nor the driver's own. A
card's `MARGIN` is for these. Blocks are run uncompiled, and compiled ones keep less. What is distilled, and hints, are
left out.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed._tools.mem_tracker import MemTracker
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.checkpoint import set_checkpoint_early_stop

from byteproxy.errors import InputError
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.device_kind import planned_for
from byteproxy.model.embedding import ByteExpansion
from byteproxy.model.linear import Norm
from byteproxy.model.model_config import Checkpointing
from byteproxy.model.network import Batch, Transformer
from byteproxy.model.targets import Positions, targets_of
from byteproxy.train.bfloat16_states import Bfloat16AdamW
from byteproxy.train.cards import Card
from byteproxy.train.memory import amount, rank_bytes
from byteproxy.train.muon import Muon
from byteproxy.train.optim import Update
from byteproxy.train.sharding import spread
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import model_of
from byteproxy.vocab import FIRST_SYMBOL, RAW, SPECIALS, Vocab

MARGIN = 0.1
"""Share of a card's memory that is left free of tensors."""
_BYTES_PER_SYMBOL = 3  # of the assumed text, where positions are expanded to bytes
_CLEARLY_TOO_MUCH = 1.25  # of what there is: counted, not measured, so that most of what can't fit costs nothing


@dataclass(frozen=True)
class RankMemory:
    """Bytes of tensors that a rank has at the peak of a step.

    weights, gradients, moments: its part of them after a step. other: what is more at the peak: what is kept for
    the backward pass, whole blocks and their gradients, gradients that wait for the last micro-batch, temporaries.
    """

    peak: int
    weights: int
    gradients: int
    moments: int
    other: int


class Fit(NamedTuple):
    """How a run fits onto a card. passes: micro-batches of a step that a rank takes."""

    micro_sequences: int
    passes: int
    activation_checkpointing: Checkpointing
    memory: RankMemory


def room_on(card: Card) -> int:
    """Bytes of a card that tensors may take."""
    return int(card.memory * (1 - MARGIN))


def fit_on(config: TrainConfig, vocab: Vocab, ranks: int, card: Card) -> Fit:
    """The micro-batch and the checkpointing with which a run fits onto cards, a rank on each.

    The least that is computed again is best, then the fewest passes: weights travel in each, and where a step has
    several, whole gradients wait for the last one. Raises InputError where nothing fits.
    """
    room, rows, least = room_on(card), rows_of_rank(config, ranks), 0
    for checkpointing in ("none", "attention", "full"):
        for micro in _halves(rows):
            tried = replace(config, micro_sequences=micro, activation_checkpointing=checkpointing)
            if rank_bytes(tried, vocab.size, ranks) > _CLEARLY_TOO_MUCH * room:
                continue
            memory = measured_memory(tried, vocab, ranks, "cuda")
            if memory.peak <= room:
                return Fit(micro, -(-rows // micro), checkpointing, memory)
            least = min(least or memory.peak, memory.peak)
    tightest = replace(config, micro_sequences=1, activation_checkpointing="full")
    needed = least or rank_bytes(tightest, vocab.size, ranks)
    raise InputError(
        f"the run needs {amount(needed)} on each of {ranks:,} ranks even with activation_checkpointing full, and "
        f"{card.name} has {amount(room)} for it, {100 * MARGIN:.0f} % left free: give more ranks or a larger card, or "
        "let optim.states be bfloat16"
    )


def rows_of_rank(config: TrainConfig, ranks: int) -> int:
    """Rows of a step that a rank has at most; InputError where some have none."""
    if not 1 <= ranks <= config.shape.sequences_per_step:
        raise InputError(
            f"ranks is {ranks}: give 1 to {config.shape.sequences_per_step}, the rows of a step "
            "(shape.sequences_per_step)"
        )
    return -(-config.shape.sequences_per_step // ranks)


def measured_memory(config: TrainConfig, vocab: Vocab, ranks: int, kind: str) -> RankMemory:
    """What a rank of a run needs whose model is spread over so many; of the first one, which has the most.

    config: with its steps and dtype said. kind: of device, such as "cuda".
    """
    rows = rows_of_rank(config, ranks)
    micro = min(config.micro_sequences or rows, rows)
    batch = example_batch(config, vocab, micro)
    with _fake_ranks(ranks) as mesh, planned_for(kind), FakeTensorMode(allow_non_fake_inputs=True):
        model = model_of(config, vocab.size)
        if kind == "cuda":
            _fuse_norms(model)
        if ranks > 1:
            spread(model, mesh)
        update = Update(model, config.optim, config.objective.heads_detached)
        update.prepare(config.steps - 1, config.steps)  # when all moves that ever does
        moments = _make_moments(update)
        tracker = FSDPMemTracker(model) if ranks > 1 else MemTracker()
        if isinstance(tracker, FSDPMemTracker):
            tracker.track_inputs(tuple(moments))
        else:
            tracker.track_external(model, *moments)
        passes = min(2, -(-rows // micro))  # a third has nothing that a second hasn't
        with tracker, set_checkpoint_early_stop(False):  # what is tracked is whole modules
            for number in range(passes):
                tracker.reset_mod_stats()
                if isinstance(model, FSDPModule):
                    model.set_requires_gradient_sync(number == passes - 1)
                model(batch).total.backward()
        parameters = list[torch.Tensor](model.parameters())
        gradients = [one.grad for one in parameters if one.grad is not None]
        held = _bytes(parameters), _bytes(gradients), _bytes(moments)
        peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    weights, summed, kept = held
    return RankMemory(peak, weights, summed, kept, peak - sum(held))


def example_batch(config: TrainConfig, vocab: Vocab, sequences: int) -> Batch:
    """Rows as a run has them, in turn of each representation, with documents as long as passages are."""
    length = config.shape.sequence_length
    lengths = _document_lengths(sequences, length, min(length, config.shape.context_bytes + 2))
    representation_D = np.arange(len(lengths)) % vocab.representations
    representations = np.repeat(representation_D, lengths)
    first = np.array([vocab.symbol_ids(number).start for number in range(vocab.representations)])
    symbols = torch.from_numpy(first[representations])
    ends = np.cumsum(lengths)
    targets = symbols.roll(-1)
    targets[torch.from_numpy(ends - 1)] = -1
    expansion = None
    if config.objective.needs_expansion(config.model):
        expanded = np.cumsum(np.where(representations == RAW, 1, _BYTES_PER_SYMBOL))
        segment_ends = np.repeat(expanded[ends - 1], lengths)
        ids = torch.full((int(expanded[-1]),), SPECIALS)
        expansion = ByteExpansion(ids, torch.from_numpy(expanded), torch.from_numpy(segment_ends))
    shown = Positions(symbols, targets, torch.from_numpy(representations), expansion)
    entries = targets_of(config.model, shown, vocab, config.objective, 0.0)
    read = symbols.clamp_max(FIRST_SYMBOL - 1) if config.model.composed else symbols
    return Batch(read, layout_of(lengths), entries, expansion)


def _document_lengths(rows: int, row: int, longest: int) -> np.ndarray:
    """Rows of as many of the longest documents as fit, and one of what is left."""
    rest = [row % longest] if row % longest else []
    return np.array(([longest] * (row // longest) + rest) * rows)


@contextmanager
def _fake_ranks(ranks: int) -> Iterator[DeviceMesh]:
    """While entered, this process is the first of so many ranks, of which no other is there."""
    if dist.is_initialized():
        raise InputError("a plan is made by one process: start it without torchrun")
    shown_by = sys.excepthook  # which torch wraps anew each time
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    try:
        yield init_device_mesh("cpu", (ranks,))
    finally:
        dist.destroy_process_group()
        sys.excepthook = shown_by


def _fuse_norms(model: Transformer) -> None:
    """Let norms keep what the one kernel keeps that CUDA has for them; the CPU has several, which keep more."""
    for norm in model.modules():
        if isinstance(norm, Norm):
            norm.forward = partial(_fused_norm, norm)  # type: ignore[method-assign]


def _fused_norm(norm: Norm, x_ND: torch.Tensor) -> torch.Tensor:
    normed_ND: torch.Tensor = _FusedNorm.apply(x_ND, norm.weight.to(x_ND.dtype))
    return normed_ND


class _FusedNorm(torch.autograd.Function):
    """The memory of a norm, and none of its numbers."""

    @staticmethod
    def forward(ctx: Any, x_ND: torch.Tensor, weight_D: torch.Tensor) -> torch.Tensor:
        scale_N1 = torch.empty_like(x_ND[..., :1], dtype=torch.float32)
        ctx.save_for_backward(x_ND, weight_D, scale_N1)
        return torch.empty_like(x_ND)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, torch.Tensor]:
        x_ND, weight_D, _ = ctx.saved_tensors
        return torch.empty_like(x_ND), torch.empty_like(weight_D)


def _make_moments(update: Update) -> list[torch.Tensor]:
    """The moments that optimizers have after a step; steps themselves need no memory to speak of."""
    found = list[torch.Tensor]()
    for optimizer in update.optimizers:
        number = 1 if isinstance(optimizer, Muon) else 2
        dtype = torch.bfloat16 if isinstance(optimizer, Bfloat16AdamW) else torch.float32
        for group in optimizer.param_groups:
            moved = [_own(parameter) for parameter in group["params"] if parameter.requires_grad]
            found += [torch.zeros_like(own, dtype=dtype) for own in moved for _ in range(number)]
    return found


def _bytes(tensors: list[torch.Tensor]) -> int:
    return sum(_own(one).nbytes for one in tensors)


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """What this rank has of a tensor."""
    return tensor.to_local().detach() if isinstance(tensor, DTensor) else tensor.detach()


def _halves(rows: int) -> list[int]:
    """All, half, a quarter and so on down to 1, rounded up."""
    found = [rows]
    while found[-1] > 1:
        found.append(-(-found[-1] // 2))
    return found
