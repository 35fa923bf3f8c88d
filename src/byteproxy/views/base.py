"""What a view is: a pure function from a document's bytes to symbols that remembers which bytes each one covers."""

from typing import NamedTuple, Protocol

import numpy as np


class Encoded(NamedTuple):
    """A document through a view.

    symbols: uint16 or uint32 [n], each below the view's `alphabet_size`.
    span_bytes: uint32 [n], the bytes of the document that each symbol covers; they sum to its length.
    """

    symbols: np.ndarray
    span_bytes: np.ndarray


class View(Protocol):
    """The contract of a view; the design document states it in full.

    Encoding is a pure function of the bytes: the same on every machine, for every batch and thread count.
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
        """As `encode` for each document, on all cores where the view can."""

    def decode(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols; exact for a lossless view, ValueError for a fuzzy one."""
