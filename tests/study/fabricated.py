"""The results of a study that never was: five arms, three seeds, three budgets, two sizes, all of them done."""

import math
from collections.abc import Iterator
from typing import Any

ARMS = {"bytes": 0.0, "multi_byte": -0.012, "codebook": -0.055, "bpe_proxy": -0.031, "bpe_only": -0.11}
ROLES = ("bytes", "control", "proxy", "proxy", "tokenizer")
SEEDS = (0, 1, 2)
SIZES = {"1m": 1_050_000, "3m": 3_100_000}
BUDGETS = (3e12, 6e12, 1.2e13)
RATES = (0.005, 0.01, 0.02)
PPMD = {"validation": 1.71, "test": 1.68}
CODE = (
    b'class Gr\xc3\xb6\xc3\x9fe:\n\t"""Ma\xc3\x9fe: \xe6\x97\xa5\xe6\x9c\xac <b>&amp;</b>"""\n\n'
    b"    def area(self, x):\n        return x ** 2   \n\xff\xfe\x00\x1b[0m \xe6\x97\r\n"
    b"    # \xe2\x80\xae reversed \xe2\x86\x92 and \xc2\xb7 \xe2\x8f\x8e\n"
)
EXCERPTS = (
    CODE
    + b"".join(b"    def method_%d(self, value=%d):\n        return self.items[value]\n\n" % (n, n) for n in range(16)),
    b"import os\n\n\ndef walk(top):\n    for name in os.listdir(top):\n        yield os.path.join(top, name)\n" * 12,
)


def bpb(arm: str, size: str, flops: float, seed: int) -> float:
    """Falls with compute; gains shrink with it; seeds differ by some thousandths."""
    doublings = math.log2(flops / BUDGETS[0])
    level = 2.45 - 0.16 * doublings - 0.05 * (size == "3m")
    return level * (1 + ARMS[arm] * (1 - 0.2 * doublings)) + 0.006 * math.sin(7 * seed + 3 * len(arm) + doublings)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def curve(arm: str, size: str, flops: float, seed: int) -> list[dict[str, float]]:
    end, spread = bpb(arm, size, flops, seed), 3.2 if arm in ("codebook", "bpe_proxy", "bpe_only") else 1.0
    looks = []
    for step in range(1, 13):
        share = step / 12
        wobble = 0.01 * math.sin(11 * seed + step)
        looks.append(
            {
                "step": 100 * step,
                "flops": flops * share,
                "positions": 2.9e6 * share * flops / BUDGETS[-1],
                "text_bytes": 2.9e6 * spread * share * flops / BUDGETS[-1],
                "seconds": (170 + 9 * len(arm) + 3 * seed) * share * flops / BUDGETS[-1],
                "raw_bpb": end + 1.1 * (share**-0.45 - 1) + wobble * (step < 12),
            }
        )
    return looks


def runs() -> Iterator[dict[str, Any]]:
    for arm in ARMS:
        for size in SIZES:
            for flops in BUDGETS:
                for seed in SEEDS:
                    looks = curve(arm, size, flops, seed)
                    yield {
                        "key": f"{arm} {size} {flops:g} {seed}",
                        "kind": "final",
                        "arm": arm,
                        "size": size,
                        "flops_asked": flops,
                        "seed": seed,
                        "learning_rate": 0.01,
                        "sequences_per_step": 32,
                        **{name: looks[-1][name] for name in ("flops", "positions", "seconds")},
                        "steps": 1200,
                        "text_bytes_seen": looks[-1]["text_bytes"],
                        "raw_text_bytes_seen": 0.7e6,
                        "wall_seconds": 1.1 * looks[-1]["seconds"],
                        "parameters": SIZES[size],
                        "validation_bpb": bpb(arm, size, flops, seed) + 0.03,
                        "test_bpb": bpb(arm, size, flops, seed),
                        "compressed_share": {"positions": 0.7},
                        "curve": looks,
                    }


def gap(arm: str, against: str, size: str, flops: float, seed: int) -> float:
    return 100 * (bpb(arm, size, flops, seed) / bpb(against, size, flops, seed) - 1)


def difference(arm: str, against: str, size: str, flops: float, split: str) -> dict[str, Any]:
    gaps = [bpb(arm, size, flops, seed) - bpb(against, size, flops, seed) for seed in SEEDS]
    middle = mean(gaps)
    half = 4.303 * math.sqrt(sum((gap - middle) ** 2 for gap in gaps) / 2 / 3)
    return {
        "arm": arm,
        "against": against,
        "size": size,
        "flops": flops,
        "split": split,
        "bpb": middle,
        "low": middle - half,
        "high": middle + half,
        "percent": mean([gap(arm, against, size, flops, seed) for seed in SEEDS]),
        "seeds": 3,
        "documents": {"low": middle - 0.012, "high": middle + 0.013},
    }


def fit(arm: str, against: str, over: str) -> dict[str, Any]:
    """Least squares over doublings, with Student's intervals at 7 or 4 degrees of freedom."""
    if over == "flops":
        found = [(flops, gap(arm, against, "3m", flops, seed), seed) for flops in BUDGETS for seed in SEEDS]
    else:
        found = [(SIZES[size], gap(arm, against, size, BUDGETS[-1], seed), seed) for size in SIZES for seed in SEEDS]
    us, ys = [math.log2(x) for x, _, _ in found], [y for _, y, _ in found]
    quantile = {7: 2.365, 4: 2.776}[len(us) - 2]
    spread = sum((u - mean(us)) ** 2 for u in us)
    slope = sum((u - mean(us)) * y for u, y in zip(us, ys, strict=True)) / spread
    end = mean(ys) + slope * (max(us) - mean(us))
    left = sum((y - mean(ys) - slope * (u - mean(us))) ** 2 for u, y in zip(us, ys, strict=True))
    noise = quantile * math.sqrt(left / (len(us) - 2))
    half, end_half = noise / math.sqrt(spread), noise * math.sqrt(1 / len(us) + (max(us) - mean(us)) ** 2 / spread)
    zero = max(us) - end / slope
    return {
        "arm": arm,
        "against": against,
        "over": over,
        "split": "test",
        "points": [{"x": x, "gap": y, "seed": seed} for x, y, seed in found],
        "slope": slope,
        "low": slope - half,
        "high": slope + half,
        "at_largest": {"gap": end, "low": end - end_half, "high": end + end_half},
        "vanishes_at": None if end * slope >= 0 or zero > 300 else 2**zero,
    }


def multiplier(arm: str, size: str, flops: float, split: str) -> dict[str, Any]:
    """An arm that is ahead of bytes is beyond the curve at the last budget; one that reads symbols only has no m."""
    said = {"arm": arm, "size": size, "flops": flops, "split": split, "against": "bytes", "budgets": len(BUDGETS)}
    unknown = dict.fromkeys(("m", "low", "high", "over", "more_than", "less_than", "break_even", "stands", "refused"))
    if arm == "bpe_only":
        return {**said, **unknown, "raw_text": 0.0, "refused": "its bits are those of its symbols"}
    even = 2.9e6 * flops / BUDGETS[-1] / 0.7e6
    said |= {**unknown, "raw_text": 0.7e6, "break_even": even, "over": "seeds and documents"}
    if flops == BUDGETS[-1]:
        why = "better than bytes at any budget"
        return {**said, "more_than": even, "low": 0.97 * even, "stands": "unclear", "refused": why}
    m = even * (1.2 - ARMS[arm])
    return {**said, "m": m, "low": 0.98 * m, "high": 1.04 * m, "stands": "above"}


def change(arm: str, size: str) -> dict[str, Any]:
    known = {"ratio": 2.1, "low": 1.8, "high": 2.3, "over": "seeds and documents", "direction": "rises"}
    said = {"arm": arm, "size": size, "split": "test", "from": BUDGETS[0], "to": BUDGETS[1]}
    return {**said, **known, "more_than": None, "less_than": None}


def viewed(number: int, data: bytes) -> dict[str, Any]:
    spans, left = [], len(data)
    while left:
        spans.append(min(left, 1 + (len(spans) * 7 + number) % 5))
        left -= spans[-1]
    bits = {
        arm: [(2.2 + gain) * abs(math.sin(0.37 * place + value)) ** 3 * 4 for place, value in enumerate(data)]
        for arm, gain in ARMS.items()
    }
    return {
        "document": f"project{number}/pkg/größe.py",
        "project": f"project{number}",
        "text": list(data),
        "bits": bits,
        "cuts": {"codebook-4096": spans, "bpe-4096": [min(3, len(data) - at) for at in range(0, len(data), 3)]},
    }


def arm_figures(name: str, role: str) -> dict[str, Any]:
    size, flops = "3m", BUDGETS[-1]
    scores = {str(seed): bpb(name, size, flops, seed) for seed in SEEDS}
    last = curve(name, size, flops, 1)[-1]
    return {
        "about": f"What the {name} arm does with its compute",
        "role": role,
        "scored": "view" if role == "tokenizer" else "raw",
        "raw_bpb": {"mean": mean(list(scores.values())), "seeds": scores, "split": "test"},
        "validation_bpb": {
            "mean": mean(list(scores.values())) + 0.03,
            "seeds": {seed: score + 0.03 for seed, score in scores.items()},
        },
        "flops": flops * (1 + 0.0004 * len(name)),
        "positions": last["positions"],
        "steps": 1200.0,
        "text_bytes_seen": last["text_bytes"],
        "raw_text_bytes_seen": 0.0 if role == "tokenizer" else 790_000.0,
        "seconds": last["seconds"],
        "parameters": SIZES[size] + 10_000 * len(name),
        "learning_rate": 0.01,
        "sequences_per_step": 32,
    }


def read_at() -> dict[str, Any]:
    ends = {"positions": 2.9e6, "text_bytes": 2.9e6, "seconds": 215.0}
    return {key: {"at": at, "arms": {arm: 2.1 + gain for arm, gain in ARMS.items()}} for key, at in ends.items()}


def results() -> dict[str, Any]:
    """All of it, as results.json holds it."""
    finals = list(runs())
    pairs = [(arm, against) for arm in ARMS for against in ("bytes", "multi_byte") if arm != against]
    cells = [
        {
            "arm": arm,
            "size": size,
            "flops": flops,
            "split": split,
            "mean": mean([bpb(arm, size, flops, seed) for seed in SEEDS]) + 0.03 * (split == "validation"),
            "seeds": {str(seed): bpb(arm, size, flops, seed) for seed in SEEDS},
            "text_bytes_seen": 2.9e6,
            "positions": 2.9e6,
            "seconds": 200.0,
        }
        for size in SIZES
        for flops in BUDGETS
        for split in ("test", "validation")
        for arm in ARMS
    ]
    trials = [
        {
            "arm": arm,
            "size": size,
            "learning_rate": rate,
            "sequences_per_step": rows,
            "flops": 3e12,
            "validation_bpb": 2.5 + 0.1 * abs(rate - 0.01) * 100 + rows / 1000 + len(arm) / 1e4,
            "chosen": rate == 0.01 and rows == 32,
        }
        for arm in ARMS
        for size in SIZES
        for rows in (32, 64)
        for rate in RATES
    ]
    return {
        "byteproxy": "0.1.0",
        "study": "study_small",
        "about": "What compressed text brings a small byte model, at equal compute and fairly tuned.",
        "corpus": {
            "path": "runs/study_small/corpus",
            "fingerprint": "3f9a01c2d4e5",
            "splits": {
                "train": {"documents": 1610, "bytes": 28_400_000, "projects": 190},
                "validation": {"documents": 120, "bytes": 2_100_000, "projects": 14},
                "test": {"documents": 180, "bytes": 3_100_000, "projects": 22},
            },
        },
        "machine": {"processor": "Some CPU", "cores": 2, "python": "3.11.7", "torch": "2.13.0", "dtype": "bfloat16"},
        "main": {"size": "3m", "flops": BUDGETS[-1], "seeds": list(SEEDS)},
        "arms": {name: arm_figures(name, role) for name, role in zip(ARMS, ROLES, strict=True)},
        "cells": cells,
        "differences": [
            difference(arm, against, size, flops, split)
            for size in SIZES
            for flops in BUDGETS
            for split in ("test", "validation")
            for arm, against in pairs
        ],
        "m": [
            multiplier(arm, size, flops, split)
            for size in SIZES
            for flops in BUDGETS
            for split in ("test", "validation")
            for arm in list(ARMS)[1:]
        ],
        "m_trends": [change(arm, size) for size in SIZES for arm in list(ARMS)[1:-1]],
        "read_at": read_at(),
        "fits": [fit(arm, against, over) for arm, against in pairs for over in ("flops", "parameters")],
        "trials": trials,
        "runs": finals,
        "curve_text": {"bytes": 50_000, "documents": 16, "compressors": {"xz": 2.03, "zstd": 1.98, "ppmd": 1.77}},
        "compressors": {split: {"xz": ppmd + 0.3, "zstd": ppmd + 0.4, "ppmd": ppmd} for split, ppmd in PPMD.items()},
        "scored": {"validation": {"bytes": 300_000, "documents": 61}, "test": {"bytes": 1_000_000, "documents": 173}},
        "viewer": [viewed(number, data) for number, data in enumerate(EXCERPTS)],
        "opened": [{"time": "2026-01-02T03:04:05Z", "claim": "proxy against bytes", "runs": ["a", "b", "c"]}],
        "queue": {"done": 148, "left": 2, "failed": [{"key": "codebook 3m 1.2e+13 7", "why": "ran out of <memory>"}]},
        "verdict": (
            "At equal training FLOPs (1.2e+13, size 3m): codebook is 3.2 % below bytes on raw bytes, 2.0130 against"
            " 2.0800 bits per byte of test text (95 % over 3 seeds: -0.0810 to -0.0520)."
        ),
        "report": "runs/study_small/report.html",
    }
