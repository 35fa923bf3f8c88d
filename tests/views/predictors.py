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
        rng = np.random.default_rng(key)
        spare = (1 << self.precision) - 256
        share = rng.random(256) ** self.uneven
        share[:8] *= 20  # few bytes, so that documents of them meet long strings
        counts = 1 + (share / share.sum() * spare * (1 - self.peak)).astype(np.int64)
        likely = int(rng.integers(8))
        counts[likely] += (1 << self.precision) - counts.sum()
        return counts


class Rolling:
    """Counts by a rolling hash of the prefix, for trees of any size: a `Predictor`, and a `Grower` that remembers it.

    One of eight bytes takes `peak` of the total, three more most of the rest.
    """

    def __init__(self, precision=16, peak=0.6):
        self.precision, self.peak = precision, peak

    fingerprint = "rolling"

    def begin(self):
        return np.zeros(1, np.uint64), self._of(np.zeros(1, np.uint64))

    def grow(self, memory, rows, bytes_):
        longer = memory[rows] * np.uint64(0x9E3779B97F4A7C15) + bytes_.astype(np.uint64) + np.uint64(1)
        return longer, self._of(longer)

    def counts(self, prefixes):
        keys = []
        for prefix in prefixes:
            key = 0
            for byte in prefix:
                key = (key * 0x9E3779B97F4A7C15 + byte + 1) % (1 << 64)
            keys.append(key)
        return self._of(np.array(keys, np.uint64))

    def _of(self, keys):
        mixed = (keys ^ keys >> np.uint64(29)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(32)
        spare = (1 << self.precision) - 256
        counts = np.ones((len(keys), 256), np.int64)
        row, left = np.arange(len(keys)), np.full(len(keys), spare)
        for place, share in enumerate((self.peak, *[(1 - self.peak) * 0.3] * 3)):
            own = (mixed >> np.uint64(3 * place) & np.uint64(7)).astype(np.int64)
            added = share * (0.8 + 0.2 * (mixed >> np.uint64(20) & np.uint64(15)).astype(float) / 15) * spare
            counts[row, own] += added.astype(np.int64)
            left -= added.astype(np.int64)
        counts[:, 8] += left
        return counts
