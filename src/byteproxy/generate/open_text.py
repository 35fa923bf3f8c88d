"""A text that a model is writing: the prompt, what follows so far, and guesses at what comes next.

What is written is let out piece by piece: bytes that may begin a stop string are held back until it's certain.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from byteproxy.generate.choice import ENDS, Noise
from byteproxy.generate.utf8 import FOLLOWING
from byteproxy.vocab import BYTES, FIRST_BYTE

Ended = Literal["budget", "model", "stop"]
"""What ended a text: the most bytes that were asked for, the model's choice, or a stop string."""


@dataclass
class OpenText:
    """One of the texts that are written together.

    number: of its prompt. prompt_N: ids, those that open it among them; the last ones of a prompt that doesn't fit, one
        more than fit.
    text: the prompt's bytes and what is written, which begins at `begin`.
    chat: it ends as answers in chats do.
    state: of UTF-8, behind the last byte.
    unread: the id that the next pass reads first. guesses: ids, at what comes after it. kinds: of each guess, for
        `AcceptanceRates`. drafter: who guessed.
    released: bytes that were let out.
    """

    number: int
    prompt_N: np.ndarray
    text: bytearray
    begin: int
    chat: bool
    noise: Noise
    state: int
    unread: int = 0
    guesses: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    drafter: str = ""
    released: int = 0
    ended: Ended | None = None

    @property
    def written(self) -> int:
        """Bytes behind the prompt."""
        return len(self.text) - self.begin

    def right(self, choices: Sequence[int]) -> int:
        """How many guesses, from the first on, are what was chosen."""
        for place, guess in enumerate(self.guesses):
            if choices[place] != guess - FIRST_BYTE + len(ENDS):
                return place
        return len(self.guesses)

    def take(self, choices: list[int]) -> int:
        """Write choices down, of which only the last may be an end. Returns how many bytes these are."""
        if not len(ENDS) <= choices[-1] < len(ENDS) + BYTES:
            choices.pop()
            self.ended = "model"
        written = bytes(choice - len(ENDS) for choice in choices)
        for byte in written:
            self.state = int(FOLLOWING[self.state, byte])
        self.text += written
        if written:
            self.unread = written[-1] + FIRST_BYTE
        return len(written)

    def release(self, stops: Sequence[bytes], most: int) -> bytes:
        """What is certain now and was not before; ends the text at a stop string or after `most` bytes."""
        text, fresh, held = self.text, self.begin + self.released, 0
        ends = [(at + len(stop), at) for stop in stops if (at := text.find(stop, fresh)) >= 0]
        if ends:
            del text[min(ends)[1] :]
            self.ended = "stop"
        elif stops:
            held = max(_begun(text, fresh, stop) for stop in stops)
        if self.ended is None and self.written >= most:
            self.ended = "budget"
        until = self.written - (0 if self.ended else held)
        piece = bytes(text[fresh : self.begin + until])
        self.released = until
        return piece


def _begun(text: bytearray, fresh: int, stop: bytes) -> int:
    """How many bytes at the end, from `fresh` on, are the beginning of a stop string."""
    most = min(len(stop) - 1, len(text) - fresh)
    return next((count for count in range(most, 0, -1) if text.endswith(stop[:count])), 0)
