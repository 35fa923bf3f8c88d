"""The raw view: every byte is its own symbol. Costs one copy; the baseline for all other views."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from byteproxy.progress import Progress, silent
from byteproxy.views.base import Encoded, within_alphabet


class RawView:
    """Bytes as symbols 0-255, spans of 1."""

    @dataclass(frozen=True)
    class Options:
        """No options."""

    summary = "every byte is a symbol: the baseline"
    trained = False
    name = "raw"
    alphabet_size = 256
    aligned = True
    fingerprint = sha256(b"byteproxy raw view 1").hexdigest()

    @classmethod
    def make(cls, options: Options, texts: Iterable[bytes] = (), progress: Progress = silent) -> "RawView":
        """The raw view; nothing is read."""
        return cls()

    @property
    def strings(self) -> list[bytes]:
        """The byte behind each symbol."""
        return [bytes([value]) for value in range(256)]

    def encode(self, document: bytes) -> Encoded:
        """The bytes as uint16 [len(document)] and as many spans of 1."""
        symbols = np.frombuffer(document, dtype=np.uint8).astype(np.uint16)
        return Encoded(symbols, np.ones(len(symbols), dtype=np.uint32))

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        """Encode each document as `encode` does."""
        return [self.encode(document) for document in documents]

    def decode(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols; ValueError for a symbol that is no byte."""
        return within_alphabet(symbols, self).astype(np.uint8).tobytes()
