"""Pack whole documents into rows, by best fit in order of falling length.

A step takes as many draws, in order, as fit into its rows. The longest document is placed first, and each goes to the
row that it leaves the least room in (best-fit decreasing; Johnson et al., SIAM J. Computing 1974, within 11/9 of the
fewest rows). Bisection finds the number of draws. What doesn't fit opens the next step and is drawn anew there, so no
length is favoured. The positions that stay empty are lost, and each plan counts them: half a percent with passages of
up to 1,024 bytes and 64 rows of 4,096.

Cost: documents x rows comparisons for each of about ten tries.
"""

import numpy as np

from byteproxy.jit import nb
from byteproxy.mixture.draws import (
    PARALLEL,
    PLAIN,
    SWITCH,
    content_of,
    kind_of,
    opened,
    representation_of,
    segments_of,
    source_of,
)
from byteproxy.mixture.row_pieces import COLUMNS, written

_KIND, _DRAW, _PASSAGE, _REPRESENTATION, _SEGMENTS, _LENGTH = range(6)  # columns of an item, a document to be packed


@nb.njit(cache=True)
def packed(sampling, rows, length, draw, drawn):  # type: ignore[no-untyped-def]
    """Pieces, lengths of documents, segments by representation, empty positions, and the next step's first draw.

    drawn: counts the passages that each source gives. Every draw must fit into empty rows.
    """
    items, first_item, draws, count = _gathered(sampling, rows * length, draw, drawn.copy())
    order = np.argsort(-items[: first_item[count], _LENGTH], kind="mergesort")
    row_of = np.empty(first_item[count], np.int64)
    fewest, most = 1, count
    while fewest < most:
        middle = (fewest + most + 1) // 2
        if _fits(items, order, first_item[middle], rows, length, row_of):
            fewest = middle
        else:
            most = middle - 1
    _fits(items, order, first_item[fewest], rows, length, row_of)
    following = draws[fewest - 1] + 1
    for done in range(draw, following):
        drawn[source_of(sampling, done)] += 1
    taken = items[: first_item[fewest]]
    pieces, lengths, begun = _laid_out(sampling, taken, row_of, rows, length)
    return pieces, lengths, begun, rows * length - taken[:, _LENGTH].sum(), following


@nb.njit(cache=True)
def _gathered(sampling, room, draw, drawn):  # type: ignore[no-untyped-def]
    """The documents of as many draws as fit by their lengths alone: int64 [documents, 6].

    Then the first document of each draw (with one more at the end), the draws' numbers, and how many draws.
    """
    items = np.empty((room // 2 + 2, 6), np.int64)
    first_item = np.zeros(room // 2 + 2, np.int64)
    draws = np.empty(room // 2 + 2, np.int64)
    count = 0
    while True:
        draw, source, passage = opened(sampling, draw, drawn)
        kind, representation = kind_of(sampling, draw)
        segments = segments_of(sampling, source, drawn[source] - 1, passage, kind)
        draws[count] = draw
        at = first_item[count]
        for segment in range(2 if kind == PARALLEL else 1):
            if segment == 1:
                representation = representation_of(sampling, draw, kind, 1, representation)
            item = items[at]
            item[_KIND], item[_DRAW], item[_PASSAGE] = kind, draw, passage
            item[_REPRESENTATION] = representation
            item[_SEGMENTS] = 1 if kind == PARALLEL else segments
            item[_LENGTH] = _length(sampling, item)
            room -= item[_LENGTH]
            at += 1
        if room < 0:
            return items, first_item, draws, count
        count += 1
        draw += 1
        first_item[count] = at


@nb.njit(cache=True)
def _length(sampling, item):  # type: ignore[no-untyped-def]
    """Positions of a document: opening and closing symbols, contents, eos."""
    kind, representation, total = item[_KIND], item[_REPRESENTATION], 1
    for segment in range(item[_SEGMENTS]):
        if segment > 0:
            representation = representation_of(sampling, item[_DRAW], kind, segment, representation)
        passage = item[_PASSAGE] + (segment if kind == SWITCH else 0)
        total += content_of(sampling, passage, representation) + (1 if kind == PLAIN else 2)
    return total


@nb.njit(cache=True)
def _fits(items, order, count, rows, length, row_of):  # type: ignore[no-untyped-def]
    """Give each of the first `count` items a row; False where one finds none."""
    room = np.full(rows, length, np.int64)
    for item in order:
        if item >= count:
            continue
        size, best = items[item, _LENGTH], -1
        for row in range(rows):
            if room[row] >= size and (best < 0 or room[row] < room[best]):
                best = row
        if best < 0:
            return False
        room[best] -= size
        row_of[item] = best
    return True


@nb.njit(cache=True)
def _laid_out(sampling, items, row_of, rows, length):  # type: ignore[no-untyped-def]
    """Pieces of the items row by row, in the order of draws; the empty end of a row is a document without one."""
    pieces = np.empty((items[:, _SEGMENTS].sum(), COLUMNS), np.int64)
    lengths = np.empty(len(items) + rows, np.int64)
    begun = np.zeros((sampling.table.shape[1] - 1) // 2, np.int64)
    count = document = 0
    order = np.argsort(row_of[: len(items)], kind="mergesort")
    next_item = 0
    for row in range(rows):
        at = 0
        while next_item < len(items) and row_of[order[next_item]] == row:
            item = items[order[next_item]]
            begin, kind, representation = at, item[_KIND], item[_REPRESENTATION]
            for segment in range(item[_SEGMENTS]):
                if segment > 0:
                    representation = representation_of(sampling, item[_DRAW], kind, segment, representation)
                passage = item[_PASSAGE] + (segment if kind == SWITCH else 0)
                content = content_of(sampling, passage, representation)
                closed, ended = kind != PLAIN, segment == item[_SEGMENTS] - 1
                written(pieces[count], row, at, document, passage, representation, kind, 0, content, closed, ended)
                begun[representation] += 1
                count += 1
                at += 1 + content + closed + ended
            lengths[document] = at - begin
            document += 1
            next_item += 1
        if at < length:
            lengths[document] = length - at
            document += 1
    return pieces, lengths[:document].copy(), begun
