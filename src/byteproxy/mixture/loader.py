"""From a plan to rows of symbols: copies just the planned stretches out of the memory-mapped store.

`Stream` is the training data of a run: a pure function of (manifest, mixture, seed), one step at a time. Copying costs
one read and one write a byte, a few pieces a row, without a per-symbol step in Python.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from byteproxy.errors import InputError
from byteproxy.mixture import planner
from byteproxy.mixture.planner import Plan, State
from byteproxy.mixture.schedule import Mixture
from byteproxy.store.store import Store
from byteproxy.vocab import EOS, Vocab, closing, opening

NO_TARGET = -1


class Rows(NamedTuple):
    """One optimizer step's symbols; all arrays have one entry per position, rows laid end to end.

    symbols: int64 [N], N = rows x length.
    targets: int64 [N], the next symbol of the same document, or NO_TARGET.
    representations: int8 [N], that of the last opening sentinel, itself included.
    lengths: int64 [documents], positions of each document in order; they sum to N. No document crosses a row.
    """

    symbols: np.ndarray
    targets: np.ndarray
    representations: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True)
class Shape:
    """The shape of one optimizer step.

    rows: rows in a step.
    length: positions in a row; attention never crosses one.
    passage_bytes: longest passage; it bounds what one draw takes of a step, and is the context in bytes of text.
    """

    rows: int = 2
    length: int = 2048
    passage_bytes: int = 512

    def __post_init__(self) -> None:
        for name in ("rows", "length", "passage_bytes"):
            if getattr(self, name) < 1:
                raise InputError(f"shape.{name} is {getattr(self, name)}: give at least 1")
        if self.length < 8:
            raise InputError(f"shape.length is {self.length}: give at least 8 positions")

    @property
    def positions(self) -> int:
        """Positions in one optimizer step."""
        return self.rows * self.length


class Stream:
    """The rows of a run, step by step, from any state."""

    def __init__(self, store: Store, view: str | None, mixture: Mixture, shape: Shape, seed: int, steps: int) -> None:
        """Open the train side of a store for a run of `steps` optimizer steps.

        view: name of the compressed view; None only if the mixture never shows one.
        Raises InputError if the mixture needs a view that is not given, or if there is no text to train on.
        """
        if mixture.needs_view and view is None:
            raise InputError("the mixture shows compressed segments, but no view is named: name one of the store's")
        views = () if view is None else (view,)
        self.passages = store.passages("train", views, shape.passage_bytes)
        if len(self.passages.shard) == 0:
            raise InputError("the train side holds no text: add documents or change the split")
        self.mixture, self.shape, self.seed, self.steps = mixture, shape, seed, steps
        self.vocab = Vocab(tuple(store.manifest.view(name).alphabet_size for name in views))
        byte_count = self.passages.byte_end - self.passages.byte_start
        symbol_count = self.passages.symbol_end - self.passages.symbol_start
        self._counts = np.concatenate([byte_count[None], symbol_count]).astype(np.int64)
        self._starts = np.concatenate([self.passages.byte_start[None], self.passages.symbol_start]).astype(np.int64)
        shards = store.shards("train")
        self._buffers = [{shard: store.text_buffer(shard) for shard in shards}]
        self._buffers += [{shard: store.symbol_buffer(name, shard) for shard in shards} for name in views]

    def plan(self, state: State) -> tuple[Plan, State]:
        """The plan of the step at `state`, and the state after it."""
        return planner.plan(
            self.mixture, self.steps, self._counts, self.shape.rows, self.shape.length, self.seed, state
        )

    def plans(self) -> Iterator[Plan]:
        """The plans of the whole run, from its first step to its last."""
        state = State()
        while state.step < self.steps:
            plan, state = self.plan(state)
            yield plan

    def rows(self, plan: Plan) -> Rows:
        """The symbols of a plan."""
        n = self.shape.positions
        symbols = np.empty(n, np.int64)
        representations = np.empty(n, np.int8)
        for piece in plan.pieces.tolist():
            row, at, _, passage, representation, begin, end, closed, ended = piece
            at += row * self.shape.length
            start = self._starts[representation, passage]
            content = self._buffers[representation][self.passages.shard[passage]][start + begin : start + end]
            first = at
            symbols[at] = opening(representation)
            at += 1
            np.add(content, self.vocab.first_id(representation), out=symbols[at : at + end - begin], casting="unsafe")
            at += end - begin
            if closed:
                symbols[at] = closing(representation)
                at += 1
            if ended:
                symbols[at] = EOS
                at += 1
            representations[first:at] = representation
        targets = np.empty(n, np.int64)
        targets[:-1] = symbols[1:]
        targets[np.cumsum(plan.lengths) - 1] = NO_TARGET
        return Rows(symbols, targets, representations, plan.lengths)

    def text_bytes(self, plan: Plan) -> np.ndarray:
        """Bytes of text shown in each representation in this step, int64 [2].

        A passage shown twice counts twice. Of a compressed segment cut by the end of a row, each part counts for its
        share of the symbols, rounded so that the parts sum to the whole.
        """
        p = plan.pieces
        passage = p[:, planner.PASSAGE]
        whole = self._counts[0, passage]
        symbols = self._counts[np.minimum(p[:, planner.REPRESENTATION], len(self._counts) - 1), passage]
        shown = whole * p[:, planner.TO] // symbols - whole * p[:, planner.FROM] // symbols
        return np.bincount(p[:, planner.REPRESENTATION], weights=shown, minlength=2).astype(np.int64)
