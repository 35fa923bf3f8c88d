"""The transfer multiplier m: what a byte of raw text does for an arm, counted in bytes of raw text of a bytes-only run.

m is the raw text that a bytes-only run needs for the arm's bits per byte, over the raw text that the arm was shown. The
former is read off a curve: the bytes-only runs of one size at several budgets, each a finished run with a schedule of
its own. Between two budgets bits per byte are a straight line over the logarithm of raw text. Where the curve is not
monotone, the least text at which it comes down to the arm's bits counts: a run that is worse with more text shows no
need of it. Nothing is read beyond the curve's ends: there m is refused, and has a bound on one side.

The curve of one run over its own steps is no substitute. Its learning rate has not come down yet, so each of its points
is worse than a run that ends there, and m would come out too large.

Intervals come from draws of what the bits might have been, of the arm and of the curve together; see `sources_of`.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple, TypeVar

import numpy as np

from byteproxy.generate.score import Scored
from byteproxy.study.statistics import CONFIDENCE

DRAWS = 10_000
_SEED = 0
_AT_ONCE = 1 << 22  # documents drawn at a time, over all draws
_Name = TypeVar("_Name", bound=Hashable)


class Measured(NamedTuple):
    """The runs of one arm at one size and budget.

    raw_text: bytes of text that a run was shown raw, the mean over seeds. bpb: bits per byte by seed, at least one.
    drawn: [DRAWS], the mean over seeds on drawn documents (`on_drawn_documents`); None where documents aren't known.
    """

    raw_text: float
    bpb: Mapping[int, float]
    drawn: np.ndarray | None = None

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return fmean(self.bpb.values())


class Sources(NamedTuple):
    """What draws vary. freedom: degrees of freedom of the spread over seeds, 0 where seeds stay as they are."""

    freedom: int
    documents: bool

    @property
    def said(self) -> str | None:
        """In words; None where nothing varies."""
        names = ["seeds"] * bool(self.freedom) + ["documents"] * self.documents
        return " and ".join(names) or None

    def common(self, other: "Sources") -> "Sources":
        """What both vary."""
        return Sources(min(self.freedom, other.freedom), self.documents and other.documents)


@dataclass(frozen=True)
class Multiplier:
    """m as far as the curve says.

    least, most: bounds of m; equal where it is read off the curve, else 0 or infinity on the side that is open.
    low, high: its 95 % interval, 0 or infinity where that leaves the curve; None without a source of variation.
    sources: what the interval is over.
    above: whether the whole interval says that the arm beats bytes at equal FLOPs, which is m above break-even; False:
        that it is behind; None: neither, or not known.
    """

    least: float
    most: float
    low: float | None
    high: float | None
    sources: Sources
    above: bool | None

    @property
    def m(self) -> float | None:
        """The multiplier; None where only a bound is known."""
        return self.least if self.least == self.most else None


class Trend(NamedTuple):
    """How m changes from one budget to another.

    least, most: bounds of the ratio. low, high, sources: as of `Multiplier`.
    """

    least: float
    most: float
    low: float | None
    high: float | None
    sources: Sources

    @property
    def direction(self) -> str:
        """ "rises" or "falls" where the interval leaves no other; else "unclear"."""
        if self.low is not None and self.low > 1:
            return "rises"
        return "falls" if self.high is not None and self.high < 1 else "unclear"


def text_needed(texts: np.ndarray, curve: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between what bounds the raw text lies that bytes-only runs need: two arrays [draws], equal where it is read off.

    texts: [budgets], ascending, of the bytes-only runs. curve: [draws, budgets], their bits per byte. wanted: [draws].
    (0, first text) where even the first budget is better, (last text, infinity) where none is as good.
    """
    enough = curve <= wanted[:, None]
    reached, at = enough.any(1), enough.argmax(1)
    before, rows = np.maximum(at - 1, 0), np.arange(len(wanted))
    above, below = curve[rows, before], curve[rows, at]
    fall = np.where(above > below, above - below, 1.0)
    share = np.clip((above - wanted) / fall, 0.0, 1.0)
    between = np.where(share == 1, texts[at], texts[before] * (texts[at] / texts[before]) ** share)
    early, exact = reached & (at == 0), below == wanted
    least = np.where(early, np.where(exact, texts[0], 0.0), np.where(reached, between, texts[-1]))
    most = np.where(early, texts[0], np.where(reached, between, np.inf))
    return least, most


def on_drawn_documents(scored: Mapping[_Name, Sequence[Scored]]) -> dict[_Name, np.ndarray]:
    """Bits per byte [DRAWS] of each name's mean over seeds, on documents drawn with replacement, the same for all.

    Empty where there are fewer than two documents. Raises ValueError where documents differ.
    """
    sizes = next((one.bytes for own in scored.values() for one in own), np.zeros(0, np.int64))
    if any(not np.array_equal(one.bytes, sizes) for own in scored.values() for one in own):
        raise ValueError("the runs were not scored on the same documents")
    documents = len(sizes)
    if documents < 2:
        return {}
    columns = np.stack([sizes, *(np.mean([one.bits for one in own], axis=0) for own in scored.values())], axis=1)
    rng, at_once, sums = np.random.default_rng(_SEED), max(1, _AT_ONCE // documents), []
    for first in range(0, DRAWS, at_once):
        times = rng.multinomial(documents, [1 / documents] * documents, min(at_once, DRAWS - first))
        sums.append(times @ columns)
    total = np.concatenate(sums)
    return {name: total[:, at] / total[:, 0] for at, name in enumerate(scored, start=1)}


def sources_of(arm: Measured, curve: Sequence[Measured]) -> Sources:
    """What an interval can be over.

    Seeds, where the arm and the budgets that it is read between have at least two each; those of equal numbers are
    drawn together. Documents, where they are known of all; the same are drawn for the arm and the curve.
    """
    reached = next((at for at, one in enumerate(curve) if one.mean <= arm.mean), len(curve))
    between = curve[max(reached - 1, 0) : reached + 1]
    freedom = min(len(one.bpb) for one in (arm, *between)) - 1
    return Sources(freedom, all(one.drawn is not None for one in (arm, *curve)))


def drawn_bpb(one: Measured, sources: Sources) -> np.ndarray:
    """Bits per byte [DRAWS] of what might have been measured.

    The mean over seeds moves by a deviation of Student's t, made of the seeds' own deviations; a seed's share in it is
    the same in every cell. Drawing seeds with replacement would do for many; of three it covers 3/4, not 95 %. For a
    difference between two cells with the same seeds this gives the interval of the paired t-test.
    """
    drawn = np.full(DRAWS, one.mean) if one.drawn is None or not sources.documents else one.drawn.copy()
    count = len(one.bpb)
    if not sources.freedom or count < 2:
        return drawn
    normal = np.stack([np.random.default_rng((_SEED, 1, seed)).standard_normal(DRAWS) for seed in one.bpb], axis=1)
    square = np.random.default_rng((_SEED, 2)).chisquare(sources.freedom, DRAWS) / sources.freedom
    own = np.array(list(one.bpb.values())) - one.mean
    return drawn + normal @ own / np.sqrt(count * (count - 1) * square)


def multiplier(arm: Measured, curve: Sequence[Measured], equal: Measured | None = None) -> Multiplier:
    """The multiplier of an arm that was shown some raw text.

    curve: bytes-only runs at several budgets, at least one. equal: those of the arm's own budget; None: there are none.
    """
    curve = sorted(curve, key=lambda one: one.raw_text)
    least, most = _read(arm, curve, None)
    sources = sources_of(arm, curve)
    low = high = above = None
    if sources.said is not None:
        low, high = _interval(*_read(arm, curve, sources))
        if equal is not None:  # in bytes of text, so that a bound that is the budget's own text is equal to it
            above = True if low >= equal.raw_text else False if high <= equal.raw_text else None
        low, high = low / arm.raw_text, high / arm.raw_text
    return Multiplier(float(least[0]) / arm.raw_text, float(most[0]) / arm.raw_text, low, high, sources, above)


def trend(first: tuple[Measured, Sequence[Measured]], last: tuple[Measured, Sequence[Measured]]) -> Trend:
    """m at one budget over m at another, each an arm with its curve, under the same draws."""
    (one, one_curve), (other, other_curve) = ((arm, sorted(curve, key=_raw_text)) for arm, curve in (first, last))
    sources = sources_of(one, one_curve).common(sources_of(other, other_curve))

    def ratio(varied: Sources | None) -> tuple[np.ndarray, np.ndarray]:
        least, most = _read(one, one_curve, varied)
        later_least, later_most = _read(other, other_curve, varied)
        scale = one.raw_text / other.raw_text
        with np.errstate(divide="ignore"):
            return scale * later_least / most, scale * later_most / least

    least, most = ratio(None)
    low, high = (None, None) if sources.said is None else _interval(*ratio(sources))
    return Trend(float(least[0]), float(most[0]), low, high, sources)


def _raw_text(one: Measured) -> float:
    return one.raw_text


def _read(arm: Measured, curve: Sequence[Measured], sources: Sources | None) -> tuple[np.ndarray, np.ndarray]:
    """The text needed under draws; None: [1], of what was measured."""
    texts = np.array([one.raw_text for one in curve])
    if sources is None:
        return text_needed(texts, np.array([[one.mean for one in curve]]), np.array([arm.mean]))
    return text_needed(texts, np.stack([drawn_bpb(one, sources) for one in curve], axis=1), drawn_bpb(arm, sources))


def _interval(least: np.ndarray, most: np.ndarray) -> tuple[float, float]:
    """95 % of the draws; of a draw that leaves the curve, its bounds. Picks values, as infinity can't be weighed."""
    ends = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    return float(np.quantile(least, ends[0], method="nearest")), float(np.quantile(most, ends[1], method="nearest"))
