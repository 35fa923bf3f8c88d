"""Passages: documents cut at anchors into the pieces that training draws.

Cutting is greedy and costs a few steps per passage; nothing is read but anchors and the bytes before them.
"""

from dataclasses import dataclass

import numba as nb
import numpy as np

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
    """How many symbols with a span there are from each start up to its end: int64 [P].

    spans: unsigned [symbols] of a shard. starts, ends: int64 [P], offsets into them.
    """
    units = np.zeros(len(starts), np.int64)
    for passage in range(len(starts)):
        for symbol in range(starts[passage], ends[passage]):
            units[passage] += spans[symbol] > 0
    return units


def cut_shard(
    shard: int, text: np.ndarray, text_offsets: np.ndarray, views: list[Anchors], named: int, max_bytes: int
) -> Passages:
    """The passages of one shard.

    text: uint8 [bytes]. text_offsets: int64 [documents + 1], where each document starts in it.
    views: cuts are made only where all of these have an anchor; with none, anywhere.
    named: how many of the views, from the front, the passages give symbol offsets for.
    """
    if views:
        document, candidates, symbols = _shared_anchors(text_offsets, views)
        firsts = np.searchsorted(document, np.arange(len(text_offsets)))
        cuts = np.empty((3, len(candidates)), dtype=np.int64)
        count = _cut_at(candidates, firsts, text, max_bytes, cuts)
        rows, starts, ends = cuts[:, :count]
        byte_start, byte_end = candidates[starts], candidates[ends]
        symbol_start, symbol_end = symbols[:named, starts], symbols[:named, ends]
    else:
        shortest = (max_bytes + 1) // 2
        cuts = np.empty((3, int((np.diff(text_offsets) // shortest + 1).sum())), dtype=np.int64)
        count = _cut_anywhere(text_offsets, text, max_bytes, cuts)
        rows, byte_start, byte_end = cuts[:, :count]
        symbol_start = symbol_end = np.empty((0, count), dtype=np.int64)
    return Passages(np.full(count, shard, dtype=np.int32), rows, byte_start, byte_end, symbol_start, symbol_end)


def _shared_anchors(text_offsets: np.ndarray, views: list[Anchors]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Documents and byte offsets [shared] of the anchors that all views have, and symbol offsets [V, shared].

    Empty documents have none: there is nothing to cut.
    """
    keys: np.ndarray | None = None
    picked: list[np.ndarray] = []
    for view in views:
        kept = np.flatnonzero(np.diff(text_offsets)[view.document] > 0)
        # A document's end and the next one's start are the same byte: the row keeps them apart.
        own = view.byte[kept] + view.document[kept]
        if keys is None:
            keys, picked = own, [kept]
        else:
            keys, before, here = np.intersect1d(keys, own, assume_unique=True, return_indices=True)
            picked = [*(pick[before] for pick in picked), kept[here]]
    first = views[0]
    symbols = np.stack([view.symbol[pick] for view, pick in zip(views, picked, strict=True)])
    return first.document[picked[0]], first.byte[picked[0]], symbols


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
def _cut_anywhere(text_offsets: np.ndarray, text: np.ndarray, max_bytes: int, cuts: np.ndarray) -> int:
    """As `_cut_at` where every byte is a candidate; cuts [3, passages] get row, first byte and end."""
    count = 0
    for row in range(len(text_offsets) - 1):
        here, last = text_offsets[row], text_offsets[row + 1]
        while here < last:
            end = min(here + max_bytes, last)
            if end < last:
                line = end
                while 2 * (line - here) >= max_bytes and text[line - 1] != NEWLINE:
                    line -= 1
                if 2 * (line - here) >= max_bytes and line > here:
                    end = line
            cuts[0, count], cuts[1, count], cuts[2, count] = row, here, end
            count += 1
            here = end
    return count
