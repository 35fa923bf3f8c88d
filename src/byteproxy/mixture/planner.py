"""Which stretch of which passage goes where: one optimizer step's rows, planned from lengths alone.

Draw after draw is laid out as a document, `<raw> bytes </raw> eos`, `<compressed> symbols </compressed> eos`, or
both segments before one eos (a pair), and documents fill the rows one after the other without padding. Where a row ends
inside a segment, the next row opens with its sentinel again and goes on with the next symbol, as a document of
its own; of a document that lacks only its closing symbols, these are dropped. So every symbol of a draw is a target
exactly once. What it costs: two to four positions a document, one position a cut, and at a cut the context before
it (at most the passage, which is short against the row).

The plan of a step is a function of (passage lengths, mixture, seed, state), and the state is five integers. A few
microseconds a row; no text is touched. The data state between two steps says what comes next: the draw, its kind
(decided at the step in which it began), its segment and how much of that segment's content is done.
"""

from typing import NamedTuple

import numba as nb
import numpy as np

from byteproxy import coins
from byteproxy.mixture.schedule import (
    COMPRESSED_FIRST,
    COMPRESSED_ONLY,
    RAW_FIRST,
    RAW_ONLY,
    Mixture,
    at,
    shares,
)

# columns of a piece: a stretch of one segment in one row
ROW, AT, DOCUMENT, PASSAGE, REPRESENTATION, FROM, TO, CLOSED, ENDED = range(9)
COLUMNS = 9


class State(NamedTuple):
    """Where the stream stands between two steps: all that is needed to go on from there."""

    step: int = 0
    draw: int = 0
    kind: int = -1
    segment: int = 0
    done: int = 0


class Plan(NamedTuple):
    """One optimizer step, without its text.

    pieces: int64 [pieces, 9], the columns named above; content symbols FROM to TO of the passage in that
        representation stand after the sentinel at position AT of row ROW; DOCUMENT counts from 0 in the step.
    lengths: int64 [documents], positions of each document in order; they sum to rows x length.
    rate: the share of compressed segments that the schedule asks for.
    segments: int64 [2], raw and compressed segments begun in this step.
    """

    step: int
    pieces: np.ndarray
    lengths: np.ndarray
    rate: float
    segments: np.ndarray

    @property
    def targets(self) -> np.ndarray:
        """Targets per representation, int64 [2]: positions whose next symbol is in the same document.

        A position's representation is that of the last opening sentinel, itself included.
        """
        p = self.pieces
        targets = p[:, TO] - p[:, FROM] + p[:, CLOSED] + p[:, ENDED]
        followed = np.zeros(len(p), bool)
        followed[:-1] = p[1:, DOCUMENT] == p[:-1, DOCUMENT]  # a first segment also predicts the second's sentinel
        targets = targets + followed
        return np.bincount(p[:, REPRESENTATION], weights=targets, minlength=2).astype(np.int64)

    @property
    def keys_attended(self) -> int:
        """Keys that the positions attend to, summed: each sees its document up to itself."""
        return int((self.lengths * (self.lengths + 1) // 2).sum())


def plan(
    mixture: Mixture, steps: int, passages: np.ndarray, rows: int, length: int, seed: int, state: State
) -> tuple[Plan, State]:
    """Plan the step that `state` stands at, and say where the stream stands after it.

    passages: int64 [2, P], the bytes and the symbols of each passage (the second row is not read at rate 0).
    steps: of the whole run; the schedule is relative to it.
    """
    moment = at(mixture, state.step, steps)
    probabilities = shares(moment)
    pieces, documents, segments, draw, kind, segment, done = _fill(
        passages,
        rows,
        length,
        np.uint64(seed),
        probabilities.raw_only,
        probabilities.compressed_only,
        state.draw,
        state.kind,
        state.segment,
        state.done,
    )
    return (
        Plan(state.step, pieces, documents, moment.rate, segments),
        State(state.step + 1, int(draw), int(kind), int(segment), int(done)),
    )


@nb.njit(cache=True)
def _kind(seed: np.uint64, draw: int, raw_only: float, compressed_only: float) -> int:
    toss = coins.coin(seed, np.uint64(draw), coins.KIND)
    if toss < raw_only:
        return RAW_ONLY
    if toss < raw_only + compressed_only:
        return COMPRESSED_ONLY
    return RAW_FIRST if coins.coin(seed, np.uint64(draw), coins.ORDER) < 0.5 else COMPRESSED_FIRST


@nb.njit(cache=True)
def _representation(kind: int, segment: int) -> int:
    if kind == RAW_FIRST:
        return segment
    if kind == COMPRESSED_FIRST:
        return 1 - segment
    return 1 if kind == COMPRESSED_ONLY else 0


@nb.njit(cache=True)
def _fill(  # type: ignore[no-untyped-def]
    passages, rows, length, seed, raw_only, compressed_only, draw, kind, segment, done
):
    pieces = np.empty((rows * length, COLUMNS), np.int64)
    lengths = np.empty(rows * length, np.int64)
    begun = np.zeros(2, np.int64)
    count = document = 0
    for row in range(rows):
        at = 0
        while at < length:
            if kind < 0:
                kind, segment, done = _kind(seed, draw, raw_only, compressed_only), 0, 0
            begin, ended = at, False
            while at < length and not ended:
                representation = _representation(kind, segment)
                passage = coins.passage_of(seed, draw, passages.shape[1])
                content = passages[representation, passage]
                taken = min(content - done, length - at - 1)
                if done == 0 and taken > 0:
                    begun[representation] += 1
                whole = done + taken == content
                last = segment == 1 or kind in (RAW_ONLY, COMPRESSED_ONLY)
                closed = whole and at + 1 + taken < length
                ended = closed and last and at + 2 + taken < length
                piece = pieces[count]
                piece[ROW], piece[AT], piece[DOCUMENT] = row, at, document
                piece[PASSAGE], piece[REPRESENTATION] = passage, representation
                piece[FROM], piece[TO] = done, done + taken
                piece[CLOSED], piece[ENDED] = closed, ended
                count += 1
                at += 1 + taken + closed + ended
                done += taken
                if whole and last:
                    draw, kind, segment, done = draw + 1, -1, 0, 0
                    break
                if whole:
                    segment, done = 1, 0
            lengths[document] = at - begin
            document += 1
    return pieces[:count].copy(), lengths[:document].copy(), begun, draw, kind, segment, done
