"""The strings behind a view's symbols as two arrays, so that spans and text need no loop in Python."""

from collections.abc import Sequence

import numpy as np

from byteproxy.jit import nb


class StringTable:
    """The bytes of each symbol of a context-free view; a symbol of no bytes is one that never occurs."""

    def __init__(self, strings: Sequence[bytes], name: str) -> None:
        """name: the view's, for errors."""
        self.strings = list(strings)
        self.length = np.array([len(string) for string in self.strings], dtype=np.uint32)
        self._data = np.frombuffer(b"".join(self.strings), dtype=np.uint8)
        self._start = np.cumsum(self.length, dtype=np.int64) - self.length
        self.name = name

    def joined(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols; ValueError for one that is not in the alphabet or never occurs."""
        symbols = np.asarray(symbols)
        if not symbols.size:
            return b""
        low, high = int(symbols.min()), int(symbols.max())
        if low < 0 or high >= len(self.strings):
            raise ValueError(
                f"symbols from {low} to {high}, but view {self.name} has 0 to {len(self.strings) - 1} only"
            )
        spans = self.length.take(symbols)
        if not spans.all():
            raise ValueError(f"symbol {symbols[spans == 0][0]} of view {self.name} stands for no text")
        text = np.empty(int(spans.sum(dtype=np.int64)), dtype=np.uint8)
        _join(symbols.astype(np.int64), self._start, self.length, self._data, text)
        return text.tobytes()


@nb.njit(cache=True, nogil=True)
def _join(symbols: np.ndarray, start: np.ndarray, length: np.ndarray, data: np.ndarray, text: np.ndarray) -> None:
    end = 0
    for symbol in symbols:
        for at in range(start[symbol], start[symbol] + length[symbol]):
            text[end] = data[at]
            end += 1
