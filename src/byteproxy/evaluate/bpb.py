"""Bits per byte of text as an aligned view writes it; what raw bytes cost is `generate.score`'s.

Text is read in the same windows of bytes as there: of each, the symbols that lie in it, and scored are those whose unit
(a run of symbols up to one with a span) ends in a byte that the window scores. So every symbol is scored exactly once,
one that is longer than a window too. What a view's symbols cost is no more than a bound of what the text costs: other
symbols may stand for the same text, and what the model gives to these is lost.
"""

from collections.abc import Sequence

import numpy as np

from byteproxy.generate.score import Scored, Shown, Windows, symbol_bits, windows_over
from byteproxy.model.network import Transformer
from byteproxy.progress import Progress, silent
from byteproxy.views.base import Encoded, View
from byteproxy.vocab import Vocab, byte_ids


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

    representation: the view's number in the vocabulary. window, stride: in bytes of text, as in `generate.score`.
    """
    encoded = [view.encode(text) for text in texts]
    bits = _bits(model, vocab, representation, encoded, texts, window, stride, progress)
    sums = np.array([one.sum() for one in bits], np.float64)
    return Scored(sums, np.array([len(text) for text in texts], np.int64))


def view_byte_bits(
    model: Transformer,
    vocab: Vocab,
    representation: int,
    view: View,
    texts: Sequence[bytes],
    window: int,
    stride: int,
) -> list[np.ndarray]:
    """The bits that `view_bpb` sums, by byte of each text: float64 [bytes].

    What the symbols of a unit cost is spread evenly over the bytes that it covers.
    """
    encoded = [view.encode(text) for text in texts]
    bits = _bits(model, vocab, representation, encoded, texts, window, stride, silent)
    return [_spread(own, one.span_bytes.astype(np.int64)) for own, one in zip(bits, encoded, strict=True)]


def _spread(bits: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Bits of a document's symbols as bits of its bytes."""
    if len(bits) == 0:
        return np.zeros(0)
    unit = np.flatnonzero(spans > 0)  # where units end
    of = np.minimum(np.searchsorted(unit, np.arange(len(spans))), len(unit) - 1)
    return np.repeat(np.bincount(of, weights=bits, minlength=len(unit)) / spans[unit], spans[unit])


def _bits(
    model: Transformer,
    vocab: Vocab,
    representation: int,
    encoded: Sequence[Encoded],
    texts: Sequence[bytes],
    window: int,
    stride: int,
    progress: Progress,
) -> list[np.ndarray]:
    """The bits of every symbol of each text: float64 [symbols]."""
    windows = windows_over([len(text) for text in texts], window, stride)
    found = []
    for document, one in enumerate(encoded):
        own = windows.document == document
        within = in_symbols(Windows(*(column[own] for column in windows)), one.span_bytes.astype(np.int64))
        found.append(np.stack(within))
    first = vocab.first_id(representation)
    shown = Shown(
        representation,
        [one.symbols.astype(np.int64) + first for one in encoded],
        byte_ids(b"".join(texts)) if model.config.composed else None,
        np.concatenate([np.zeros(0, np.int64), *(one.span_bytes.astype(np.int64) for one in encoded)]),
    )
    windows = Windows(*np.concatenate([np.zeros((4, 0), np.int64), *found], axis=1))
    return shown.by_document(symbol_bits(model, vocab, shown, windows, progress))


def in_symbols(windows: Windows, spans: np.ndarray) -> Windows:
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
