"""Anchors: the places where a document may be cut, as pairs of a byte offset and a symbol offset.

A document has the anchors (0, 0) and (its length, its number of symbols), and one about every 256 bytes in between,
always at the end of a symbol and, if possible, at the end of a line. Text and symbols can so be cut at the same place
without a pass over either. Cost: one pass over the symbols, and 16 bytes per 256 bytes of text on disk.
"""

import numpy as np

from byteproxy.jit import nb

CELL_BYTES = 256
LINE_END_FROM = CELL_BYTES // 2
NEWLINE = 10


def anchors_of(text: np.ndarray, span_bytes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The anchors of one document: byte offsets and symbol offsets, int64 [anchors] each.

    text: uint8 [n]. span_bytes: uint32 [symbols], summing to n.
    From an anchor at p, the next one is the end of the document if that is at most 256 bytes on. Otherwise it is the
    last symbol boundary in (p, p + 256] that ends a line, if it is at least 128 bytes on; else the last symbol boundary
    there; else, within a longer symbol, the end of that symbol. A boundary is the end of a symbol with a span: a symbol
    without one belongs to the byte that a later symbol completes.
    """
    # Any two consecutive steps cover 256 bytes, or one of them 128, so this is always enough.
    anchors = np.zeros((2, len(text) // LINE_END_FROM + 3), dtype=np.int64)
    count = _fill_anchors(text, span_bytes, anchors)
    return anchors[0, :count], anchors[1, :count]


@nb.njit(cache=True)
def _fill_anchors(text: np.ndarray, span_bytes: np.ndarray, anchors: np.ndarray) -> int:
    size, symbols = len(text), len(span_bytes)
    count = 1
    start, start_symbol = 0, 0
    while size - start > CELL_BYTES:
        end, end_symbol = start, start_symbol
        line, line_symbol = start, start_symbol
        at, symbol = start, start_symbol
        while symbol < symbols:
            span = np.int64(span_bytes[symbol])
            if at + span - start > CELL_BYTES and end > start:
                break
            at += int(span)
            symbol += 1
            if span == 0:
                continue
            end, end_symbol = at, symbol
            if at - start > CELL_BYTES:
                break
            if text[at - 1] == NEWLINE:
                line, line_symbol = at, symbol
        if line - start >= LINE_END_FROM:
            end, end_symbol = line, line_symbol
        if end == start or end >= size:
            break
        anchors[0, count], anchors[1, count] = end, end_symbol
        count += 1
        start, start_symbol = end, end_symbol
    if size > 0 or symbols > 0:
        anchors[0, count], anchors[1, count] = size, symbols
        count += 1
    return count
