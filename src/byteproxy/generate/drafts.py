"""Guesses at the bytes to come, for one pass to check: by the model's byte heads (`heads`), or copied from the text.

Heads that predict several symbols ahead as drafts are Stern et al.'s blockwise parallel decoding (arXiv 1811.03115) and
Medusa's (arXiv 2401.10774); copying what followed the same n-gram before is prompt lookup (Saxena 2023). A guess costs
a position in a pass, and most of a pass's cost is there without any, so guesses are made as far as they still tend to
be right and pay: `Pace` keeps, for each place, the share of late in which all guesses up to it were right, and `Costs`
what passes took. On a CPU some six positions cost hardly more than one; beyond, a position costs what its products do.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

Drafts = Literal["heads", "copy", "both", "none"]
COPIED = 16  # bytes at most in one guess
_SEEN = 6  # bytes that have to agree before something is copied
_MEMORY = 0.9  # of Pace, a pass
_WORTH = 0.12  # of a byte, that a position in a pass costs at the least
_RECENT = 5  # passes of which the fastest counts
_RETRY = 32  # passes after which one guess more is tried again


def copied(text: bytearray, context: int, most: int) -> list[int]:
    """What followed the last time that the text's last bytes stood in it, at most `most` bytes; none if they did not.

    Costs one search through the last `context` bytes, in C.
    """
    if len(text) <= _SEEN:
        return []
    found = text.rfind(text[-_SEEN:], max(0, len(text) - context), len(text) - 1)
    return list(text[found + _SEEN : found + _SEEN + most]) if found >= 0 else []


class Costs:
    """What a pass costs by documents and guesses, in seconds: the least of the last few.

    Other work on the machine disturbs that least.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, dict[int, deque[float]]] = {}

    def saw(self, documents: int, guesses: int, seconds: float) -> None:
        """A pass with so many guesses for each document."""
        seen = self._seconds.setdefault(documents, {})
        seen.setdefault(guesses, deque(maxlen=_RECENT)).append(seconds)

    def of(self, documents: int, most: int) -> list[float]:
        """Of passes with 0 to `most` guesses, [most + 1]; between and beyond what was seen, as beside it."""
        seen = {guesses: min(times) for guesses, times in self._seconds.get(documents, {}).items()}
        if not seen:
            return [1.0] * (most + 1)
        last, least = None, {}
        for guesses in sorted(seen, reverse=True):  # fewer guesses never cost more: what was seen late counts
            last = least[guesses] = seen[guesses] if last is None else min(last, seen[guesses])
        known = sorted(least)
        return [_between(known, least, guesses) for guesses in range(most + 1)]


def _between(known: list[int], values: dict[int, float], wanted: int) -> float:
    """On the straight line between the nearest known places, or as the last one."""
    after = bisect_left(known, wanted)
    if after == len(known):
        return values[known[-1]]
    if after == 0:
        return values[known[0]]
    low, high = known[after - 1], known[after]
    return values[low] + (values[high] - values[low]) * (wanted - low) / (high - low)


class Pace:
    """How many guesses are worth checking, of one drafter that can make up to `most`."""

    def __init__(self, most: int) -> None:
        self._right = [1.0] * most
        self._passes = self._learned = 0  # all passes, and those in which guesses were checked

    def length(self, costs: "Costs | None" = None, documents: int = 1) -> int:
        """Guesses to make now: as many as bring the most bytes for what a pass with them costs."""
        right = list(accumulate(self._right, min))
        worth = sum(share > _WORTH for share in right)
        if costs is not None and worth:
            brought = accumulate([1.0, *right[:worth]])
            rates = [byte / cost for byte, cost in zip(brought, costs.of(documents, worth), strict=True)]
            worth = rates.index(max(rates))
        return min(len(self._right), worth + (self._passes % _RETRY == _RETRY - 1))

    def saw(self, outcomes: Sequence[tuple[int, int]]) -> None:
        """What became of a pass, for each document: guesses checked, and how many were right before a wrong one.

        A pass without guesses counts as well, or a drafter that didn't pay once would never be tried again.
        """
        memory = min(_MEMORY, (self._learned + 4) / (self._learned + 5))  # it learns faster at first
        self._learned += bool(outcomes)
        self._passes += 1
        for place in range(max((guessed for guessed, _ in outcomes), default=0)):
            found = [right > place for guessed, right in outcomes if guessed > place]
            share = sum(found) / len(found)
            self._right[place] = memory * self._right[place] + (1 - memory) * share
