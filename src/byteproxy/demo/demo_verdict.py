"""What the figures say, in a sentence or two."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from byteproxy.evaluate.paired import paired_difference
from byteproxy.generate.score import Scored
from byteproxy.study.units import percent, scientific, took


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


def model_verdict(results: Mapping[str, Any]) -> str:
    """What a model that learned bytes came to, beside its tokens and a model from scratch, in plain words.

    results: as `with_model` writes them.
    """
    found, converted = results["convert"], results["conversion"]
    name = PurePath(converted["model"]["given"]).name
    before, after, scratch = found["raw_bpb_before"], found["raw_bpb_after"], found["scratch_raw_bpb"]
    share = abs(after - scratch) / scratch
    side = "fewer" if after < scratch else "more"
    said = [
        f"{name} needed {before:.3f} bits for each raw byte of {results['held_out']}, and needs {after:.3f} after "
        f"{took(found['seconds'])} of training; its own tokens cost {found['token_bpb']:.3f}, which is the ceiling.",
        f"That is {percent(share)} {side} than the {scratch:.3f} of a small model that began from scratch, at equal "
        f"training FLOPs ({scientific(found['flops'])}; {took(found['scratch_seconds'])} here). One seed.",
    ]
    drawn = results["cuts"]["drawn"]
    if drawn["cuts"]:
        said.append(
            f"Of {drawn['cuts']} words of that text, cut inside a token, it wrote the rest of {drawn['before']} as "
            f"tokens and writes that of {drawn['after']} as bytes; the one from scratch, of {drawn['scratch']}."
        )
    return " ".join(said)
