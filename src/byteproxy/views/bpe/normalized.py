"""A text in the form that a tokenizer reads, and the way back: the bytes of the text as it was for each symbol.

A stretch that changes is covered by the symbol in which it ends; a symbol that ends inside of it covers none of it.
"""

from typing import NamedTuple

import numpy as np


class Normalized(NamedTuple):
    """A text in another form, and where it differs.

    begins, ends: int64 [stretches], where in `text` the stretches are that changed. old_begins, old_ends: where they
        were in the text before.
    """

    text: bytes
    begins: np.ndarray
    ends: np.ndarray
    old_begins: np.ndarray
    old_ends: np.ndarray

    def spans(self, spans: np.ndarray) -> np.ndarray:
        """The bytes of the text before that symbols cover, uint32 [symbols], from the bytes that they stand for."""
        reached = np.cumsum(spans, dtype=np.int64)
        over = np.searchsorted(self.ends, reached, side="right")
        moved = np.r_[0, self.old_ends - self.ends][over] + reached
        inside = over < len(self.begins)
        within = np.flatnonzero(inside)[reached[inside] > self.begins[over[inside]]]
        moved[within] = self.old_begins[over[within]]
        return np.diff(np.r_[0, moved]).astype(np.uint32)
