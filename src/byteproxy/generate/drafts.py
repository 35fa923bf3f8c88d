"""Guesses at the bytes to come, for one pass to check: by the model's byte heads (`heads`), or copied from the text.

Heads that predict several symbols ahead as drafts are Stern et al.'s blockwise parallel decoding (arXiv 1811.03115) and
Medusa's (arXiv 2401.10774); copying what followed the same n-gram before is prompt lookup (Saxena 2023). A guess costs
a position in a pass, and most of a pass's cost is there without any, so guesses are checked as far as they pay.
`AcceptanceRates` keeps how often guesses were right of late, by how sure their drafter was; `PassTimes` keeps what
passes took. Of all documents' guesses those with the best chances are taken, so a pass has more positions of one
document than of another.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import mul
from typing import Literal

Drafts = Literal["heads", "copy", "both", "none"]
COPIED = 16  # bytes at most in one guess
LEADS = 24  # kinds of guesses of heads
_STEPS = 3.0  # of these kinds for each unit of a logit by which a guess leads
_SEEN = 6  # bytes that have to agree before something is copied
_MEMORY = 0.95  # of AcceptanceRates, a guess
_RECENT = 5  # passes of which the fastest counts


def copied(text: bytearray, context: int, most: int) -> list[int]:
    """What followed the last time that the text's last bytes stood in it, at most `most` bytes; none if they did not.

    Costs one search through the last `context` bytes, in C.
    """
    if len(text) <= _SEEN:
        return []
    found = text.rfind(text[-_SEEN:], max(0, len(text) - context), len(text) - 1)
    return list(text[found + _SEEN : found + _SEEN + most]) if found >= 0 else []


class PassTimes:
    """What a pass costs by documents and guesses, in seconds: the least of the last few.

    Other work on the machine disturbs that least.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, dict[int, deque[float]]] = {}

    def saw(self, documents: int, guesses: int, seconds: float) -> None:
        """A pass with so many guesses, all documents together."""
        seen = self._seconds.setdefault(documents, {})
        seen.setdefault(guesses, deque(maxlen=_RECENT)).append(seconds)

    def of(self, documents: int, most: int) -> list[float]:
        """Times of passes with 0 to `most` guesses, [most + 1]; where none was seen, that of the nearest."""
        seen = {guesses: min(times) for guesses, times in self._seconds.get(documents, {}).items()}
        if not seen:
            return [1.0] * (most + 1)
        known = sorted(seen)
        for fewer, more in zip(known[-2::-1], known[:0:-1], strict=True):
            seen[fewer] = min(seen[fewer], seen[more])  # fewer guesses never cost more: what was seen late counts
        costs, last = [seen[known[0]]] * (most + 1), known[0]
        for after in known[1:]:
            step = (seen[after] - seen[last]) / (after - last)
            for guesses in range(last, min(after, most) + 1):
                costs[guesses] = seen[last] + step * (guesses - last)
            last = after
        for guesses in range(last, most + 1):
            costs[guesses] = seen[last]
        return costs


class AcceptanceRates:
    """How often guesses of one kind were right, of those that all guesses before were; kinds are numbered from 0.

    Kinds are places for copies, and for heads how far a guess was ahead of the second best.
    """

    def __init__(self, kinds: int) -> None:
        self._right, self._seen = [1.0] * kinds, [0] * kinds

    def of(self, kinds: Iterable[int]) -> list[float]:
        """The chance that each of these guesses in a row will be written."""
        return list(accumulate((self._right[kind] for kind in kinds), mul))

    def saw(self, kinds: Sequence[int], right: int) -> None:
        """Guesses that were checked in a row, of which so many were right before a wrong one, or all."""
        for place, kind in enumerate(kinds[: right + 1]):
            self._seen[kind] += 1
            memory = min(_MEMORY, 1 - 1 / (self._seen[kind] + 1))  # it learns faster at first
            self._right[kind] = memory * self._right[kind] + (1 - memory) * (place < right)


def kinds_of(leads: Iterable[float]) -> list[int]:
    """The kinds of guesses by their leads, up to `LEADS`."""
    return [int(min(LEADS - 1, max(0.0, lead * _STEPS))) for lead in leads]  # of infinities too, and of none


def worth(chances: Sequence[Sequence[float]], costs: PassTimes, more: int = 0) -> list[int]:
    """How many guesses to check of each document: as many as bring the most bytes for what a pass with them costs.

    chances: of each document's guesses, the chance to be written. more: guesses of each beyond that.
    """
    order = sorted(((-chance, document) for document, own in enumerate(chances) for chance in own))
    brought = accumulate((-minus for minus, _ in order), initial=float(len(chances)))
    rates = [byte / cost for byte, cost in zip(brought, costs.of(len(chances), len(order)), strict=True)]
    found = Counter(document for _, document in order[: rates.index(max(rates))])
    return [min(len(own), found[document] + more) for document, own in enumerate(chances)]
