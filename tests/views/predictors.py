"""Predictors for tests: pure functions of the prefix, as skewed as text is, with no model behind them."""

from hashlib import blake2b, sha256

import numpy as np


class Hashed:
    """Counts drawn by a hash of the prefix. peak: share of the total that the likeliest byte gets, about."""

    def __init__(self, seed=0, precision=16, peak=0.7, uneven=3):
        self.seed, self.precision, self.peak, self.uneven = seed, precision, peak, uneven
        self.asked = []

    @property
    def fingerprint(self):
        return sha256(f"{self.seed} {self.precision} {self.peak} {self.uneven}".encode()).hexdigest()

    def counts(self, prefixes):
        self.asked += prefixes
        return np.array([self.of(prefix) for prefix in prefixes], np.int64).reshape(-1, 256)

    def of(self, prefix):
        key = int.from_bytes(blake2b(prefix, digest_size=8, key=self.seed.to_bytes(8, "big")).digest(), "big")
        dice = np.random.default_rng(key)
        spare = (1 << self.precision) - 256
        share = dice.random(256) ** self.uneven
        share[:8] *= 20  # few bytes, so that documents of them meet long strings
        counts = 1 + (share / share.sum() * spare * (1 - self.peak)).astype(np.int64)
        likely = int(dice.integers(8))
        counts[likely] += (1 << self.precision) - counts.sum()
        return counts
