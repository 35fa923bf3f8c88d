"""The difference between two models on the same documents, with an interval."""

from typing import NamedTuple

import numpy as np

from byteproxy.evaluate.bpb import Scored


class Difference(NamedTuple):
    """Bits per byte of one model minus another's, and a 95 % interval over the choice of documents."""

    bpb: float
    low: float
    high: float


def paired_difference(one: Scored, other: Scored, draws: int = 2000, seed: int = 0) -> Difference:
    """The paired bootstrap over documents: what another sample of such documents might have shown.

    The interval knows nothing of training seeds; a claim about a method needs several of them besides.
    """
    if not np.array_equal(one.bytes, other.bytes):
        raise ValueError("the two models were not scored on the same documents")
    documents = len(one.bytes)
    chosen = np.random.default_rng(seed).integers(0, documents, (draws, documents))
    extra = one.bits - other.bits
    differences = extra[chosen].sum(1) / one.bytes[chosen].sum(1)
    low, high = np.quantile(differences, (0.025, 0.975))
    return Difference(one.bpb - other.bpb, float(low), float(high))
