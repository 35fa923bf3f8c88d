"""Two neighbouring bytes as one symbol: half as many symbols, without a compressor.

From the granularity study of the proxy compression paper (arXiv 2602.04289). There a document of odd length is padded
with a NUL, which can't be told from a NUL of its own. Here its last byte is one of 256 extra symbols, so every document
round-trips.

Cost: one pass over the bytes, and 4 bytes of memory for each. The alphabet is as large as a big tokenizer's.
"""

from hashlib import sha256

import numpy as np

from byteproxy.views.base import Encoded, within_alphabet
from byteproxy.views.untrained import UntrainedView

PAIRS = 1 << 16


class DoubleBytesView(UntrainedView):
    """A pair of bytes is 256 * first + second, the last byte of an odd document 65536 + byte."""

    summary = "two bytes are a symbol, whatever they are"
    name = "double_bytes"
    alphabet_size = PAIRS + 256
    fingerprint = sha256(b"byteproxy double_bytes view 1").hexdigest()

    @property
    def strings(self) -> list[bytes]:
        """The two bytes, or the one, behind each symbol."""
        pairs = [value.to_bytes(2, "big") for value in range(PAIRS)]
        return pairs + [bytes([value]) for value in range(256)]

    def encode(self, document: bytes) -> Encoded:
        """uint32 [len(document) / 2, rounded up], and spans of 2, the last one 1 if the length is odd."""
        pairs, odd = divmod(len(document), 2)
        symbols = np.empty(pairs + odd, dtype=np.uint32)
        symbols[:pairs] = np.frombuffer(document, dtype=">u2", count=pairs)
        span_bytes = np.full(len(symbols), 2, dtype=np.uint32)
        if odd:
            symbols[-1] = PAIRS + document[-1]
            span_bytes[-1] = 1
        return Encoded(symbols, span_bytes)

    def decode(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols; ValueError outside of the alphabet and for a single byte before the end."""
        symbols = within_alphabet(symbols, self)
        if (symbols[:-1] >= PAIRS).any():
            raise ValueError("the double_bytes view has a single byte at the end of a document only, not before")
        if symbols.size and symbols[-1] >= PAIRS:
            return symbols[:-1].astype(">u2").tobytes() + bytes([int(symbols[-1]) - PAIRS])
        return symbols.astype(">u2").tobytes()
