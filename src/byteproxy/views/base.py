"""The contract of a view: a pure function from bytes to symbols that keeps track of each symbol's bytes."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from byteproxy.progress import Progress, silent


class Encoded(NamedTuple):
    """A document through a view.

    symbols: uint16 or uint32 [n], each below the view's `alphabet_size`.
    span_bytes: uint32 [n], the bytes of the document that each symbol covers; they sum to its length.
    """

    symbols: np.ndarray
    span_bytes: np.ndarray


class View(Protocol):
    """The contract of a view; docs/design.md states it in full.

    Encoding is a pure function of the bytes: the same on every machine, for every batch and thread count.
    A context-free lossless view also has `strings`, the bytes behind each symbol. A view that brings text into another
    form first, such as NFC, says `lossless = False`: it decodes to that form, and its `strings` are of that form. A
    view whose single symbols mean nothing, such as `chunks`, says `spans_are_units`: its spans are counted and
    compared, and not its symbols.
    """

    @property
    def name(self) -> str:
        """Short and fit for a file name, such as "bpe-4096"."""

    @property
    def alphabet_size(self) -> int:
        """How many symbols there are."""

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides the output, in hexadecimal."""

    @property
    def aligned(self) -> bool:
        """Whether each symbol covers a known stretch of bytes."""

    def encode(self, document: bytes) -> Encoded:
        """The symbols of one document and the bytes that each covers."""

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        """Encode each document as `encode` does, on all cores if the view can."""

    def decode(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols; exact for a lossless view, ValueError for a fuzzy one."""


class SpelledView(View, Protocol):
    """A context-free view: each symbol stands for bytes of its own, whatever is beside it, and these are the text's."""

    @property
    def strings(self) -> list[bytes]:
        """The bytes behind each symbol; none for a symbol that never occurs."""


class ContextView(View, Protocol):
    """A view that cuts text where a model that reads the document finds the next byte hard to predict.

    That pass costs far more than encoding, so a store keeps what it found (`store.entropy_cache`).
    """

    @property
    def entropy_model(self) -> str:
        """The fingerprint of the model; empty if the view cuts without one."""

    def entropies(self, documents: Sequence[bytes], progress: Progress = silent) -> list[np.ndarray]:
        """Bits of each byte of each document before it is known: float16 [bytes]. progress: bytes."""

    def encode_with_entropies(self, documents: Sequence[bytes], entropies: Sequence[np.ndarray]) -> list[Encoded]:
        """Encode as `encode_batch` does, with known entropies."""


def spelled(view: View) -> SpelledView | None:
    """The view, if its symbols spell the text."""
    return cast(SpelledView, view) if hasattr(view, "strings") and getattr(view, "lossless", True) else None


def in_context(view: View) -> ContextView | None:
    """The view, if it cuts text by a model that reads it."""
    return cast(ContextView, view) if getattr(view, "entropy_model", "") else None


class ViewKind(Protocol):
    """What the entry-point group `byteproxy.views` names: a class whose instances are views.

    Options: a frozen dataclass of int, float, bool, str and Literal fields, all with defaults; the first one may be
    given without its name. It raises InputError for values that can't be. summary: one line for a list of views.
    trained: whether its views are made from text and kept in files; then it is a `TrainedKind`. One that takes minutes
    may say `slow`, and is then not among all kinds unless it is named, and `progress_unit`, if that isn't "B".
    """

    Options: Any
    summary: Any
    trained: Any

    @classmethod
    def make(cls, options: Any, texts: Iterable[bytes], progress: Progress = silent) -> View:
        """The view that `options` describe, trained on `texts` if its kind needs that; else they aren't read.

        progress: in whatever unit the kind can count, usually bytes of text.
        """


class TrainedKind(ViewKind, Protocol):
    """A kind whose views live in files, which `save(path)` of the view writes; `suffix` ends their names."""

    suffix: Any

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file is one of this kind, even if it is damaged or of another version."""

    @classmethod
    def load(cls, path: Path) -> View:
        """The view in a file; InputError where it can't be read, is damaged or of another version."""


class ResumingKind(TrainedKind, Protocol):
    """A kind that says `resumes`: what takes minutes to make is not lost with a stop."""

    resumes: Any

    @classmethod
    def make(
        cls, options: Any, texts: Iterable[bytes], progress: Progress = silent, unfinished: Path | None = None
    ) -> View:
        """As `ViewKind.make`. unfinished: folder for what a later call with the same options and texts goes on from."""


def within_alphabet(symbols: np.ndarray, view: View) -> np.ndarray:
    """The symbols as they are; ValueError naming the view where one is outside of its alphabet."""
    symbols = np.asarray(symbols)
    if symbols.size and not 0 <= symbols.min() <= symbols.max() < view.alphabet_size:
        raise ValueError(
            f"symbols from {symbols.min()} to {symbols.max()}, but the {view.name} view has "
            f"0 to {view.alphabet_size - 1} only"
        )
    return symbols
