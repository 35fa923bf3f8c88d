"""Bits per byte on raw bytes: the headline figure, with every byte of the text scored exactly once.

A document is read in windows of at most `window` bytes, each a document of its own to the model and opening with the
raw sentinel, as in training. The first window scores all its bytes; each further one moves on by `stride` and scores
the bytes that none before it has, with at least window - stride bytes of context. Sentinels and eos are no bytes and
are never scored. Cost: window / stride forward passes over every byte.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from byteproxy.errors import InputError
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.loss import typed_bits
from byteproxy.model.transformer import Transformer
from byteproxy.progress import Progress, silent
from byteproxy.vocab import FIRST_BYTE, RAW, Vocab, opening

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


@torch.no_grad()
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
    joined = np.frombuffer(b"".join(texts), np.uint8)
    offset = (np.cumsum(lengths) - lengths)[windows.document]
    start, end = windows.start + offset, windows.end + offset
    bits = np.zeros(len(lengths))
    size = end - start
    batch_of = np.cumsum(size) // BATCH
    done = 0
    for batch in np.unique(batch_of):
        chosen = np.flatnonzero(batch_of == batch)
        cost, place = _window_bits(
            model, vocab, joined, start[chosen], size[chosen], windows.scored_from[chosen] + offset[chosen]
        )
        which = np.searchsorted(np.cumsum(lengths), place, side="right")
        bits += np.bincount(which, weights=cost, minlength=len(lengths))
        done += len(cost)
        progress(done, int(lengths.sum()))
    return Scored(bits, lengths)


def _window_bits(
    model: Transformer, vocab: Vocab, joined: np.ndarray, start: np.ndarray, size: np.ndarray, scored_from: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bits of the scored bytes of a batch of windows, float64, and where in the joined text these bytes are."""
    within = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    place = np.repeat(start, size) + within
    targets = joined[place].astype(np.int64) + FIRST_BYTE
    symbols = np.where(within == 0, opening(RAW), np.roll(targets, 1))
    hidden_ND = model(torch.from_numpy(symbols), layout_of(size))
    scored = np.flatnonzero(place >= np.repeat(scored_from, size))
    index = torch.from_numpy(scored)
    cost = typed_bits(hidden_ND[index], model.lm_head.weight, torch.from_numpy(targets)[index], RAW, vocab)
    return cost.double().numpy(), place[scored]
