"""The difference between two models on the same text, with an interval."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from byteproxy.generate.score import Scored

_CHOSEN = 1 << 22  # documents drawn at a time, over all draws


class Difference(NamedTuple):
    """Bits per byte of one model minus another's, and a 95 % interval; its ends are NaN where one unit is all."""

    bpb: float
    low: float
    high: float


def paired_difference(one: Scored, other: Scored, draws: int = 2000, seed: int = 0) -> Difference:
    """The paired bootstrap over documents: what another sample of such documents might have shown.

    Documents of one project are not independent; over `grouped` ones, the draws are of projects. The interval knows
    nothing of training seeds; a claim about a method needs several of them besides.
    """
    if not np.array_equal(one.bytes, other.bytes):
        raise ValueError("the two models were not scored on the same documents")
    documents = len(one.bytes)
    extra = one.bits - other.bits
    if documents < 2:
        return Difference(one.bpb - other.bpb, float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    at_once = max(1, _CHOSEN // documents)
    differences = []
    for first in range(0, draws, at_once):
        chosen = rng.integers(0, documents, (min(at_once, draws - first), documents))
        differences.append(extra[chosen].sum(1) / one.bytes[chosen].sum(1))
    low, high = np.quantile(np.concatenate(differences), (0.025, 0.975))
    return Difference(one.bpb - other.bpb, float(low), float(high))


def grouped(scored: Scored, names: Sequence[str]) -> tuple[list[str], Scored]:
    """What documents cost, summed over those of one name: the names in order of the alphabet, and their sums.

    names: of each document, such as its project.
    """
    found, which = np.unique(np.array(names, dtype=object), return_inverse=True)
    bits = np.bincount(which, weights=scored.bits, minlength=len(found))
    sizes = np.bincount(which, weights=scored.bytes, minlength=len(found)).astype(np.int64)
    return found.tolist(), Scored(bits, sizes)
