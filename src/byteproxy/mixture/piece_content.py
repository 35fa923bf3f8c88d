"""Find, by its spans, which symbols and which bytes of its passage each piece stands for.

A piece counts positions. A raw position is a byte, so nothing has to be found. A compressed position is a symbol or,
with composed inputs, a *unit*: a run of symbols up to and including one whose span is above 0. Neither says where in
the text it lies, so the spans are summed from the passage's start: one read per symbol, and a passage is short.
"""

import numpy as np

from byteproxy.jit import nb
from byteproxy.mixture.mapped import Content, Mapped, item_at
from byteproxy.mixture.row_pieces import FROM, REPRESENTATION, TO
from byteproxy.vocab import RAW

_BEGIN, _COVERS, _FIRST_BYTE, _BYTES = range(4)  # columns of what a scan finds
_UNIT_BYTES = 4  # what the gathered symbols of units are kept in


def stretches_of(mapped: Mapped, pieces: np.ndarray, table: np.ndarray, composed: bool) -> Content:
    """The text and symbols behind checked pieces; composed: a compressed position is a unit, not a symbol.

    Raises InputError where what a piece asks for isn't all in its passage's text and in its shard.
    """
    content = mapped.content(pieces, table)
    found = np.empty((len(pieces), 4), np.int64)
    sound = _scanned(pieces, content, composed, found)
    begin, covers, first_byte, text_bytes = found.T
    if not sound or (first_byte + text_bytes > content.text_bytes).any():
        raise mapped.damaged()
    return content._replace(
        text=content.text + first_byte,
        text_bytes=text_bytes,
        symbols=content.symbols + begin * content.symbol_bytes,
        spans=content.spans + begin * content.span_bytes,
        covers=covers,
    )


def unit_symbols(
    pieces: np.ndarray, stretches: Content, representations: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last symbol of each unit of pieces, end to end, in place of their symbols as the shards hold them.

    Returns these, uint32 [units]; the address of each piece's content, int64 [pieces], which points into them (so they
    have to outlive it) or, of a raw piece, to its text; and bytes of one number there by representation, int64 [R].
    Costs a read or two a symbol and a write of 4 bytes a unit.
    """
    compressed = pieces[:, REPRESENTATION] != RAW
    ends = np.cumsum(np.where(compressed, pieces[:, TO] - pieces[:, FROM], 0))
    symbols = np.empty(int(ends[-1]) if len(ends) else 0, np.uint32)
    _gather(stretches, symbols)
    firsts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)]
    starts = np.where(compressed, symbols.ctypes.data + firsts * _UNIT_BYTES, stretches.text)
    item_bytes = np.full(representations, _UNIT_BYTES, np.int64)
    item_bytes[RAW] = 1
    return symbols, starts, item_bytes


@nb.njit(cache=True)
def _scanned(pieces, content, composed, found):  # type: ignore[no-untyped-def]
    """Fill found, int64 [pieces, 4], counted from each passage's start; False if a shard ends before a piece does."""
    for number in range(len(pieces)):
        begin, positions = pieces[number, FROM], pieces[number, TO] - pieces[number, FROM]
        if pieces[number, REPRESENTATION] == RAW:
            found[number, _BEGIN] = found[number, _FIRST_BYTE] = begin
            found[number, _COVERS] = found[number, _BYTES] = positions
            continue
        spans, span_bytes, room = content.spans[number], content.span_bytes[number], content.covers[number]
        first, before = _passed(spans, span_bytes, 0, begin, room, composed)
        last, covered = _passed(spans, span_bytes, first, positions, room, composed)
        if last > room:
            return False
        found[number, _BEGIN], found[number, _COVERS] = first, last - first
        found[number, _FIRST_BYTE], found[number, _BYTES] = before, covered
    return True


@nb.njit(cache=True)
def _passed(spans, span_bytes, symbol, positions, room, composed):  # type: ignore[no-untyped-def]
    """The symbol that follows so many positions from `symbol` on, and the bytes they cover; past `room` if too many."""
    covered = 0
    if not composed:
        if symbol + positions > room:
            return room + 1, 0
        for place in range(symbol, symbol + positions):
            covered += item_at(spans, span_bytes, place)
        return symbol + positions, covered
    while positions > 0:
        if symbol >= room:
            return room + 1, 0
        span = item_at(spans, span_bytes, symbol)
        covered += span
        positions -= span > 0
        symbol += 1
    return symbol, covered


@nb.njit(cache=True)
def _gather(stretches, symbols):  # type: ignore[no-untyped-def]
    at = 0
    for number in range(len(stretches.covers)):
        spans, span_bytes = stretches.spans[number], stretches.span_bytes[number]
        if span_bytes == 0:
            continue
        for symbol in range(stretches.covers[number]):
            if item_at(spans, span_bytes, symbol) > 0:
                symbols[at] = item_at(stretches.symbols[number], stretches.symbol_bytes[number], symbol)
                at += 1
