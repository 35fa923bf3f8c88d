"""Bits per byte of text: as raw bytes, the headline figure, and as the symbols of a compressed view.

A document is read in windows of at most `window` bytes, each a document of its own to the model and opening with its
representation's sentinel, as in training. The first window scores all its bytes; each further one moves on by `stride`
and scores the bytes that none before it has, with at least window - stride bytes of context. Sentinels and eos are no
text and are never scored. Cost: window / stride forward passes over every byte, or symbol.

A view is scored in the same windows: of each, the symbols that lie in it, and scored are those whose unit (a run of
symbols up to one with a span) ends in a byte that the window scores. So every symbol is scored exactly once, one that
is longer than a window too. What a view's symbols cost is no more than a bound of what the text costs: other symbols
may stand for the same text, and what the model gives to these is lost. The typed softmax is used for both, for models
trained on the shared one too: a reader of raw bytes has no other rows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from byteproxy.errors import InputError
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.embedding import Spelling
from byteproxy.model.loss import typed_bits
from byteproxy.model.transformer import Transformer
from byteproxy.progress import Progress, silent
from byteproxy.views.base import Encoded, View
from byteproxy.vocab import RAW, Vocab, byte_ids, opening

BATCH = 8192  # positions in one forward pass


class Windows(NamedTuple):
    """Windows over documents, all int64 [windows].

    document: which one. start, end: its bytes. scored_from: bytes before this one are context only.
    """

    document: np.ndarray
    start: np.ndarray
    end: np.ndarray
    scored_from: np.ndarray


class Scored(NamedTuple):
    """What documents cost a model.

    bits: float64 [documents], summed over the bytes of each.
    bytes: int64 [documents], how many bytes that was: all of them.
    """

    bits: np.ndarray
    bytes: np.ndarray

    @property
    def bpb(self) -> float:
        """Bits per byte over all documents together."""
        return float(self.bits.sum() / self.bytes.sum())


def windows_over(lengths: Sequence[int], window: int, stride: int) -> Windows:
    """The windows that score every byte of documents of these lengths once."""
    if not 1 <= stride <= window:
        raise InputError(f"stride is {stride} and window {window}: give 1 <= stride <= window")
    parts = []
    for document, length in enumerate(lengths):
        count = 0 if length == 0 else 1 + max(0, -(-(length - window) // stride))
        start = np.arange(count) * stride
        end = np.minimum(start + window, length)
        scored_from = np.concatenate([[0], end[:-1]])[:count]
        parts.append(np.stack([np.full(count, document), start, end, scored_from]))
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((4, 0))
    return Windows(*joined.astype(np.int64))


def raw_bpb(
    model: Transformer,
    vocab: Vocab,
    texts: Sequence[bytes],
    window: int,
    stride: int,
    progress: Progress = silent,
) -> Scored:
    """Score texts as raw bytes; progress counts bytes.

    window: longest context in bytes, itself included; at most what the model was trained on.
    """
    lengths = np.array([len(text) for text in texts], np.int64)
    windows = windows_over(lengths.tolist(), window, stride)
    bits = _bits(model, vocab, _bytes_of(texts, lengths), windows, progress)
    return Scored(_summed(bits, lengths), lengths)


def raw_byte_bits(model: Transformer, vocab: Vocab, text: bytes, window: int, stride: int) -> np.ndarray:
    """The bits of every byte of a text, float64 [bytes]: those that `raw_bpb` sums."""
    lengths = np.array([len(text)], np.int64)
    return _bits(model, vocab, _bytes_of([text], lengths), windows_over(lengths.tolist(), window, stride), silent)


def view_bpb(
    model: Transformer,
    vocab: Vocab,
    representation: int,
    view: View,
    texts: Sequence[bytes],
    window: int,
    stride: int,
    progress: Progress = silent,
) -> Scored:
    """Score texts as an aligned view writes them, bits of all their symbols per byte of text; progress counts symbols.

    representation: the view's number in the vocabulary. window, stride: in bytes of text, as in `raw_bpb`.
    """
    lengths = np.array([len(text) for text in texts], np.int64)
    shown, windows = _in_view(
        model, vocab, representation, [view.encode(text) for text in texts], texts, window, stride
    )
    return Scored(_summed(_bits(model, vocab, shown, windows, progress), shown.counts), lengths)


def view_byte_bits(
    model: Transformer, vocab: Vocab, representation: int, view: View, text: bytes, window: int, stride: int
) -> np.ndarray:
    """The bits that `view_bpb` sums, by byte of a text: float64 [bytes].

    What the symbols of a unit cost is spread evenly over the bytes that it covers.
    """
    encoded = view.encode(text)
    shown, windows = _in_view(model, vocab, representation, [encoded], [text], window, stride)
    bits = _bits(model, vocab, shown, windows, silent)
    if len(bits) == 0:
        return np.zeros(len(text))
    spans = encoded.span_bytes.astype(np.int64)
    unit = np.flatnonzero(spans > 0)  # where units end
    of = np.minimum(np.searchsorted(unit, np.arange(len(spans))), len(unit) - 1)
    return np.repeat(np.bincount(of, weights=bits, minlength=len(unit)) / spans[unit], spans[unit])


class _Symbols(NamedTuple):
    """Documents in one representation, end to end.

    ids: int64 [symbols]. counts, begins: int64 [documents], how many are each document's, and where they begin.
    text: ids of the bytes behind them, where the model reads these; None elsewhere. spans: int64 [symbols], in bytes.
    """

    representation: int
    ids: np.ndarray
    counts: np.ndarray
    begins: np.ndarray
    text: np.ndarray | None = None
    spans: np.ndarray | None = None


def _bytes_of(texts: Sequence[bytes], lengths: np.ndarray) -> _Symbols:
    return _Symbols(RAW, byte_ids(b"".join(texts)), lengths, np.cumsum(lengths) - lengths)


def _in_view(
    model: Transformer,
    vocab: Vocab,
    representation: int,
    encoded: Sequence[Encoded],
    texts: Sequence[bytes],
    window: int,
    stride: int,
) -> tuple[_Symbols, Windows]:
    """Texts in a view, and the windows over their bytes as windows over their symbols."""
    windows = windows_over([len(text) for text in texts], window, stride)
    counts = np.array([len(one.symbols) for one in encoded], np.int64)
    found = []
    for document, one in enumerate(encoded):
        own = windows.document == document
        within = _in_symbols(Windows(*(column[own] for column in windows)), one.span_bytes.astype(np.int64))
        found.append(np.stack(within))
    symbols = np.concatenate([np.zeros(0, np.int64), *(one.symbols.astype(np.int64) for one in encoded)])
    shown = _Symbols(
        representation,
        symbols + vocab.first_id(representation),
        counts,
        np.cumsum(counts) - counts,
        byte_ids(b"".join(texts)) if model.config.composed else None,
        np.concatenate([np.zeros(0, np.int64), *(one.span_bytes.astype(np.int64) for one in encoded)]),
    )
    return shown, Windows(*np.concatenate([np.zeros((4, 0), np.int64), *found], axis=1))


def _summed(bits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Bits of symbols as bits of the documents that these are in, float64 [documents]."""
    return np.bincount(np.repeat(np.arange(len(counts)), counts), weights=bits, minlength=len(counts))


def _in_symbols(windows: Windows, spans: np.ndarray) -> Windows:
    """A document's windows in bytes as windows in its symbols, without those in which no unit ends."""
    begins = np.cumsum(spans) - spans
    total = int(spans.sum())
    # A unit's symbols all end where its last one does.
    ends = np.minimum.accumulate(np.where(spans > 0, begins + spans, total)[::-1])[::-1]
    first = np.searchsorted(begins, windows.start)
    scored_from = np.searchsorted(ends, windows.scored_from, side="right")
    end = np.searchsorted(ends, windows.end, side="right")
    kept = end > scored_from
    converted = Windows(windows.document, np.minimum(first, scored_from), end, scored_from)
    return Windows(*(column[kept] for column in converted))


@torch.no_grad()
def _bits(model: Transformer, vocab: Vocab, shown: _Symbols, windows: Windows, progress: Progress) -> np.ndarray:
    """Bits of each symbol, float64 [symbols]; windows count symbols. Progress counts symbols."""
    offset = shown.begins[windows.document]
    start, scored_from = windows.start + offset, windows.scored_from + offset
    size = windows.end - windows.start
    bits = np.zeros(len(shown.ids))
    batch_of = np.cumsum(size) // BATCH
    done = 0
    for batch in np.unique(batch_of):
        chosen = np.flatnonzero(batch_of == batch)
        cost, place = _window_bits(model, vocab, shown, start[chosen], size[chosen], scored_from[chosen])
        bits[place] = cost
        done += len(cost)
        progress(done, len(shown.ids))
    return bits


def _window_bits(
    model: Transformer, vocab: Vocab, shown: _Symbols, start: np.ndarray, size: np.ndarray, scored_from: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bits of the scored symbols of a batch of windows, float64, and which symbols these are."""
    device = model.lm_head.weight.device
    within = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    place = np.repeat(start, size) + within
    targets = shown.ids[place]
    symbols = np.where(within == 0, opening(shown.representation), np.roll(targets, 1))
    spelling = None if shown.text is None else _spelled(shown, place, within)
    if spelling is not None:
        spelling = Spelling(*(one.to(device) for one in spelling))
    hidden_ND = model(torch.from_numpy(symbols).to(device), layout_of(size, device), spelling)
    scored = np.flatnonzero(place >= np.repeat(scored_from, size))
    index = torch.from_numpy(scored).to(device)
    cost = typed_bits(
        hidden_ND[index],
        model.lm_head.weight,
        torch.from_numpy(targets).to(device)[index],
        shown.representation,
        vocab,
        model.config.soft_cap,
    )
    return cost.double().cpu().numpy(), place[scored]


def _spelled(shown: _Symbols, place: np.ndarray, within: np.ndarray) -> Spelling:
    """What composed inputs read of windows: the opening sentinel, then the bytes behind each symbol but the last."""
    assert shown.text is not None, "only of symbols with the text behind them"
    assert shown.spans is not None, "only of symbols that say how much that is"
    text_begins = np.cumsum(shown.spans) - shown.spans
    read = np.roll(place, 1)  # the symbol that a position shows is the one before its target
    counts = np.where(within == 0, 1, shown.spans[read])
    ends = np.cumsum(counts)
    at = np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
    opened = np.repeat(within == 0, counts)
    ids = np.where(
        opened,
        opening(shown.representation),
        shown.text[np.where(opened, 0, np.repeat(text_begins[read], counts) + at)],
    )
    ends_N = torch.from_numpy(ends)
    return Spelling(torch.from_numpy(ids), ends_N, ends_N)  # where segments end matters to targets only
