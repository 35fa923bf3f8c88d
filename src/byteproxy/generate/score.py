"""Likelihoods: the bits that text costs a model, batched over texts of any lengths. All evaluations score by this.

A text is read in windows of at most `window` bytes, each a document of its own to the model and opening with its
representation's sentinel, as in training. The first window scores all its bytes; each further one moves on by `stride`
and scores the bytes that none before it has, with at least window - stride bytes of context. So every byte is scored
exactly once, and its bits depend on the bytes before it only: the bits of a text after a prompt are the bits of both
together minus those of the prompt, however long they are. The typed softmax is used, for models trained on the
shared one too: a reader of raw bytes has no other rows.

Windows of like lengths are read together (`model.attention.layout`), so attention pads under a tenth, texts of a few
bytes included, and products nothing. Cost: window / stride forward passes over every byte, and of a prompt over what
lies in the windows that score the text after it; texts that share a prompt each read it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from byteproxy.errors import InputError
from byteproxy.model.attention.layout import layout_of, length_batches
from byteproxy.model.embedding import ByteExpansion
from byteproxy.model.loss import Entries, local_targets, typed_rows
from byteproxy.model.network import Transformer
from byteproxy.progress import Progress, silent
from byteproxy.ranges import ensure_bytes
from byteproxy.vocab import RAW, Vocab, byte_ids, closing, opening


class Scored(NamedTuple):
    """What texts cost a model.

    bits: float64 [texts], summed over the bytes of each.
    bytes: int64 [texts], the length of each.
    """

    bits: np.ndarray
    bytes: np.ndarray

    @property
    def bpb(self) -> float:
        """Bits per byte over all texts together; NaN where they have no bytes."""
        return float(self.bits.sum() / self.bytes.sum()) if self.bytes.any() else math.nan


def score(
    model: Transformer,
    texts: Sequence[bytes],
    window: int,
    stride: int | None = None,
    prompts: Sequence[bytes] | None = None,
    ends: bool = False,
    progress: Progress = silent,
) -> Scored:
    """The bits of each text as raw bytes, any bytes, in the order of the texts; progress counts what is scored.

    window: longest context in bytes, itself included; at most what the model was trained on.
    stride: bytes by which windows move on; None: half a window.
    prompts: what each text follows; it is read and not scored. None: nothing, each text opens its document.
    ends: whether the symbol that says that a text ends there (`</raw>`) is scored too, as one byte more in windows.
    Raises InputError for a stride beyond the window, or another number of prompts than of texts.
    """
    bits = byte_bits(model, texts, window, stride, prompts, ends, progress)
    sums = np.array([one.sum() for one in bits], np.float64)
    return Scored(sums, np.array([len(text) for text in texts], np.int64))


def byte_bits(
    model: Transformer,
    texts: Sequence[bytes],
    window: int,
    stride: int | None = None,
    prompts: Sequence[bytes] | None = None,
    ends: bool = False,
    progress: Progress = silent,
) -> list[np.ndarray]:
    """The bits of every byte of each text, float64 [bytes], and with `ends` of its end behind them; see `score`."""
    prompts = [b""] * len(texts) if prompts is None else prompts
    for what, given in (("texts", texts), ("prompts", prompts)):
        ensure_bytes(what, given)
    if len(prompts) != len(texts):
        raise InputError(f"there are {len(prompts)} prompts for {len(texts)} texts: give one for each, or none at all")
    tail = np.full(int(ends), closing(RAW))
    ids = [np.concatenate((byte_ids(prompt + text), tail)) for prompt, text in zip(prompts, texts, strict=True)]
    shown = Shown(RAW, ids)
    known = np.array([len(prompt) for prompt in prompts], np.int64)
    windows = windows_over(shown.counts.tolist(), window, max(1, window // 2) if stride is None else stride, known)
    bits = symbol_bits(model, Vocab(), shown, windows, progress)
    return [own[skip:] for own, skip in zip(shown.by_document(bits), known.tolist(), strict=True)]


class Windows(NamedTuple):
    """Windows over documents, all int64 [windows].

    document: which one. start, end: its bytes. scored_from: bytes before this one are context only.
    """

    document: np.ndarray
    start: np.ndarray
    end: np.ndarray
    scored_from: np.ndarray


def windows_over(lengths: Sequence[int], window: int, stride: int, known: np.ndarray | None = None) -> Windows:
    """The windows that score every byte of documents of these lengths once, but for the first `known` of each."""
    if not 1 <= stride <= window:
        raise InputError(f"stride is {stride} and window {window}: give 1 <= stride <= window")
    parts = []
    for document, length in enumerate(lengths):
        count = 0 if length == 0 else 1 + max(0, -(-(length - window) // stride))
        start = np.arange(count) * stride
        end = np.minimum(start + window, length)
        scored_from = np.concatenate([[0], end[:-1]])[:count]
        parts.append(np.stack([np.full(count, document), start, end, scored_from]))
    windows = Windows(*np.concatenate([np.zeros((4, 0)), *parts], axis=1).astype(np.int64))
    if known is None:
        return windows
    windows = windows._replace(scored_from=np.maximum(windows.scored_from, known[windows.document]))
    return Windows(*(column[windows.end > windows.scored_from] for column in windows))


class Shown:
    """Documents in one representation, end to end.

    ids: int64 [symbols]. counts, begins: int64 [documents], how many are each document's, and where they begin.
    text: ids of the bytes behind all of them, where the model reads these; None elsewhere. spans: int64 [symbols], how
    many of these bytes are each symbol's.
    """

    def __init__(
        self,
        representation: int,
        documents: Sequence[np.ndarray],
        text: np.ndarray | None = None,
        spans: np.ndarray | None = None,
    ) -> None:
        """documents: the ids of each."""
        self.representation, self.text, self.spans = representation, text, spans
        self.ids = np.concatenate([np.zeros(0, np.int64), *documents])
        self.counts = np.array([len(one) for one in documents], np.int64)
        self.begins = np.cumsum(self.counts) - self.counts

    def by_document(self, bits: np.ndarray) -> list[np.ndarray]:
        """What all symbols have, [symbols], by document."""
        return np.split(bits, self.begins[1:]) if len(self.counts) else []


@torch.no_grad()
def symbol_bits(
    model: Transformer, vocab: Vocab, shown: Shown, windows: Windows, progress: Progress = silent
) -> np.ndarray:
    """Bits of each symbol that a window scores, 0 of others: float64 [symbols]; windows and progress count symbols."""
    offset = shown.begins[windows.document]
    start, scored_from = windows.start + offset, windows.scored_from + offset
    size = windows.end - windows.start
    bits = np.zeros(len(shown.ids))
    done, total = 0, int((windows.end - windows.scored_from).sum())
    for batch in length_batches(size):
        cost, place = _window_bits(model, vocab, shown, start[batch], size[batch], scored_from[batch])
        bits[place] = cost
        done += len(cost)
        progress(done, total)
    return bits


def _window_bits(
    model: Transformer, vocab: Vocab, shown: Shown, start: np.ndarray, size: np.ndarray, scored_from: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bits of the scored symbols of a batch of windows, float64, and which symbols these are."""
    device = model.device
    within = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    place = np.repeat(start, size) + within
    targets = shown.ids[place]
    symbols = np.where(within == 0, opening(shown.representation), np.roll(targets, 1))
    expansion = None if shown.text is None else _expanded(shown, place, within)
    if expansion is not None:
        expansion = ByteExpansion(*(one.to(device) for one in expansion))
    hidden_ND = model.hidden(torch.from_numpy(symbols).to(device), layout_of(size, device, fine=True), expansion)
    scored = np.flatnonzero(place >= np.repeat(scored_from, size))
    return bits_at(model, vocab, hidden_ND, scored, targets[scored], shown.representation), place[scored]


def bits_at(
    model: Transformer,
    vocab: Vocab,
    hidden_ND: torch.Tensor,
    positions: np.ndarray,
    targets: np.ndarray,
    representation: int,
) -> np.ndarray:
    """What targets cost that are predicted at some of N positions: float64 [targets], positions and targets int64."""
    index, target = (torch.from_numpy(one).to(hidden_ND.device) for one in (positions, targets))
    row = local_targets(target, representation, vocab)
    entries = Entries(index, torch.zeros_like(index), row, torch.ones_like(index, dtype=torch.float32))
    _, nats = model.lm_head(hidden_ND, entries, typed_rows(representation, vocab))
    return nats.double().cpu().numpy() / np.log(2)


def _expanded(shown: Shown, place: np.ndarray, within: np.ndarray) -> ByteExpansion:
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
    return ByteExpansion(torch.from_numpy(ids), ends_N, ends_N)  # where segments end matters to targets only
