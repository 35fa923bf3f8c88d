"""State what the figures of a study say, in plain sentences."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

from byteproxy.study.transfer_words import transfer_said

UNCERTAIN = "the interval includes zero: no difference that can be told from chance"

_FEW = 3
"""Arms of a claim that are all said; of more, only the best."""


class IntervalWords(NamedTuple):
    """An interval in words, empty where there is none. chance: what may be chance in it, empty where nothing is."""

    words: str
    chance: str


def interval_said(found: Mapping[str, Any]) -> IntervalWords:
    """The interval of a difference (as `compare.difference` has it): over seeds, or over documents where one is all.

    Seeds say nothing of other text: where the interval over documents includes zero and theirs does not, both are said.
    """
    seeds, documents = f"{found['seeds']} seed{'s' if found['seeds'] > 1 else ''}", found["documents"]
    one_text = documents["low"] is None
    if found["low"] is None:  # one seed says nothing about others
        if one_text:
            return IntervalWords("", "")
        return IntervalWords(f"95 % over documents; {seeds}: {_ends(documents)}", UNCERTAIN * _has_zero(documents))
    words = f"95 % over {seeds}: {_ends(found)}"
    if _has_zero(found) or one_text or not _has_zero(documents):
        return IntervalWords(words, UNCERTAIN * _has_zero(found))
    return IntervalWords(f"{words}; over documents: {_ends(documents)}", "with other text there may be no difference")


def _ends(interval: Mapping[str, Any]) -> str:
    return f"{interval['low']:+.4f} to {interval['high']:+.4f}"


def _has_zero(interval: Mapping[str, Any]) -> bool:
    return bool(interval["low"] <= 0 <= interval["high"])


def verdict(results: Mapping[str, Any]) -> str:
    """The best proxy arm against the best arm of raw bytes and every control; its transfer; each tokenizer arm; PPMd.

    So, too, what each claim is about. Which arm is best is said by validation text, so that the test split chooses
    nothing. All of it at the main cell, where the arms have runs there.
    """
    main = results["main"]
    if main is None:
        return (
            f"{results['queue']['done']} runs are done and {results['queue']['left']} are left: there is no size and "
            "budget yet at which every arm has all its seeds."
        )
    scored = {name: arm for name, arm in results["arms"].items() if arm["validation_bpb"] is not None}
    arms = {
        name: arm
        for name, arm in scored.items()
        if _known(arm["validation_bpb"]["mean"]) and _known(arm["raw_bpb"]["mean"])
    }
    by_role = {
        role: [name for name, arm in arms.items() if arm["role"] == role]
        for role in ("bytes", "control", "proxy", "tokenizer")
    }
    base, proxy = _best(arms, by_role["bytes"]), _best(arms, by_role["proxy"])
    said = [f"At equal training FLOPs ({main['flops']:.3g}, size {main['size']}):"]
    diverged = ", ".join(name for name in scored if name not in arms)
    if diverged:
        return f"There is no verdict: training of {diverged} diverged, and bits per byte are not finite there."
    if proxy is not None:
        others = [*([base] if base is not None else []), *by_role["control"]]
        said += [_compared(results, proxy, other) for other in others]
        said += transfer_said(results, proxy)
    if base is not None:
        if proxy is None:
            for name in by_role["control"]:
                said += [_compared(results, name, base), *transfer_said(results, name)]
        said += [_compared(results, name, base) for name in by_role["tokenizer"]]
    said += _claimed(results, arms, by_role["proxy"])
    said = [sentence for sentence in dict.fromkeys(said) if sentence]
    if len(said) == 1:
        said = [
            f"{name}: {arm['raw_bpb']['mean']:.4f} bits per byte on {arm['raw_bpb']['split']} text."
            for name, arm in arms.items()
        ]
    return " ".join([*said, *_under_trained(results, arms)])


def _known(value: float | None) -> bool:
    return value is not None and isfinite(value)


def _best(arms: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str | None:
    """The arm with the fewest bits per byte of validation text."""
    return min(names, key=lambda name: arms[name]["validation_bpb"]["mean"], default=None)


def _claimed(
    results: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]], proxies: Sequence[str]
) -> Iterator[str]:
    """What each claim is about: its arms, of many the best proxy arm, against those that it is made against."""
    for claim in results.get("claims", ()):
        about = [name for name in claim["arms"] if name not in claim["against"]]
        best = _best(arms, [name for name in proxies if name in about])
        if len(about) > _FEW:
            about = [] if best is None else [best]
        for other in claim["against"]:
            yield from (_compared(results, name, other, anywhere=True) for name in about)
        if best is not None:
            yield from transfer_said(results, best)


def _compared(results: Mapping[str, Any], arm: str, other: str, anywhere: bool = False) -> str:
    """One arm against another, on the test split where both were scored there; nothing where there is no difference.

    anywhere: at the largest budget that both have, where they have none in common at the main cell.
    """
    main = results["main"]
    known = [one for one in results["differences"] if (one["arm"], one["against"]) == (arm, other)]
    found = {one["split"]: one for one in known if (one["size"], one["flops"]) == (main["size"], main["flops"])}
    place = ""
    if anywhere and known and not found:
        largest = max(one["flops"] for one in known if one["size"] == known[-1]["size"])
        found = {one["split"]: one for one in known if (one["size"], one["flops"]) == (known[-1]["size"], largest)}
        place = f" at {largest:.3g} FLOPs, size {known[-1]['size']}"
    one = found.get("test") or found.get("validation")
    if one is None:
        return ""
    split = one["split"]
    mine, theirs = one["means"]  # of the seeds that both have: an arm's own mean may be of others, too
    scored = results["arms"][arm]["scored"]
    what = "on raw bytes" if scored == "raw" else "in the bits of its symbols"
    side = "below" if one["bpb"] < 0 else "above"
    sentence = (
        f"{arm} is {abs(one['percent']):.1f} % {side} {other} {what}, {mine:.4f} against {theirs:.4f} bits "
        f"per byte of {split} text{place}"
    )
    words, chance = interval_said(one)
    if not words:
        return f"{sentence} ({one['seeds']} seed{'s' if one['seeds'] > 1 else ''}, one document)."
    return f"{sentence} ({words})" + (f"; {chance}." if chance else ".")


def _under_trained(results: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Whether even the best arm of raw bytes in and out is above PPMd on the same text."""
    raw = [arm["raw_bpb"] for arm in arms.values() if arm["scored"] == "raw"]
    split = "test" if raw and all(one["split"] == "test" for one in raw) else "validation"
    means = (
        [one["mean"] for one in raw]
        if split == "test"
        else [arm["validation_bpb"]["mean"] for arm in arms.values() if arm["scored"] == "raw"]
    )
    ppmd = results["compressors"].get(split, {}).get("ppmd")
    if not means or ppmd is None or min(means) <= ppmd:
        return []
    return [
        f"Every arm that reads raw bytes is above PPMd ({ppmd:.3f} on the same {split} text): at this budget all of "
        "them are under-trained."
    ]
