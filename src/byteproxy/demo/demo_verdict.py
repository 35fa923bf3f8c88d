"""What the figures say, in a sentence or two."""

from byteproxy.evaluate.paired import paired_difference
from byteproxy.generate.score import Scored
from byteproxy.study.units import percent


def verdict(scored: dict[str, Scored], ppmd_bpb: float) -> str:
    """Compare every arm with the first, and all with PPMd, in plain words."""
    (base, base_scored), *others = scored.items()
    said = []
    for name, one in others:
        gap = paired_difference(one, base_scored)
        share = abs(gap.bpb) / base_scored.bpb
        side = "behind" if gap.bpb > 0 else "ahead of"
        sentence = (
            f"At equal training FLOPs the {name} arm is {side} the {base} arm by {abs(gap.bpb):.3f} bits per byte "
            f"({percent(share)}): {one.bpb:.3f} against {base_scored.bpb:.3f} on raw bytes of projects neither has "
            f"seen (95 % over documents: {gap.low:+.3f} to {gap.high:+.3f}; one seed)."
        )
        if gap.low <= 0 <= gap.high:
            sentence += " The interval includes zero: this is no difference that can be told from chance."
        said.append(sentence)
    if not others:
        said.append(
            f"The {base} arm needs {base_scored.bpb:.3f} bits per byte on raw bytes of projects that it has not seen."
        )
    best = min(one.bpb for one in scored.values())
    if best > ppmd_bpb:
        said.append(f"Every arm is above PPMd ({ppmd_bpb:.3f}): at this budget all of them are under-trained.")
    return " ".join(said)
