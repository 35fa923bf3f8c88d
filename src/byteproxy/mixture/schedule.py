"""The schedule of a mixture: rate and mode as a pure function of the optimizer step.

A run is a sequence of phases, each with a share of the steps, a mode and a rate. The *rate* r is the share of what is
shown that is compressed, counted in segments (the paper's count), in bytes of text or in positions. The *mode* says
what one draw shows of its passage:

    one       one segment: compressed or raw, between its sentinels
    pairs     both, one after the other in one document, or else one
    parallel  both, as two documents that can't see each other, or else one
    switch    consecutive passages of a document in one context, each by itself compressed or raw
    plain     one segment without sentinels: the model doesn't know which it is (the paper's control)

Several phases give a piecewise schedule, and may lead from one view to another, such as from coarse to fine. Within a
phase the rate is constant, or goes to `rate_end` in a straight line or along half a cosine. Source: Zheng et al., arXiv
2602.04289 (rate warm-up, pairs in random order, parallel and plain); `switch`, the other counts and phases of one view
are ours. `probabilities` turns a rate into the probabilities of a draw.
"""

import math
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal, NamedTuple, get_args

from byteproxy.errors import InputError
from byteproxy.ranges import bounds, ensure_in_range, ensure_one_of, ranged

Mode = Literal["one", "pairs", "parallel", "switch", "plain"]
Order = Literal["random", "raw_first", "compressed_first"]
Curve = Literal["linear", "cosine"]
Count = Literal["segments", "bytes", "positions"]
Packing = Literal["fill", "whole"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Phase:
    """A part of a run.

    share: of the run's steps; those of all phases sum to 1.
    mode: what a draw shows.
    rate: share of what is compressed, at the phase's first step.
    rate_end: the rate that the phase goes to; None stays at `rate`.
    curve: how it goes there.
    order: of the two segments of a pair.
    view: the one compressed view that it shows, by name; empty: all, by the mixture's `view_weights`.
    """

    share: float = ranged(1.0, 0.0, 1.0)
    mode: Mode = "one"
    rate: float = ranged(0.9, 0.0, 1.0)
    rate_end: float | None = ranged(None, 0.0, 1.0)
    curve: Curve = "linear"
    order: Order = "random"
    view: str = ""

    def __post_init__(self) -> None:
        ensure_in_range(self, "mixture.phases: ")
        for name, kind in (("mode", Mode), ("order", Order), ("curve", Curve)):
            ensure_one_of(f"mixture.phases: {name}", getattr(self, name), get_args(kind))

    def rate_at(self, fraction: float) -> float:
        """The rate after a fraction of the phase, in [0, 1)."""
        if self.rate_end is None:
            return self.rate
        if self.curve == "cosine":
            fraction = (1 - math.cos(math.pi * fraction)) / 2
        return self.rate + (self.rate_end - self.rate) * fraction


PRESETS: dict[str, tuple[Phase, ...]] = {
    # The paper's: 10k of its 50k steps are warm-up.
    "paper": (Phase(0.2, "pairs", 0.4, 0.9), Phase(0.8, "one", 0.9)),
    # Compressed text first, for it covers more in the same compute, then nothing but what the model will read.
    "coarse_first": (Phase(0.6, "one", 0.9), Phase(0.4, "one", 0.0)),
    "bytes": (Phase(1.0, "one", 0.0),),
    "symbols": (Phase(1.0, "one", 1.0),),
}


@dataclass(frozen=True)
class Mixture:
    """What a run shows, phase by phase.

    preset: the phases by name, one of PRESETS; empty where `phases` are given.
    phases: in order.
    count: what rates are shares of.
    passages: mode switch: the most consecutive passages of a document in one context.
    view_weights: how often each compressed view is taken, relative to the others, by name; 1 where not named.
    source_weights: how often a source's text is shown relative to its size, by name, in place of the corpus's own.
    packing: "fill" lays documents end to end, cuts them where a row ends and leaves no position empty; "whole" cuts
        none, and leaves empty what no whole document fits into.
    """

    preset: str = ""
    phases: tuple[Phase, ...] = ()
    count: Count = "segments"
    passages: int = ranged(4, 1, 1 << 20)
    view_weights: dict[str, float] = field(default_factory=dict, metadata=bounds(1e-9, 1e9, or_zero=True))
    source_weights: dict[str, float] = field(default_factory=dict, metadata=bounds(1e-9, 1e9, or_zero=True))
    packing: Packing = "fill"

    def __post_init__(self) -> None:
        if self.preset and self.phases:
            raise InputError("mixture has both a preset and phases: give one of them")
        if not self.phases:
            ensure_one_of("mixture.preset", self.preset or "paper", tuple(PRESETS))
        elif abs(sum(phase.share for phase in self.phases) - 1) > 1e-6:
            total = sum(phase.share for phase in self.phases)
            raise InputError(f"mixture.phases: the shares sum to {total:g}: let them sum to 1")
        ensure_one_of("mixture.count", self.count, get_args(Count))
        ensure_one_of("mixture.packing", self.packing, get_args(Packing))
        ensure_in_range(self, "mixture.")

    @property
    def schedule(self) -> tuple[Phase, ...]:
        """The phases, those of the preset if one is named; the paper's if nothing is."""
        return self.phases or PRESETS[self.preset or "paper"]

    @property
    def needs_view(self) -> bool:
        """Whether any step shows compressed segments."""
        return any(phase.share > 0 and (phase.rate > 0 or (phase.rate_end or 0) > 0) for phase in self.schedule)


PAPER = Mixture("paper")
BYTES = Mixture("bytes")


class StepSettings(NamedTuple):
    """The settings of one optimizer step. number: of its phase, among those with a share."""

    rate: float
    mode: Mode
    order: Order
    view: str = ""
    number: int = 0


def settings_at(mixture: Mixture, step: int, steps: int) -> StepSettings:
    """The rate and mode of optimizer step `step` (from 0) in a run of `steps`."""
    phases = [phase for phase in mixture.schedule if phase.share > 0]
    ends = [end * steps for end in accumulate(phase.share for phase in phases)]
    number = next((n for n, end in enumerate(ends[:-1]) if step < end), len(phases) - 1)
    phase, begin = phases[number], ends[number - 1] if number else 0.0
    length = phase.share * steps
    rate = phase.rate_at(min(1.0, max(0.0, (step - begin) / length)))
    return StepSettings(rate, phase.mode, phase.order, phase.view, number)
