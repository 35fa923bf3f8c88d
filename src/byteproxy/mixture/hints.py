"""Hints: beside each raw byte, the longest token of a view that ends there, as scaffolding of a model that reads both.

A hint is a function of what stands before it in its segment and row, its own byte included, so a reader of raw bytes
could know it, too. Some passages may be shown without: which ones is a hash of the seed, the step and the passage. So
hints are the same for any ranks and micro-batches, and before and after a resume. Cost: 60 ns a raw byte, with 49,000
tokens.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from byteproxy.coins import HINT, coin, hashed
from byteproxy.errors import InputError
from byteproxy.jit import nb
from byteproxy.mixture.fading import Fading
from byteproxy.mixture.row_pieces import AT, FROM, PASSAGE, REPRESENTATION, ROW, TO
from byteproxy.ranges import ensure_in_range, ranged
from byteproxy.views.base import View
from byteproxy.views.longest_token import NO_TOKEN, LongestTokens, longest_tokens
from byteproxy.vocab import RAW

NO_HINT = -1


@dataclass(frozen=True)
class Hints:
    """Token rows as scaffolding: a raw position also reads the row of the longest token that ends at its byte.

    share: of the raw passages that are hinted; 0: none.
    view: whose tokens these are, by name; empty: the run's first view.
    scale: what their rows are multiplied by. Where it falls to 0 the finished model is as any other; where it stays,
        the model needs the tokens for ever, and no stock export has them.
    """

    share: float = ranged(0.0, 0.0, 1.0)
    view: str = ""
    scale: Fading = field(default_factory=Fading)

    def __post_init__(self) -> None:
        ensure_in_range(self, "scaffolding.hints.")

    @property
    def stay(self) -> bool:
        """Whether the finished model reads hints."""
        return self.share > 0 and self.scale.stays

    def scale_at(self, progress: float) -> float:
        """The scale after a share of the run's steps; 0 where nothing is hinted."""
        return self.scale.at(progress) if self.share else 0.0

    def representation(self, views: tuple[str, ...]) -> int:
        """Which representation the view is, of a run with these views; InputError where it is none."""
        if not views or (self.view and self.view not in views):
            known = ", ".join(views) or "none"
            raise InputError(
                f"scaffolding.hints.view is {self.view!r}: name one of the run's views ({known}), whose rows the model "
                "has"
            )
        return 1 + (views.index(self.view) if self.view else 0)


NO_HINTS = Hints()


class RowHints(NamedTuple):
    """Hints of some rows. ids: int64 [N], of the symbol that is hinted at, NO_HINT where none is. scale: of all."""

    ids: np.ndarray
    scale: float


class HintedView(NamedTuple):
    """A view whose tokens are hinted at. strings: the bytes of each, none: it is no hint. first_id: of token 0.

    tokens: how they are found in text.
    """

    strings: list[bytes]
    first_id: int
    tokens: LongestTokens


def hinted_view(view: View, first_id: int) -> HintedView:
    """All tokens of a view but for those that stand in for bytes which its tokenizer has no token for.

    Raises InputError for a view whose symbols have no bytes of their own.
    """
    strings: list[bytes] | None = getattr(view, "strings", None)
    if strings is None:
        raise InputError(
            f"scaffolding.hints need a view whose symbols stand for bytes of their own, and those of {view.name!r} "
            "don't: take one such as bpe or codebook"
        )
    own = getattr(view, "own_bytes", ())
    strings = [b"" if token in own else string for token, string in enumerate(strings)]
    return HintedView(strings, first_id, longest_tokens(strings))


def hinted(
    view: HintedView,
    symbols: np.ndarray,
    pieces: np.ndarray,
    first_row: int,
    length: int,
    share: float,
    seed: int,
    step: int,
) -> np.ndarray:
    """What rows hint at: the id of a symbol for each position, int64 [N], NO_HINT where there is none.

    symbols: of rows from `first_row` on, of `length` positions each, which `pieces` describe. share: of raw passages
    that are hinted.
    """
    found = view.tokens.of_ids(symbols)
    np.add(found, view.first_id, out=found, where=found != NO_TOKEN)
    if share < 1:
        _leave_out(found, pieces, first_row, length, share, np.uint64(hashed(np.uint64(seed), np.uint64(step), HINT)))
    return found


@nb.njit(cache=True)
def _leave_out(found, pieces, first_row, length, share, key):  # type: ignore[no-untyped-def]
    for number in range(len(pieces)):
        piece = pieces[number]
        if piece[REPRESENTATION] == RAW and coin(key, np.uint64(piece[PASSAGE]), HINT) >= share:
            at = (piece[ROW] - first_row) * length + piece[AT]
            found[at : at + 1 + piece[TO] - piece[FROM]] = NO_HINT
