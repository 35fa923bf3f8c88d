"""A slow, obvious planner that writes symbols one by one, as an oracle for the fast one.

It shares nothing with it but the hashes of `coins` and the schedule's odds.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from byteproxy import coins
from byteproxy.mixture.probabilities import Lengths, draw_probabilities
from byteproxy.mixture.schedule import Mixture, settings_at
from byteproxy.store.passage_index import Table


class Segment(NamedTuple):
    """A passage in a representation; -1 where its own coin decides it when it begins."""

    passage: int
    representation: int


class Draw(NamedTuple):
    """Documents of segments, and how many passages its source has given with it."""

    number: int
    documents: list[list[Segment]]
    plain: bool


def coin(seed: int, number: int, purpose: Any) -> float:
    return float(coins.coin(np.uint64(seed), np.uint64(number), purpose))


def which(weights: list[float], toss: float) -> int:
    """The first of the cumulative shares above the toss."""
    total, so_far = sum(weights), 0.0
    for number, weight in enumerate(weights):
        so_far += weight
        if toss < np.cumsum(np.array(weights) / total)[number]:
            return number
    raise AssertionError


class SlowStream:
    """Draws in order, one by one; a draw's kind is decided by the step that is given."""

    def __init__(self, mixture: Mixture, steps: int, table: Table, weights: list[float], views: list[float], seed: int):
        self.mixture, self.steps, self.table, self.seed = mixture, steps, table, seed
        self.sources = table.summary.sources
        self.shares = [weight * one.passages for weight, one in zip(weights, self.sources, strict=True)]
        self.views = views
        self.number, self.drawn = 0, [0] * len(self.sources)
        self._lengths: Lengths | None = None

    def lengths(self) -> Lengths:
        """Means over draws, from a walk through every passage."""
        if self._lengths is None:
            self._lengths = self._walked()
        return self._lengths

    def _walked(self) -> Lengths:
        total = sum(self.shares)
        means, chains = np.zeros(self.table.rows.shape[1] // 2), 0.0
        for share, one in zip(self.shares, self.sources, strict=True):
            own = self.table.rows[one.first : one.first + one.passages]
            if len(own):
                means += share / total * own[:, 2::2].mean(axis=0)
                begins = [1.0 if place == 0 else 1 / self.mixture.passages for place in own[:, 0]]
                chains += share / total * sum(begins) / len(begins)
        views = sum(w * m for w, m in zip(self.views, means[1:], strict=True)) / (sum(self.views) or 1)
        return Lengths(float(means[0]), float(views), chains)

    def next(self, step: int) -> Draw:
        """The next draw that shows something."""
        settings = settings_at(self.mixture, step, self.steps)
        raw_only, compressed_only, _ = draw_probabilities(settings, self.mixture.count, self.lengths())
        while True:
            number, self.number = self.number, self.number + 1
            source = which(self.shares, coin(self.seed, number, coins.SOURCE))
            turn, self.drawn[source] = self.drawn[source], self.drawn[source] + 1
            one = self.sources[source]
            key = coins.hashed(np.uint64(self.seed), np.uint64(source), coins.SOURCE)
            passage = one.first + int(coins.passage_of(key, turn, one.passages))
            if settings.mode == "switch":
                chain = self.chain(source, turn, passage)
                if chain is None:
                    continue
                return Draw(number, [[Segment(one, -1) for one in chain]], False)
            toss = coin(self.seed, number, coins.KIND)
            if toss < raw_only or toss < raw_only + compressed_only:
                shown = 0 if toss < raw_only else self.view(number, 0)
                return Draw(number, [[Segment(passage, shown)]], settings.mode == "plain")
            raw, compressed = Segment(passage, 0), Segment(passage, self.view(number, 0))
            raw_first = {
                "random": coin(self.seed, number, coins.ORDER) < 0.5,
                "raw_first": True,
                "compressed_first": False,
            }[settings.order]
            both = [raw, compressed] if raw_first else [compressed, raw]
            return Draw(number, [both] if settings.mode == "pairs" else [[one] for one in both], False)

    def chain(self, source: int, turn: int, passage: int) -> list[int] | None:
        """The passages of the chain that begins with this one, if one does: chains divide the whole document."""
        one, most = self.sources[source], self.mixture.passages
        places = self.table.rows[one.first : one.first + one.passages, 0].tolist()
        begin = passage
        while places[begin - one.first] > 0:
            begin -= 1
        end = begin + 1
        while end < one.first + one.passages and places[end - one.first] > 0:
            end += 1
        key = coins.hashed(np.uint64(self.seed), np.uint64(source), coins.CHAIN)
        offset = int(coins.hashed(key, np.uint64(turn // one.passages), coins.CHAIN)) % most
        cuts = sorted({begin, end} | set(range(begin + offset, end, most)))
        for here, there in pairwise(cuts):
            if here == passage:
                return list(range(here, there))
        return None

    def switched(self, number: int, segment: int, step: int) -> int:
        raw_only = draw_probabilities(
            settings_at(self.mixture, step, self.steps), self.mixture.count, self.lengths()
        ).raw_only
        key = coins.hashed(np.uint64(self.seed), np.uint64(number), coins.SEGMENT)
        return 0 if coin(key, segment, coins.SEGMENT) < raw_only else self.view(number, segment)

    def view(self, number: int, segment: int) -> int:
        if len(self.views) < 2:
            return 1
        key = coins.hashed(np.uint64(self.seed), np.uint64(number), coins.VIEW)
        return 1 + which(self.views, coin(key, segment, coins.VIEW))


def slow_rows(stream: SlowStream, rows: int, length: int, steps: int) -> list[list[tuple]]:
    """Rows of cells (document, representation, what): "open", "bos", "close", "eos" or (passage, index)."""
    out: list[list[tuple]] = []
    row: list[tuple] = []
    document = 0

    def flush() -> None:
        nonlocal row, document
        out.append(row)
        row = []
        document += 1

    while len(out) < steps * rows:
        draw = stream.next(len(out) // rows)
        for segments in draw.documents:
            document += 1
            for place, (passage, shown) in enumerate(segments):
                if shown < 0:
                    shown = stream.switched(draw.number, place, len(out) // rows)
                opening = "bos" if draw.plain else "open"
                row.append((document, shown, opening))
                left = list(range(int(stream.table.rows[passage, 2 + 2 * shown])))
                while left:
                    while left and len(row) < length:
                        row.append((document, shown, (passage, left.pop(0))))
                    if left:
                        flush()
                        row.append((document, shown, opening))
                ends = ["close"] * (not draw.plain) + ["eos"] * (place == len(segments) - 1)
                row += [(document, shown, end) for end in ends][: length - len(row)]
                if len(row) == length:
                    flush()
    return out[: steps * rows]
