"""How a rate becomes the probabilities of a draw, for every mode and every count.

A draw is raw only (probability A), compressed only (C) or both (B), A + C + B = 1. Let a raw segment count a0 and a
compressed one a1 where they stand alone, and c0 and c1 where they stand together. The rate is kept if

    C a1 + B c1 = r (A a0 + C a1 + B (c0 + c1)).

Modes without pairs have B = 0, so C = r a0 / (r a0 + (1 - r) a1). Pairs are made as frequent as the rate allows, so
either C or A is 0:

    with C = 0:  B = r a0 / (c1 - r (c0 + c1 - a0)), which holds up to B = 1,
    with A = 0:  B = (1 - r) a1 / ((1 - r) (a1 - c1) + r c0) beyond that.

What is counted:

    segments   a0 = a1 = c0 = c1 = 1, so B = r / (1 - r) up to r = 1/2 and 1/r - 1 beyond: the paper's two formulas.
    bytes      every segment of a draw shows the same text, and the draw doesn't look at its length: all four are the
               mean bytes of a passage, which cancels, and the probabilities are those of segments. Only the sampling
               error of a finite number of draws differs.
    positions  a segment has its content, b bytes or s symbols on average, and its symbols at both ends:

                 one, parallel   a = content + 3: sentinel, closing sentinel, eos (in parallel each has its own: c = a)
                 pairs           c = content + 2, and the eos goes to whichever is last: 1/2 each in random order
                 switch          a = content + 2 + chains per passage: one eos a chain, of the type of its last segment
                 plain           a = content + 2: a neutral opening symbol, and eos

               The sentinel that the start of a row repeats is left out: under one position per row.

A draw is decided before its passage is looked at, so shares hold on average over draws, at every step.
"""

from typing import NamedTuple

from byteproxy.mixture.schedule import Count, StepSettings

EOS_OF_FIRST = {"random": 0.5, "raw_first": 0.0, "compressed_first": 1.0}  # share of a pair's eos that raw text gets


class Lengths(NamedTuple):
    """Means over what is drawn.

    raw, compressed: bytes and symbols of a passage. chains: chains per passage, at most 1; see mode switch.
    """

    raw: float = 1.0
    compressed: float = 1.0
    chains: float = 1.0


class DrawProbabilities(NamedTuple):
    """Probabilities of the kinds of draw; they sum to 1. In mode switch those of one segment, and `both` is 0."""

    raw_only: float
    compressed_only: float
    both: float


def costs(settings: StepSettings, count: Count, lengths: Lengths) -> tuple[float, float, float, float]:
    """What a segment counts on average at this step: raw and compressed alone, raw and compressed beside the other."""
    if count != "positions":
        return 1.0, 1.0, 1.0, 1.0
    raw, compressed = lengths.raw, lengths.compressed
    if settings.mode == "pairs":
        own = EOS_OF_FIRST[settings.order]
        return raw + 3, compressed + 3, raw + 2 + own, compressed + 2 + 1 - own
    ends = {"one": 3.0, "parallel": 3.0, "switch": 2.0 + lengths.chains, "plain": 2.0}[settings.mode]
    return raw + ends, compressed + ends, raw + ends, compressed + ends


def draw_probabilities(
    settings: StepSettings, count: Count = "segments", lengths: Lengths | None = None
) -> DrawProbabilities:
    """The probabilities that keep the step's rate, counted in `count`; lengths are read for positions only."""
    r = settings.rate
    a0, a1, c0, c1 = costs(settings, count, lengths or Lengths())
    if settings.mode not in ("pairs", "parallel"):
        compressed = r * a0 / (r * a0 + (1 - r) * a1)
        return DrawProbabilities(1 - compressed, compressed, 0.0)
    if r <= c1 / (c0 + c1):
        both = min(1.0, r * a0 / (c1 - r * (c0 + c1 - a0)))
        return DrawProbabilities(1 - both, 0.0, both)
    both = min(1.0, (1 - r) * a1 / ((1 - r) * (a1 - c1) + r * c0))
    return DrawProbabilities(0.0, 1 - both, both)
