"""How much is compressed when, as a pure function of the optimizer step, and how pairs keep that share.

The rate r is the share of compressed segments among all segments (the paper's count). While passages are
paired, a draw is one of three kinds, with probabilities such that compressed/all = r for every r:

    r > 1/2: compressed only with 2 - 1/r, else a pair.   Per draw: 1 compressed segment of 1/r segments.
    r <= 1/2: a pair with r/(1-r), else raw only.         Per draw: r/(1-r) compressed of 1/(1-r) segments.

Source: Zheng et al., arXiv 2602.04289 (rate warm-up, pairs in random order); the derivation is ours.
"""

from dataclasses import dataclass
from typing import NamedTuple

from byteproxy.errors import InputError

RAW_ONLY, COMPRESSED_ONLY, RAW_FIRST, COMPRESSED_FIRST = range(4)  # kinds of draw; the last two are pairs


@dataclass(frozen=True)
class Mixture:
    """What share of segments is compressed, from the first step to the last.

    rate_start: share of compressed segments at step 0.
    rate_end: the same once the warm-up is over.
    warmup_share: the share of all steps over which the rate rises in a straight line.
    pairs: show passages of the warm-up in both representations, in one document, in random order.
    """

    rate_start: float = 0.4
    rate_end: float = 0.9
    warmup_share: float = 0.2
    pairs: bool = True

    def __post_init__(self) -> None:
        for name in ("rate_start", "rate_end", "warmup_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"mixture.{name} is {getattr(self, name)}: give a share between 0 and 1")

    @property
    def needs_view(self) -> bool:
        """Whether any step shows compressed segments."""
        return self.rate_start > 0 or self.rate_end > 0


PAPER = Mixture()
BYTES = Mixture(rate_start=0.0, rate_end=0.0, warmup_share=0.0, pairs=False)


class Moment(NamedTuple):
    """What holds at one optimizer step: the rate, and whether passages are paired."""

    rate: float
    paired: bool


def at(mixture: Mixture, step: int, steps: int) -> Moment:
    """The rate and mode of optimizer step `step` (from 0) in a run of `steps`."""
    warmup = mixture.warmup_share * steps
    if step >= warmup:
        return Moment(mixture.rate_end, False)
    rate = mixture.rate_start + (mixture.rate_end - mixture.rate_start) * step / warmup
    return Moment(rate, mixture.pairs)


class Shares(NamedTuple):
    """Probabilities of the kinds of draw; they sum to 1."""

    raw_only: float
    compressed_only: float
    pair: float


def shares(moment: Moment) -> Shares:
    """The kinds of draw that make compressed/all segments equal to the rate."""
    r = moment.rate
    if not moment.paired:
        return Shares(1 - r, r, 0.0)
    if r > 0.5:
        return Shares(0.0, 2 - 1 / r, 1 / r - 1)
    return Shares(1 - r / (1 - r), 0.0, r / (1 - r))
