"""Expand rows to bytes: what every position stands for in specials and bytes, and so what text comes next.

Sizes are counted first, from what lies behind each piece (see `piece_content`), then filled in. The code is compiled: a
read and a write of 8 bytes per byte of text, a read of a span per symbol, and two writes of 8 bytes per position.
"""

from typing import NamedTuple

import numpy as np

from byteproxy.jit import nb
from byteproxy.mixture.mapped import Content, bytes_at, item_at
from byteproxy.mixture.row_pieces import AT, CLOSED, ENDED, FROM, OPENING, REPRESENTATION, ROW, TO
from byteproxy.vocab import EOS, FIRST_BYTE, PAD, closing

_CLOSING_OF_RAW = closing(0)


class ExpandedRows(NamedTuple):
    """Rows expanded to bytes: every position as the special or the bytes that it stands for, end to end.

    ids: int64 [M], ids of specials and bytes (vocab.FIRST_BYTE + byte) only.
    ends: int64 [N], where each position's own ids end: position p stands for ids[ends[p - 1] : ends[p]] (ends[-1]
        counts as 0). A symbol without a span stands for nothing.
    segment_ends: int64 [N], where in ids the piece (the stretch of one segment in one row) that a position stands in
        ends; each empty position is a piece of its own.
    """

    ids: np.ndarray
    ends: np.ndarray
    segment_ends: np.ndarray


def expand_rows(
    pieces: np.ndarray, stretches: Content, first_row: int, rows: int, length: int, composed: bool
) -> ExpandedRows:
    """Expand `rows` rows of `length` positions from `first_row` of a plan on, whose pieces these are.

    composed: a compressed position is a unit, not a symbol.
    """
    positions = rows * length
    specials = 1 + pieces[:, CLOSED] + pieces[:, ENDED]
    empty = positions - int((specials + pieces[:, TO] - pieces[:, FROM]).sum())
    ids = np.empty(empty + int((specials + stretches.text_bytes).sum()), np.int64)
    ends, segment_ends = np.empty(positions, np.int64), np.empty(positions, np.int64)
    _expand(pieces, stretches, first_row, length, composed, ids, ends, segment_ends)
    return ExpandedRows(ids, ends, segment_ends)


@nb.njit(cache=True)
def _expand(pieces, stretches, first_row, length, composed, ids, ends, segment_ends):  # type: ignore[no-untyped-def]
    filled = end = 0
    for number in range(len(pieces)):
        piece = pieces[number]
        at = (piece[ROW] - first_row) * length + piece[AT]
        end = _expand_empty(filled, at, end, ids, ends, segment_ends)
        begin = at
        ids[end] = piece[OPENING]
        end += 1
        ends[at] = end
        at += 1
        text, size = bytes_at(stretches.text[number]), stretches.text_bytes[number]
        for place in range(size):
            ids[end + place] = np.int64(text[place]) + FIRST_BYTE
        if stretches.span_bytes[number] == 0:
            for place in range(size):
                ends[at + place] = end + place + 1
            at += size
        else:
            at = _end_spans(
                stretches.spans[number], stretches.span_bytes[number], stretches.covers[number], composed, at, end, ends
            )
        end += size
        if piece[CLOSED]:
            ids[end] = _CLOSING_OF_RAW + 2 * piece[REPRESENTATION]
            end += 1
            ends[at] = end
            at += 1
        if piece[ENDED]:
            ids[end] = EOS
            end += 1
            ends[at] = end
            at += 1
        segment_ends[begin:at] = end
        filled = at
    _expand_empty(filled, len(ends), end, ids, ends, segment_ends)


@nb.njit(cache=True)
def _expand_empty(first, last, end, ids, ends, segment_ends):  # type: ignore[no-untyped-def]
    """Spell positions that hold nothing; returns where the last one ends."""
    for place in range(first, last):
        ids[end] = PAD
        end += 1
        ends[place] = segment_ends[place] = end
    return end


@nb.njit(cache=True)
def _end_spans(spans, span_bytes, covers, composed, at, end, ends):  # type: ignore[no-untyped-def]
    """Fill in where the symbols or units from position `at` on end; returns the position after them."""
    for symbol in range(covers):
        span = item_at(spans, span_bytes, symbol)
        end += span
        if span > 0 or not composed:
            ends[at] = end
            at += 1
    return at
