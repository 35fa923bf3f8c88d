"""Cut documents into passages, the pieces that training draws. Every passage ends where symbols end.

Cutting is greedy. With one view it happens at anchors and takes a few steps per passage; only the anchors and the bytes
before them are read. Several views share few anchors and many ends of symbols. With several views, ends are therefore
counted byte by byte, which takes a pass over all spans and as much memory as there is text.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from byteproxy.jit import nb

NEWLINE = 10


@dataclass(frozen=True)
class Passages:
    """P passages in V views, in the order of shards, documents and text.

    shard: int32 [P], the number of the shard.
    document: int64 [P], the row in the shard.
    byte_start, byte_end: int64 [P], offsets into the shard's text buffer.
    symbol_start, symbol_end: int64 [V, P], offsets into the shard's symbol buffer of each view.
    """

    shard: np.ndarray
    document: np.ndarray
    byte_start: np.ndarray
    byte_end: np.ndarray
    symbol_start: np.ndarray
    symbol_end: np.ndarray

    def __len__(self) -> int:
        return len(self.shard)


@dataclass(frozen=True)
class Anchors:
    """All anchors of a shard in one view: int64 [anchors] each, but first.

    document: the row that an anchor belongs to, ascending.
    byte, symbol: offsets into the shard's text buffer and symbol buffer.
    """

    document: np.ndarray
    byte: np.ndarray
    symbol: np.ndarray


@nb.njit(cache=True)
def units_between(spans: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Count the symbols with a span between each start and its end: int64 [P].

    spans: unsigned [symbols] of a shard. starts, ends: int64 [P], offsets into them.
    """
    units = np.zeros(len(starts), np.int64)
    for passage in range(len(starts)):
        for symbol in range(starts[passage], ends[passage]):
            units[passage] += spans[symbol] > 0
    return units


class Spans(NamedTuple):
    """All spans of a shard in one view.

    offsets: int64 [documents + 1], where each document's symbols start. spans: unsigned [symbols], in bytes of text.
    """

    offsets: np.ndarray
    spans: np.ndarray


def cut_at_anchors(
    shard: int, text: np.ndarray, text_offsets: np.ndarray, anchors: Anchors, max_bytes: int
) -> Passages:
    """The passages of one shard in one view.

    text: uint8 [bytes]. text_offsets: int64 [documents + 1], where each document starts in it.
    """
    kept = np.flatnonzero(np.diff(text_offsets)[anchors.document] > 0)  # empty documents have none: nothing is cut
    document, candidates, symbols = anchors.document[kept], anchors.byte[kept], anchors.symbol[kept]
    firsts = np.searchsorted(document, np.arange(len(text_offsets)))
    cuts = np.empty((3, len(candidates)), dtype=np.int64)
    count = _cut_at(candidates, firsts, text, max_bytes, cuts)
    rows, starts, ends = cuts[:, :count]
    shards = np.full(count, shard, np.int32)
    return Passages(shards, rows, candidates[starts], candidates[ends], symbols[None, starts], symbols[None, ends])


def cut_anywhere(
    shard: int, text: np.ndarray, text_offsets: np.ndarray, views: list[Spans], max_bytes: int
) -> Passages:
    """The passages of one shard, cut wherever a symbol of every view ends; with no views, at any byte."""
    ends = np.zeros(len(text), np.uint8)
    for view in views:
        _count_ends(view.spans, ends)
    most = 2 * (np.diff(text_offsets) // max_bytes) + 2  # two in a row are longer than max_bytes
    cuts = np.empty((3, int(most.sum())), dtype=np.int64)
    count = _cut_where(text_offsets, text, ends, len(views), max_bytes, cuts)
    rows, byte_start, byte_end = cuts[:, :count]
    symbols = np.empty((2, len(views), count), dtype=np.int64)
    for number, view in enumerate(views):
        _find_symbols(text_offsets, view.offsets, view.spans, rows, byte_end, symbols[0, number], symbols[1, number])
    return Passages(np.full(count, shard, np.int32), rows, byte_start, byte_end, *symbols)


@nb.njit(cache=True)
def _cut_at(candidates: np.ndarray, firsts: np.ndarray, text: np.ndarray, max_bytes: int, cuts: np.ndarray) -> int:
    """Fill cuts [3, passages] with row, first and last candidate of each passage; returns how many there are.

    The end of the document if it is near enough, else the last line end within max_bytes that is at least half of
    it on, else the last candidate within, else the next one.
    """
    count = 0
    for row in range(len(firsts) - 1):
        here, last = firsts[row], firsts[row + 1] - 1
        while here < last:
            start = candidates[here]
            end, line = here + 1, here
            at = here + 1
            while at <= last and candidates[at] - start <= max_bytes:
                end = at
                if text[candidates[at] - 1] == NEWLINE:
                    line = at
                at += 1
            if end < last and 2 * (candidates[line] - start) >= max_bytes:
                end = line
            cuts[0, count], cuts[1, count], cuts[2, count] = row, here, end
            count += 1
            here = end
    return count


@nb.njit(cache=True)
def _cut_where(
    text_offsets: np.ndarray, text: np.ndarray, ends: np.ndarray, wanted: int, max_bytes: int, cuts: np.ndarray
) -> int:
    """As `_cut_at`, where a byte is a candidate's last one if `ends` of it is `wanted`; cuts [3, passages] get row,
    first byte and end. Every document's last byte is one.
    """
    count = 0
    for row in range(len(text_offsets) - 1):
        here, last = text_offsets[row], text_offsets[row + 1]
        while here < last:
            end = last
            if last - here > max_bytes:
                end = here + max_bytes
                while end > here and ends[end - 1] != wanted:
                    end -= 1
                line = end
                while 2 * (line - here) >= max_bytes and (text[line - 1] != NEWLINE or ends[line - 1] != wanted):
                    line -= 1
                if 2 * (line - here) >= max_bytes and line > here:
                    end = line
                if end == here:
                    end += max_bytes + 1
                    while ends[end - 1] != wanted:
                        end += 1
            cuts[0, count], cuts[1, count], cuts[2, count] = row, here, end
            count += 1
            here = end
    return count


@nb.njit(cache=True)
def _count_ends(spans: np.ndarray, ends: np.ndarray) -> None:
    """Add 1 to the last byte of every symbol with a span."""
    at = 0
    for span in spans:
        if span:
            at += span
            ends[at - 1] += 1


@nb.njit(cache=True)
def _find_symbols(
    text_offsets: np.ndarray,
    symbol_offsets: np.ndarray,
    spans: np.ndarray,
    rows: np.ndarray,
    byte_end: np.ndarray,
    symbol_start: np.ndarray,
    symbol_end: np.ndarray,
) -> None:
    """Fill in the symbols of passages, each of which ends where a symbol does."""
    row, at, symbol = -1, 0, 0
    for passage in range(len(rows)):
        if rows[passage] != row:
            row = rows[passage]
            at, symbol = text_offsets[row], symbol_offsets[row]
        symbol_start[passage] = symbol
        while at < byte_end[passage]:
            at += spans[symbol]
            symbol += 1
        symbol_end[passage] = symbol
