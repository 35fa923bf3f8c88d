"""Views finer than a byte: single bits, pairs or nibbles, the most significant first.

They come from the granularity study of the proxy compression paper (arXiv 2602.04289): nothing is compressed, so all
that a model gains or loses comes from the size of a symbol. A byte belongs to its last symbol: spans 0, 0, ..., 1.

Cost: one table lookup per byte, and 6 bytes of memory per symbol: 48 for each byte of the document as bits.
"""

from hashlib import sha256
from typing import ClassVar

import numpy as np

from byteproxy.views.base import Encoded, within_alphabet
from byteproxy.views.untrained import UntrainedView

RULE_VERSION = 1


class _PartsView(UntrainedView):
    """A byte as 8 / `bits` symbols of `bits` bits each. Lossless; no `strings`, as a symbol is less than a byte."""

    bits: ClassVar[int]

    def __init__(self) -> None:
        places = np.arange(8 - self.bits, -1, -self.bits)
        self._parts_of_byte = (np.arange(256)[:, None] >> places & self.alphabet_size - 1).astype(np.uint16)
        self._per_byte = len(places)
        self.fingerprint = sha256(f"byteproxy {self.name} view {RULE_VERSION}".encode()).hexdigest()

    def encode(self, document: bytes) -> Encoded:
        """uint16 [len(document) * 8 / bits], and a span of 1 at the last symbol of each byte."""
        symbols = self._parts_of_byte[np.frombuffer(document, dtype=np.uint8)].reshape(-1)
        span_bytes = np.zeros(len(symbols), dtype=np.uint32)
        span_bytes[self._per_byte - 1 :: self._per_byte] = 1
        return Encoded(symbols, span_bytes)

    def decode(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols; ValueError outside of the alphabet and for a number that is no whole bytes."""
        parts = within_alphabet(symbols, self).astype(np.uint8)
        if len(parts) % self._per_byte:
            raise ValueError(f"{len(parts)} symbols of the {self.name} view, but a byte is {self._per_byte} of them")
        values: np.ndarray = np.zeros(len(parts) // self._per_byte, dtype=np.uint8)
        for place in range(self._per_byte):
            values = values << self.bits | parts[place :: self._per_byte]
        return values.tobytes()


class BitsView(_PartsView):
    """A byte as 8 symbols, 0 or 1."""

    summary = "every bit is a symbol: 8 a byte"
    name = "bits"
    bits, alphabet_size = 1, 2


class DoubleBitsView(_PartsView):
    """A byte as 4 symbols, 0 to 3."""

    summary = "two bits are a symbol: 4 a byte"
    name = "double_bits"
    bits, alphabet_size = 2, 4


class NibblesView(_PartsView):
    """A byte as 2 symbols, 0 to 15."""

    summary = "four bits are a symbol: 2 a byte"
    name = "nibbles"
    bits, alphabet_size = 4, 16
