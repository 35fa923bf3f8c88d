"""What views have in common that need no training: their options say all, and the class is its own kind."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any, Self

import numpy as np

from byteproxy.progress import Progress, silent
from byteproxy.views.base import Encoded, View, within_alphabet


@dataclass(frozen=True)
class NoOptions:
    """No options."""


class UntrainedView(View):
    """A view whose symbols are bytes, unless it says otherwise. Each says its name and fingerprint, and encodes."""

    name = fingerprint = ""
    Options: Any = NoOptions
    trained = False
    alphabet_size = 256
    aligned = True

    @classmethod
    def make(cls, options: Any, texts: Iterable[bytes] = (), progress: Progress = silent) -> Self:
        """The view; nothing is read."""
        return cls(*astuple(options))

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        """Encode each document as `encode` does."""
        return [self.encode(document) for document in documents]

    def decode(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols; ValueError for a symbol that is no byte."""
        return within_alphabet(symbols, self).astype(np.uint8).tobytes()
