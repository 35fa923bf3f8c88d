"""The one symbol space: 64 specials, 256 bytes, then each compressed view's symbols.

Nobody else knows an id. The numbers follow the paper (Zheng et al., arXiv 2602.04289): ids 0-63 are
specials, 64-319 the byte values, 320 and up the symbols of the compressed views, one range after the
other. A *representation* is what a segment is written in: 0 is raw bytes, 1 the first compressed view,
2 the second, and so on. Each has an opening and a closing sentinel of its own.

No separate bos opens a row: `<raw>` is the first symbol of raw text, so that a tool which adds exactly one
bos can be told that it is `<raw>`. Id 1 opens a segment only where the mixture leaves sentinels out.
"""

from dataclasses import dataclass

import numpy as np

PAD = 0
NEUTRAL = 1
EOS = 2
FIRST_SENTINEL = 12
SPECIALS = 64
BYTES = 256
FIRST_BYTE = SPECIALS
FIRST_SYMBOL = SPECIALS + BYTES
RAW = 0
MAX_VIEWS = (SPECIALS - FIRST_SENTINEL) // 2 - 1


def opening(representation: int) -> int:
    """The id of the sentinel that opens a segment: 12 `<raw>`, 14 `<compressed>`, 16 for a second view."""
    return FIRST_SENTINEL + 2 * representation


def closing(representation: int) -> int:
    """The id of the sentinel that closes a segment: 13 `</raw>`, 15 `</compressed>`, 17 for a second view."""
    return opening(representation) + 1


def free_specials(representations: int) -> list[int]:
    """The ids of specials that mean nothing yet, in a model of so many representations (raw among them).

    Those below the sentinels come first.
    """
    return [*range(EOS + 1, FIRST_SENTINEL), *range(opening(representations), SPECIALS)]


def byte_ids(text: bytes) -> np.ndarray:
    """The ids of raw bytes: int64 [len(text)]."""
    return np.frombuffer(text, dtype=np.uint8).astype(np.int64) + FIRST_BYTE


@dataclass(frozen=True)
class Vocab:
    """The symbol space of one model: how many symbols each compressed view brings, in order."""

    alphabets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.alphabets) > MAX_VIEWS:
            raise ValueError(f"{len(self.alphabets)} compressed views, but there are sentinels for {MAX_VIEWS} only")
        if any(size < 1 for size in self.alphabets):
            raise ValueError(f"a view needs at least one symbol, got alphabets of {self.alphabets}")

    @property
    def size(self) -> int:
        """All ids: specials, bytes and the symbols of every view."""
        return FIRST_SYMBOL + sum(self.alphabets)

    @property
    def representations(self) -> int:
        """Raw and the compressed views together."""
        return 1 + len(self.alphabets)

    def first_id(self, representation: int) -> int:
        """The id of the representation's symbol 0 (for raw: of byte 0)."""
        if representation == RAW:
            return FIRST_BYTE
        return FIRST_SYMBOL + sum(self.alphabets[: representation - 1])

    def symbol_ids(self, representation: int) -> range:
        """The ids that stand for content in this representation, specials not among them."""
        first = self.first_id(representation)
        return range(first, first + (BYTES if representation == RAW else self.alphabets[representation - 1]))

    def softmax_rows(self, representation: int) -> int:
        """Rows of the typed softmax at a position of this representation: its symbols and the specials."""
        return SPECIALS + len(self.symbol_ids(representation))
