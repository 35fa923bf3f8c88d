"""The raw view: every byte is its own symbol. Costs one copy; the baseline for all other views."""

from hashlib import sha256

import numpy as np

from byteproxy.views.base import Encoded
from byteproxy.views.untrained import UntrainedView


class RawView(UntrainedView):
    """Bytes as symbols 0-255, spans of 1."""

    summary = "every byte is a symbol: the baseline"
    name = "raw"
    fingerprint = sha256(b"byteproxy raw view 1").hexdigest()

    @property
    def strings(self) -> list[bytes]:
        """The byte behind each symbol."""
        return [bytes([value]) for value in range(256)]

    def encode(self, document: bytes) -> Encoded:
        """The bytes as uint16 [len(document)] and as many spans of 1."""
        symbols = np.frombuffer(document, dtype=np.uint8).astype(np.uint16)
        return Encoded(symbols, np.ones(len(symbols), dtype=np.uint32))
