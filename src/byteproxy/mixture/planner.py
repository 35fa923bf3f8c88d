"""Plan one optimizer step: which piece of which passage goes where. Only lengths are needed.

Draws (see `draws`) are laid out as documents, `<raw> bytes </raw> eos`, `<compressed> symbols </compressed> eos`, or
several segments before one eos, and documents are packed into rows:

- `fill` lays them end to end without padding. If a row ends inside a segment, the next row opens with the segment's
  sentinel again and goes on with the next symbol, as a document of its own. If only closing symbols are left, they are
  dropped. So every symbol of a draw is a target exactly once. The price is two to four positions per document, one
  position per cut, and at a cut the context before it.
- `whole` (see `packing`) cuts nothing, and leaves positions empty.

The plan of a step is a function of (table of passages, mixture, seed, state). The state between two steps is a few
integers: which draw comes next or is open, what of it is done, and how many passages each source has given. Cost: a
quarter of a microsecond per draw; no text is touched.
"""

from typing import NamedTuple

import numpy as np

from byteproxy.errors import InputError
from byteproxy.jit import nb
from byteproxy.mixture.draws import (
    COMPRESSED_FIRST,
    NOTHING,
    ONE,
    PAIR,
    PARALLEL,
    PLAIN,
    RANDOM,
    RAW_FIRST,
    SWITCH,
    StepSampling,
    content_of,
    kind_of,
    opened,
    passage_of,
    representation_of,
    segments_of,
    source_of,
)
from byteproxy.mixture.packing import packed
from byteproxy.mixture.probabilities import Lengths, draw_probabilities
from byteproxy.mixture.row_pieces import (
    CLOSED,
    COLUMNS,
    DOCUMENT,
    ENDED,
    FROM,
    PASSAGE,
    REPRESENTATION,
    TO,
    written,
)
from byteproxy.mixture.schedule import Mixture, Mode, StepSettings, settings_at
from byteproxy.store.passage_index import KEY, PLACE_BITS, Table

_ORDERS = {"random": RANDOM, "raw_first": RAW_FIRST, "compressed_first": COMPRESSED_FIRST}


class State(NamedTuple):
    """The state of the stream between two steps, from which it can resume.

    draw: the one that is open, or the next. kind: of the open draw, NOTHING where none is.
    representation, segment, done: of the open segment, its number in the draw and how many of its symbols are laid out;
        its representation is NOTHING where that is still to be decided.
    drawn: passages that each source has given, the open one's included; empty at the very start.
    """

    step: int = 0
    draw: int = 0
    kind: int = NOTHING
    representation: int = 0
    segment: int = 0
    done: int = 0
    drawn: tuple[int, ...] = ()


class Plan(NamedTuple):
    """The plan of one optimizer step, without its text.

    pieces: int64 [pieces, 10], columns as in `row_pieces`, in the order of rows and positions.
    lengths: int64 [documents], positions of each document in order, an empty stretch being one; they sum to all.
    settings: the rate and mode that the schedule asks for.
    segments: int64 [R], segments begun in this step, by representation.
    padding: positions that hold nothing.
    """

    step: int
    pieces: np.ndarray
    lengths: np.ndarray
    settings: StepSettings
    segments: np.ndarray
    padding: int

    @property
    def rate(self) -> float:
        """The share of what is compressed that the schedule asks for."""
        return self.settings.rate

    @property
    def positions(self) -> np.ndarray:
        """Positions by representation, int64 [R]; sentinels and eos count as what they open and close."""
        p = self.pieces
        return self._by_representation(1 + p[:, TO] - p[:, FROM] + p[:, CLOSED] + p[:, ENDED])

    @property
    def targets(self) -> np.ndarray:
        """Targets by representation, int64 [R]: positions whose next symbol is in the same document.

        A position's representation is that of the last opening sentinel, itself included.
        """
        p = self.pieces
        followed = np.zeros(len(p), np.int64)
        followed[:-1] = p[1:, DOCUMENT] == p[:-1, DOCUMENT]  # a segment also predicts the sentinel of the next
        return self._by_representation(p[:, TO] - p[:, FROM] + p[:, CLOSED] + p[:, ENDED] + followed)

    def largest_document(self, table: Table) -> float:
        """The share of the step's positions that the passages of one corpus document take, for the one with most."""
        p = self.pieces
        document = p[:, PASSAGE] - (table.rows[p[:, PASSAGE], KEY] & ((1 << PLACE_BITS) - 1))
        _, which = np.unique(document, return_inverse=True)
        positions = np.bincount(which, weights=1 + p[:, TO] - p[:, FROM] + p[:, CLOSED] + p[:, ENDED])
        return float(positions.max()) / int(self.lengths.sum())

    def _by_representation(self, counts: np.ndarray) -> np.ndarray:
        summed = np.bincount(self.pieces[:, REPRESENTATION], weights=counts, minlength=len(self.segments))
        return summed.astype(np.int64)


class Planner:
    """Plans the steps of a run of `steps` optimizer steps, from any state."""

    def __init__(
        self,
        mixture: Mixture,
        steps: int,
        table: Table,
        weights: list[float],
        view_weights: list[float],
        rows: int,
        length: int,
        seed: int,
        views: tuple[str, ...] = (),
    ) -> None:
        """weights: of each source of the table, and view_weights: of each of its views; not all 0.

        views: their names, for phases that show one of them.

        A source without passages is never drawn.
        """
        self.mixture, self.steps, self.table, self.rows, self.length = mixture, steps, table, rows, length
        sources = list(table.summary.sources)
        shares = np.array([weight * one.passages for weight, one in zip(weights, sources, strict=True)], np.float64)
        self.source_cdf = np.cumsum(shares / shares.sum())
        weights_of_views = np.array(view_weights, np.float64)
        self.view_shares = {"": weights_of_views / max(weights_of_views.sum(), 1e-300)}
        self.view_shares |= dict(zip(views, np.eye(len(views)), strict=True))
        self.first = np.array([one.first for one in sources], np.int64)
        self.size = np.array([one.passages for one in sources], np.int64)
        self.seed = np.uint64(seed)
        self.lengths = {
            view: _mean_lengths(table, shares / shares.sum(), own, mixture.passages)
            for view, own in self.view_shares.items()
        }

    def plan(self, state: State) -> tuple[Plan, State]:
        """The plan of the step that `state` stands at, and the state after it.

        Raises InputError where the table was altered while it is used.
        """
        try:
            return self._plan(state)
        except ValueError as error:
            raise InputError(f"{error}: delete the corpus's folder .passages, and it is made again") from error

    def _plan(self, state: State) -> tuple[Plan, State]:
        settings = settings_at(self.mixture, state.step, self.steps)
        sampling = self._sampling(settings)
        drawn = np.array(state.drawn or [0] * len(self.first), np.int64)
        if self.mixture.packing == "whole":
            pieces, lengths, segments, padding, draw = packed(sampling, self.rows, self.length, state.draw, drawn)
            kind, representation, segment, done = NOTHING, 0, 0, 0
        else:
            pieces, lengths, segments, draw, kind, representation, segment, done = _filled(
                sampling,
                self.rows,
                self.length,
                state.draw,
                state.kind,
                state.representation,
                state.segment,
                state.done,
                drawn,
            )
            padding = 0
        after = State(
            step=state.step + 1,
            draw=int(draw),
            kind=int(kind),
            representation=int(representation),
            segment=int(segment),
            done=int(done),
            drawn=tuple(drawn.tolist()),
        )
        return Plan(state.step, pieces, lengths, settings, segments, int(padding)), after

    def _sampling(self, settings: StepSettings) -> StepSampling:
        raw_only, compressed_only, _ = draw_probabilities(settings, self.mixture.count, self.lengths[settings.view])
        view_shares = self.view_shares[settings.view]
        kinds: dict[Mode, int] = {"plain": PLAIN, "switch": SWITCH}
        return StepSampling(
            table=self.table.rows,
            first=self.first,
            size=self.size,
            source_cdf=self.source_cdf,
            view_cdf=np.cumsum(view_shares) if len(view_shares) else np.ones(1),
            seed=self.seed,
            kind=kinds.get(settings.mode, ONE),
            both=PARALLEL if settings.mode == "parallel" else PAIR,
            order=_ORDERS[settings.order],
            raw_only=raw_only,
            compressed_only=compressed_only,
            chain=self.mixture.passages,
        )


def _mean_lengths(table: Table, shares: np.ndarray, view_shares: np.ndarray, chain: int) -> Lengths:
    """What a draw shows on average.

    Averaged over offsets, a document's first passage begins a chain, and of the others one in `chain`.
    """
    means, chains = np.zeros(len(table.summary.most)), 0.0
    for share, one in zip(shares, table.summary.sources, strict=True):
        if one.passages:
            means += share * np.array(one.sums) / one.passages
            chains += share * (one.documents + (one.passages - one.documents) / chain) / one.passages
    return Lengths(float(means[0]), float(means[1:] @ view_shares), chains)


@nb.njit(cache=True)
def _filled(sampling, rows, length, draw, kind, representation, segment, done, drawn):  # type: ignore[no-untyped-def]
    pieces = np.empty((rows * length, COLUMNS), np.int64)
    lengths = np.empty(rows * length, np.int64)
    begun = np.zeros((sampling.table.shape[1] - 1) // 2, np.int64)
    count = document = 0
    source, passage, segments, before = 0, 0, 0, 0
    if kind != NOTHING:
        source = source_of(sampling, draw)
        passage = passage_of(sampling, source, drawn[source] - 1)
        segments = segments_of(sampling, source, drawn[source] - 1, passage, kind)
    for row in range(rows):
        at = 0
        while at < length:
            if kind == NOTHING:
                draw, source, passage = opened(sampling, draw, drawn)
                kind, representation = kind_of(sampling, draw)
                segments = segments_of(sampling, source, drawn[source] - 1, passage, kind)
                segment = done = 0
            begin, ended = at, False
            while at < length and not ended:
                here = passage + segment if kind == SWITCH else passage
                if representation == NOTHING:
                    representation = representation_of(sampling, draw, kind, segment, before)
                content = content_of(sampling, here, representation)
                taken = min(content - done, length - at - 1)
                if done == 0 and taken > 0:
                    begun[representation] += 1
                whole, last = done + taken == content, segment == segments - 1
                room = length - at - 1 - taken
                closed = whole and kind != PLAIN and room >= 1
                ended = whole and (last or kind == PARALLEL)
                eos = ended and room - closed >= 1
                written(pieces[count], row, at, document, here, representation, kind, done, done + taken, closed, eos)
                count += 1
                at += 1 + taken + closed + eos
                done += taken
                if whole and last:
                    draw, kind = draw + 1, NOTHING
                elif whole:
                    # What comes next is decided where it begins, by the rate of that step.
                    before, segment, done = representation, segment + 1, 0
                    representation = NOTHING if kind == SWITCH else representation_of(sampling, draw, kind, 1, before)
            lengths[document] = at - begin
            document += 1
    if kind == NOTHING:
        representation = segment = done = 0
    return pieces[:count].copy(), lengths[:document].copy(), begun, draw, kind, representation, segment, done
