"""Find raw positions whose passage is shown as symbols, too: what one form says of a byte can be held to the other.

Mode `parallel` shows both forms of a passage as two documents that can't see each other. Where both stand in one row,
each raw position that predicts a byte belongs to the symbol that covers that byte, and to the position that predicts
that symbol; the raw position that predicts `</raw>` belongs to the one that predicts the symbols' own closing sentinel.
Only what stands in one row counts, so the positions found don't depend on how rows are divided among passes and ranks.

A document that shows both forms (mode `pairs`) is left out: what comes second is a copy of what came first, so it says
nothing of what can be known without that.

Cost: a few instructions a raw position; pieces of a row are compared with one another.
"""

from typing import NamedTuple

import numpy as np

from byteproxy.jit import nb
from byteproxy.mixture.row_pieces import AT, CLOSED, DOCUMENT, FROM, PASSAGE, REPRESENTATION, ROW, TO
from byteproxy.vocab import RAW


class BothForms(NamedTuple):
    """Raw positions that belong to a symbol, in the order of these: int64 [Q] each.

    raw: the raw position. symbol: the position that predicts the symbol that covers the byte that the raw one predicts.
    before: how many of the symbol's bytes come before that byte.
    """

    raw: np.ndarray
    symbol: np.ndarray
    before: np.ndarray


def both_forms(
    pieces: np.ndarray, text: np.ndarray, text_bytes: np.ndarray, ends: np.ndarray, first_row: int, length: int
) -> BothForms:
    """The raw positions of rows from `first_row` on that belong to symbols; no raw position is there twice.

    pieces: of these rows. text, text_bytes: address of the first byte that each stands for, and how many there are.
    ends: as in `expansion.ExpandedRows`. length: positions of a row.
    """
    found = np.empty((3, len(ends)), np.int64)
    count = _matched(pieces, text, text_bytes, ends, first_row, length, np.zeros(len(ends), np.bool_), found)
    return BothForms(*found[:, :count].copy())


def shown_apart(pieces: np.ndarray) -> np.ndarray:
    """Which pieces of a plan stand in a row that shows their passage in another form, too, apart: bool [pieces].

    A bound for what `both_forms` finds, from lengths alone: rows may cut pieces so that they have no byte in common.
    """
    found = np.zeros(len(pieces), np.bool_)
    _mark(pieces, found)
    return found


@nb.njit(cache=True)
def _matched(pieces, text, text_bytes, ends, first_row, length, taken, found):  # type: ignore[no-untyped-def]
    count = first = last = 0
    for number in range(len(pieces)):
        piece = pieces[number]
        if first == last or piece[ROW] != pieces[first, ROW]:
            first = number
            last = _row_end(pieces, number)
        if piece[REPRESENTATION] == RAW or _mixed(pieces, first, last, number):
            continue
        at = (piece[ROW] - first_row) * length + piece[AT]
        symbols = piece[TO] - piece[FROM]
        for symbol in range(symbols + piece[CLOSED]):
            begin = text[number] + ends[at + symbol] - ends[at]
            end = begin if symbol == symbols else text[number] + ends[at + symbol + 1] - ends[at]
            for other in range(first, last):
                raw = pieces[other]
                if raw[REPRESENTATION] != RAW or raw[PASSAGE] != piece[PASSAGE] or _mixed(pieces, first, last, other):
                    continue
                place = (raw[ROW] - first_row) * length + raw[AT] - text[other]
                stop = text[other] + text_bytes[other]
                for byte in range(max(begin, text[other]), min(end, stop)):
                    count = _noted(place + byte, at + symbol, byte - begin, taken, found, count)
                if symbol == symbols and raw[CLOSED] and begin == stop:
                    count = _noted(place + stop, at + symbol, 0, taken, found, count)
    return count


@nb.njit(cache=True)
def _noted(raw, symbol, before, taken, found, count):  # type: ignore[no-untyped-def]
    if taken[raw]:
        return count
    taken[raw] = True
    found[0, count], found[1, count], found[2, count] = raw, symbol, before
    return count + 1


@nb.njit(cache=True)
def _row_end(pieces, first):  # type: ignore[no-untyped-def]
    last = first
    while last < len(pieces) and pieces[last, ROW] == pieces[first, ROW]:
        last += 1
    return last


@nb.njit(cache=True)
def _mixed(pieces, first, last, number):  # type: ignore[no-untyped-def]
    """Whether a piece's document shows its passage in the other form, too."""
    piece = pieces[number]
    for other in range(first, last):
        same = pieces[other, DOCUMENT] == piece[DOCUMENT] and pieces[other, PASSAGE] == piece[PASSAGE]
        if same and (pieces[other, REPRESENTATION] == RAW) != (piece[REPRESENTATION] == RAW):
            return True
    return False


@nb.njit(cache=True)
def _mark(pieces, found):  # type: ignore[no-untyped-def]
    first = last = 0
    for number in range(len(pieces)):
        if number == last:
            first, last = number, _row_end(pieces, number)
        for other in range(first, last):
            same = pieces[other, PASSAGE] == pieces[number, PASSAGE]
            forms = (pieces[other, REPRESENTATION] == RAW) != (pieces[number, REPRESENTATION] == RAW)
            if same and forms and not _mixed(pieces, first, last, number) and not _mixed(pieces, first, last, other):
                found[number] = True
