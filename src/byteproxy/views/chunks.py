"""Chunks of a fixed number of bytes: boundaries without a compressor, as a study's control.

If a model learns as much from these as from a compressor's pieces, then the shorter sequence helped, and not where the
pieces end.

There are 256^size chunks, up to 2^128, so a chunk can't have a number of its own, and a table of the frequent ones
would be a compressor again. A chunk is therefore written as its bytes, and the spans hold the boundaries: the last byte
of a chunk carries the span of the whole, the others 0. One span above 0 is one position of a model with composed
inputs, which needs no symbol table. There are no `strings`, which would promise that a symbol's own bytes are its span.

Cost: one copy, as for raw. It is a control for the compressors of the proxy compression paper (arXiv 2602.04289), in
the spirit of its granularity study; byte models over patches of a fixed size are MegaByte's idea (arXiv 2305.07185).
"""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from byteproxy.errors import InputError
from byteproxy.views.base import Encoded
from byteproxy.views.untrained import UntrainedView

RULE_VERSION = 1


class ChunksView(UntrainedView):
    """Bytes as symbols 0-255; every `size`-th one, and the document's last, covers the bytes since the one before."""

    @dataclass(frozen=True)
    class Options:
        """size: bytes of a chunk, 2 to 16."""

        size: int = 4

        def __post_init__(self) -> None:
            if not 2 <= self.size <= 16:
                raise InputError(f"option size of the chunks view is {self.size}: give 2 to 16 bytes")

    spans_are_units = True
    summary = "pieces of a fixed number of bytes, as a control"

    def __init__(self, size: int = 4) -> None:
        """InputError for a size outside 2 to 16."""
        self._size = self.Options(size).size
        self.name = f"chunks-{size}"
        self.fingerprint = sha256(f"byteproxy chunks view {RULE_VERSION}\n{size}".encode()).hexdigest()

    def encode(self, document: bytes) -> Encoded:
        """The bytes as uint16 [len(document)]; spans 0, ..., 0, size at each whole chunk, then the rest."""
        symbols = np.frombuffer(document, dtype=np.uint8).astype(np.uint16)
        span_bytes = np.zeros(len(symbols), dtype=np.uint32)
        span_bytes[self._size - 1 :: self._size] = self._size
        if rest := len(symbols) % self._size:
            span_bytes[-1] = rest
        return Encoded(symbols, span_bytes)
