"""Turn a plan into rows of symbols, by copying the planned pieces out of the memory-mapped store.

`Stream` is the training data of a run: a pure function of (manifest, mixture, seed), one step at a time. Any rows of a
step can be made by themselves, so ranks, micro-batches and loader processes (see `batches`) divide a step as they like.
The copy is compiled: one read of 1 to 4 bytes and one write of 17 bytes per position, and a few instructions per piece.
A process maps only the shards that its own rows come from, when it first needs them.

In a *composed* stream a compressed position is a unit (a run of symbols up to one with a span), and all lengths count
units. In an *expanded* stream, rows also say which text each position stands for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from byteproxy.errors import InputError
from byteproxy.jit import nb
from byteproxy.mixture.both_forms import BothForms, both_forms
from byteproxy.mixture.expansion import ExpandedRows, expand_rows
from byteproxy.mixture.hints import NO_HINTS, HintedView, Hints, RowHints, hinted, hinted_view
from byteproxy.mixture.mapped import Mapped, bytes_at, uint16_at, uint32_at
from byteproxy.mixture.piece_content import stretches_of, unit_symbols
from byteproxy.mixture.planner import Plan, Planner, State
from byteproxy.mixture.row_pieces import AT, CLOSED, ENDED, FROM, OPENING, PASSAGE, REPRESENTATION, ROW, TO
from byteproxy.mixture.schedule import Mixture
from byteproxy.progress import Progress, silent
from byteproxy.ranges import Range, ensure_in_range, ranged
from byteproxy.store.manifest import Manifest
from byteproxy.store.passage_index import length_column
from byteproxy.store.store import Store
from byteproxy.vocab import EOS, PAD, Vocab, closing

NO_TARGET = -1
_STEPS, _SEEDS = (Range(least, (1 << 63) - 1, whole=True) for least in (1, 0))
_CLOSING_OF_RAW = closing(0)


class Rows(NamedTuple):
    """Rows of one optimizer step; all arrays have one entry per position, rows laid end to end.

    symbols: int64 [N], N = rows x length; PAD where nothing is. In a composed stream a unit is its last symbol.
    targets: int64 [N], the next symbol of the same document, or NO_TARGET.
    representations: int8 [N], that of the last opening symbol, itself included; 0 where nothing is.
    lengths: int64 [documents], positions of each document in order; they sum to N. No document crosses a row.
    expanded: what each position stands for; None unless the stream is expanded.
    both: raw positions whose passage is shown as symbols in the same row, too; None unless the stream finds them.
    hints: tokens that end at raw bytes; None where the step hints at none.
    """

    symbols: np.ndarray
    targets: np.ndarray
    representations: np.ndarray
    lengths: np.ndarray
    expanded: ExpandedRows | None = None
    both: BothForms | None = None
    hints: RowHints | None = None


@dataclass(frozen=True)
class Shape:
    """The shape of one optimizer step.

    sequences_per_step: rows in a step.
    sequence_length: positions in a row; attention never crosses one.
    context_bytes: longest passage; it bounds what one draw takes of a step, and is the context in bytes of text.
    """

    sequences_per_step: int = ranged(2, 1, 1 << 24)
    sequence_length: int = ranged(2048, 8, 1 << 24)
    context_bytes: int = ranged(512, 1, 1 << 30)

    def __post_init__(self) -> None:
        ensure_in_range(self, "shape.")

    @property
    def positions(self) -> int:
        """Positions in one optimizer step."""
        return self.sequences_per_step * self.sequence_length


class Stream:
    """The rows of a run, step by step, from any state. Can be pickled: the copy opens the store again."""

    def __init__(
        self,
        store: Store,
        views: tuple[str, ...],
        mixture: Mixture,
        shape: Shape,
        seed: int,
        steps: int,
        progress: Progress = silent,
        *,
        composed: bool = False,
        expanded: bool = False,
        both: bool = False,
        hints: Hints = NO_HINTS,
    ) -> None:
        """Open the train split of a store for a run of `steps` optimizer steps.

        views: names of the compressed views, representations 1 and up; none only if the mixture never shows one.
        progress: passages of the table, which is made the first time that a store is used with these views.
        composed: let a compressed position be a unit: a run of symbols up to and including one with a span above 0.
        expanded: let rows say which text their positions stand for, too.
        both: let rows say which raw positions belong to which symbols, where they show both; of an expanded stream.
        hints: which tokens rows hint at beside raw bytes, and in how many passages.
        Raises InputError if the mixture and the store don't fit together, or if there is no text to train on.
        """
        for name, number, allowed in (("steps", steps, _STEPS), ("seed", seed, _SEEDS)):
            if not allowed.holds(number):
                raise InputError(f"{name} is {number!r}: give {allowed}")
        if mixture.needs_view and not views:
            raise InputError("the mixture shows compressed segments, but no view is named: name one of the store's")
        if twice := next((name for name in views if views.count(name) > 1), None):
            raise InputError(f"views names {twice} more than once: each view is shown as one representation")
        self.store, self.views, self.mixture, self.shape = store, views, mixture, shape
        self.seed, self.steps = seed, steps
        self.composed, self.expanded, self.both, self.hints = composed, expanded, both, hints
        self.table = store.table("train", views, shape.context_bytes, progress, units=composed)
        self.vocab = Vocab(tuple(store.manifest.view(name).alphabet_size for name in views))
        own = {name: source.weight for name, source in store.manifest.sources.items()}
        self.source_weights = _weights("source_weights", own, mixture.source_weights)
        view_weights = _weights("view_weights", dict.fromkeys(views, 1.0), mixture.view_weights)
        passages = {one.name: one.passages for one in self.table.summary.sources}
        if not any(self.source_weights[name] > 0 and count for name, count in passages.items()):
            raise InputError("the train split holds no text to draw: add documents, or change the split or the weights")
        if mixture.needs_view and not any(view_weights.values()):
            raise InputError("mixture.view_weights are all 0: give one above 0")
        for phase in mixture.schedule:
            if phase.view and phase.view not in views:
                known = ", ".join(views) or "none"
                raise InputError(f"mixture.phases: view is {phase.view!r}: name one of the run's views ({known})")
        _check_whole(mixture, shape, self.table.summary.most)
        self.planner = Planner(
            mixture,
            steps,
            self.table,
            [self.source_weights[name] for name in passages],
            list(view_weights.values()),
            shape.sequences_per_step,
            shape.sequence_length,
            seed,
            views,
        )
        self._mapped = Mapped(store, views, self.vocab, spans=composed or expanded)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        of = partial(Stream, composed=self.composed, expanded=self.expanded, both=self.both, hints=self.hints)
        return of, (self.store, self.views, self.mixture, self.shape, self.seed, self.steps)

    @cached_property
    def hinted_view(self) -> HintedView:
        """The view that rows hint at; InputError where its symbols are no text, or it is none of the run's."""
        representation = self.hints.representation(self.views)
        return hinted_view(self.store.view(self.views[representation - 1]), self.vocab.first_id(representation))

    def plan(self, state: State) -> tuple[Plan, State]:
        """The plan of the step at `state`, and the state after it."""
        return self.planner.plan(state)

    def plans(self) -> Iterator[Plan]:
        """The plans of the whole run, from its first step to its last."""
        state = State()
        while state.step < self.steps:
            plan, state = self.plan(state)
            yield plan

    def rows(self, plan: Plan, first: int = 0, last: int | None = None) -> Rows:
        """Rows `first` up to `last` (all, if it is None) of a plan, as symbols."""
        last = self.shape.sequences_per_step if last is None else last
        length = self.shape.sequence_length
        begin, end = np.searchsorted(plan.pieces[:, ROW], (first, last))
        pieces = plan.pieces[begin:end]
        starts, item_bytes = self._mapped.checked(pieces, self.table.rows), self._mapped.item_bytes
        expanded = both = None
        if self.composed or self.expanded:
            stretches = stretches_of(self._mapped, pieces, self.table.rows, self.composed)
            if self.expanded:
                expanded = expand_rows(pieces, stretches, first, last - first, length, self.composed)
                if self.both:
                    both = both_forms(pieces, stretches.text, stretches.text_bytes, expanded.ends, first, length)
            if self.composed:
                # The first keeps alive what `starts` point to.
                _units, starts, item_bytes = unit_symbols(pieces, stretches, self.vocab.representations)
        ends = np.cumsum(plan.lengths)
        here, there = np.searchsorted(ends, (first * length, last * length), side="right")
        symbols = np.empty((last - first) * length, np.int64)
        targets = np.empty(len(symbols), np.int64)
        representations = np.empty(len(symbols), np.int8)
        _copy(pieces, starts, item_bytes, self._mapped.first_ids, first, length, symbols, representations)
        lengths = plan.lengths[here:there]
        _next_symbol_targets(symbols, lengths, targets)
        hints = None
        if scale := self.hints.scale_at(plan.step / self.steps):
            how = first, length, self.hints.share, self.seed, plan.step
            hints = RowHints(hinted(self.hinted_view, symbols, pieces, *how), scale)
        return Rows(symbols, targets, representations, lengths, expanded, both, hints)

    def text_bytes(self, plan: Plan) -> np.ndarray:
        """Bytes of text shown in each representation in this step, int64 [R].

        A passage shown twice counts twice. Of a compressed segment cut by the end of a row, each part counts for its
        share of the symbols (or units), rounded so that the parts sum to the whole.
        """
        p = plan.pieces
        rows = self.table.rows[p[:, PASSAGE]]
        whole = rows[:, length_column(0)]
        symbols = np.take_along_axis(rows, length_column(0) + 2 * p[:, REPRESENTATION, None], axis=1)[:, 0]
        shown = whole * p[:, TO] // symbols - whole * p[:, FROM] // symbols
        counts = np.bincount(p[:, REPRESENTATION], weights=shown, minlength=self.vocab.representations)
        return counts.astype(np.int64)

    def epochs(self, state: State) -> dict[str, float]:
        """How many epochs of each source a state has seen."""
        sources = self.table.summary.sources
        drawn = state.drawn or (0,) * len(sources)
        return {one.name: count / max(1, one.passages) for one, count in zip(sources, drawn, strict=True)}


def first_view(mixture: Mixture, manifest: Manifest) -> tuple[str, ...]:
    """The view to show where none is named: the first aligned one of the corpus; none if none is shown.

    Raises InputError where the corpus has none.
    """
    if not mixture.needs_view:
        return ()
    if manifest.cutting_view is None:
        raise InputError(
            "the mixture shows compressed segments, and the corpus has no aligned view: add one with "
            "`byteproxy prepare ... --view bpe:4096`, or take a mixture of raw bytes, such as the preset bytes"
        )
    return (manifest.cutting_view.name,)


def _weights(field: str, own: dict[str, float], asked: dict[str, float]) -> dict[str, float]:
    for name in asked:
        if name not in own:
            there = ", ".join(own) or "none"
            raise InputError(f"mixture.{field} names {name!r}, which isn't there (there are: {there})")
    return own | asked


def _check_whole(mixture: Mixture, shape: Shape, most: tuple[int, ...]) -> None:
    """Packing without cuts needs rows that the longest document fits into."""
    if mixture.packing != "whole":
        return
    longest = 0
    for phase in mixture.schedule:
        segments = mixture.passages if phase.mode == "switch" else 1
        longest = max(longest, segments * (max(most) + 2) + 1)
        if phase.mode in ("pairs", "parallel"):
            longest = max(longest, most[0] + max(most[1:], default=0) + 6)
    if longest > shape.sequence_length:
        raise InputError(
            f"mixture.packing is whole, but a document may take {longest} positions and shape.sequence_length is "
            f"{shape.sequence_length}: lower shape.context_bytes (or mixture.passages, in mode switch), or give longer "
            "rows"
        )


@nb.njit(cache=True)
def _copy(pieces, starts, item_bytes, first_ids, first_row, length, symbols, representations):  # type: ignore[no-untyped-def]
    """Fill in symbols and representations of the pieces' rows, and PAD between them."""
    filled = 0
    for number in range(len(pieces)):
        piece = pieces[number]
        representation, count = piece[REPRESENTATION], piece[TO] - piece[FROM]
        at = (piece[ROW] - first_row) * length + piece[AT]
        symbols[filled:at] = PAD
        representations[filled:at] = 0
        begin = at
        symbols[at] = piece[OPENING]
        at += 1
        first, address = first_ids[representation], np.int64(starts[number])
        if item_bytes[representation] == 1:
            content = bytes_at(address)
            for place in range(count):
                symbols[at + place] = np.int64(content[place]) + first
        elif item_bytes[representation] == 2:
            wide = uint16_at(address)
            for place in range(count):
                symbols[at + place] = np.int64(wide[place]) + first
        else:
            widest = uint32_at(address)
            for place in range(count):
                symbols[at + place] = np.int64(widest[place]) + first
        at += count
        if piece[CLOSED]:
            symbols[at] = _CLOSING_OF_RAW + 2 * representation
            at += 1
        if piece[ENDED]:
            symbols[at] = EOS
            at += 1
        representations[begin:at] = representation
        filled = at
    symbols[filled:] = PAD
    representations[filled:] = 0


@nb.njit(cache=True)
def _next_symbol_targets(symbols, lengths, targets):  # type: ignore[no-untyped-def]
    """Targets: the next symbol, but at the end of a document and in empty stretches none."""
    at = 0
    for length in lengths:
        empty = symbols[at] == PAD
        for place in range(at, at + length - 1):
            targets[place] = NO_TARGET if empty else symbols[place + 1]
        at += length
        targets[at - 1] = NO_TARGET
