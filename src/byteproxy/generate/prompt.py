"""A prompt that is more than bytes."""

from dataclasses import dataclass

import numpy as np

from byteproxy.vocab import FIRST_BYTE, FIRST_SYMBOL


@dataclass(frozen=True, eq=False)
class ChatPrompt:
    """A chat up to where the model answers.

    ids: int64 [N], of bytes and specials. Its answer ends where the model ends a turn, if it has a symbol for that.
    """

    ids: np.ndarray

    @property
    def text(self) -> bytes:
        """Its bytes alone."""
        kept = self.ids[(self.ids >= FIRST_BYTE) & (self.ids < FIRST_SYMBOL)]
        return (kept - FIRST_BYTE).astype(np.uint8).tobytes()
