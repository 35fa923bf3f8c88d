"""A run's rows as batches: for our trainer, for others, for any number of ranks and loader processes.

Every optimizer step is one global sequence of R rows. Rank r of W gets rows R r / W to R (r + 1) / W, in micro-batches
of at most `micro_sequences`. Every rank gets the same number of batches: a rank without rows left gets an empty one, so
all ranks take part in every collective. Each loader process plans all steps, which costs next to nothing, and copies
the rows of its own turns only. The stream is therefore the same for any number of ranks, micro-batches and processes,
and a run may resume with other numbers of each; the state that a batch carries is all it needs.

`Batches` is a plain iterator over numpy arrays. `BatchDataset` is the same for `torch.utils.data.DataLoader`;
docs/other_trainers.md has an example.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from byteproxy.errors import InputError
from byteproxy.mixture.loader import NO_TARGET, Stream
from byteproxy.mixture.planner import State

IGNORED = -100
"""The label that transformers and torch take as none."""


class Batch(NamedTuple):
    """Some rows of one optimizer step, B x T: rows x positions.

    step: of the run, from 0. micro: which micro-batch of its step. last: whether it is the step's last.
    first_row: where in the step its rows stand.
    symbols, targets: int64 [B, T]; PAD and NO_TARGET (-1) where there is none.
    representations: int8 [B, T].
    documents: int32 [B, T], numbers from 0 in each row; attention and positions stay inside.
    step_targets: targets of the whole step, on all ranks: what its summed loss is divided by.
    following: the state to go on from after this step.
    """

    step: int
    micro: int
    last: bool
    first_row: int
    symbols: np.ndarray
    targets: np.ndarray
    representations: np.ndarray
    documents: np.ndarray
    step_targets: int
    following: State

    @property
    def positions(self) -> np.ndarray:
        """Positions within documents, int64 [B, T], from 0."""
        place = np.arange(self.documents.shape[1])
        begins = np.diff(self.documents, axis=1, prepend=-1) != 0
        return place - np.maximum.accumulate(np.where(begins, place, 0), axis=1)


@dataclass(frozen=True)
class Part:
    """Rank `rank` of `ranks`, in micro-batches of at most `micro_sequences` rows (None: all of a step's)."""

    rank: int = 0
    ranks: int = 1
    micro_sequences: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.ranks:
            raise InputError(f"rank is {self.rank} of {self.ranks}: give 0 to {self.ranks - 1}")
        if self.micro_sequences is not None and self.micro_sequences < 1:
            raise InputError(f"micro_sequences is {self.micro_sequences}: give at least 1")

    def micro_batches(self, rows: int) -> list[tuple[int, int]]:
        """First and last row (exclusive) of each micro-batch of a step; empty ones at the end of what the rank has."""
        first, last = rows * self.rank // self.ranks, rows * (self.rank + 1) // self.ranks
        most = -(-rows // self.ranks)
        size = self.micro_sequences or most
        return [(min(at, last), min(at + size, last)) for at in range(first, first + most, size)]


class Batches:
    """The batches of one part of a run, from a state to the run's last step; each iteration begins there anew."""

    def __init__(self, stream: Stream, part: Part | None = None, state: State | None = None) -> None:
        self.stream, self.part, self.state = stream, part or Part(), state or State()

    @property
    def vocab_size(self) -> int:
        """Symbols of all representations together: rows of an embedding that reads them all."""
        return self.stream.vocab.size

    def __iter__(self) -> Iterator[Batch]:
        return self.turns(0, 1)

    def turns(self, worker: int, workers: int) -> Iterator[Batch]:
        """Every `workers`-th batch, from number `worker` on: what one of several loader processes makes."""
        state, number = self.state, 0
        spans = self.part.micro_batches(self.stream.shape.sequences_per_step)
        while state.step < self.stream.steps:
            plan, state = self.stream.plan(state)
            targets = int(plan.targets.sum())
            for micro, (first, last) in enumerate(spans):
                if number % workers == worker:
                    rows = self.stream.rows(plan, first, last)
                    shape = last - first, self.stream.shape.sequence_length
                    yield Batch(
                        step=plan.step,
                        micro=micro,
                        last=micro == len(spans) - 1,
                        first_row=first,
                        symbols=rows.symbols.reshape(shape),
                        targets=rows.targets.reshape(shape),
                        representations=rows.representations.reshape(shape),
                        documents=_numbers(rows.lengths, shape),
                        step_targets=targets,
                        following=state,
                    )
                number += 1


class BatchDataset(IterableDataset[dict[str, torch.Tensor]]):
    """Batches as tensors with the names of transformers. They are whole batches, so let `batch_size` be None.

    input_ids, labels, position_ids: int64 [B, T]. A label is the symbol at its own position, because models shift
    labels themselves; -100 where a document begins and where a row is empty. Positions begin at 0 with each document,
    by which transformers tells packed documents apart. Pickled into loader processes, each makes its own turns.
    """

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        info = get_worker_info()
        for batch in self.batches.turns(*((0, 1) if info is None else (info.id, info.num_workers))):
            labels = np.full_like(batch.symbols, IGNORED)
            aimed = batch.targets[:, :-1] != NO_TARGET
            labels[:, 1:][aimed] = batch.targets[:, :-1][aimed]
            yield {
                "input_ids": torch.from_numpy(batch.symbols),
                "labels": torch.from_numpy(labels),
                "position_ids": torch.from_numpy(batch.positions),
            }


def _numbers(lengths: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Document numbers from 0 in each row, int32 [B, T]."""
    rows, length = shape
    numbers = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths).reshape(rows, length)
    return numbers - numbers[:, :1]
