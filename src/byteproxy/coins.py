"""Random numbers without a generator: every coin is a hash of (seed, draw number, purpose).

So any process can compute any coin by itself, and nothing has to be saved or kept in step. The mixing function
is SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014). `permuted` walks a keyed Feistel network in cycles
until it lands below n (Black and Rogaway, CT-RSA 2002): an order of n passages that costs O(1) memory,
and under four steps a draw on average, whatever n is.
"""

import numpy as np

from byteproxy.jit import nb

# What a coin is for.
KIND, ORDER, EPOCH, SPLIT, CUT, SOURCE, VIEW, SEGMENT, CHAIN, HINT = map(np.uint64, range(1, 11))
_ROUNDS = 4


@nb.njit(nb.uint64(nb.uint64), cache=True)
def mixed(x: np.uint64) -> np.uint64:
    """Scramble 64 bits; a bijection."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@nb.njit(nb.uint64(nb.uint64, nb.uint64, nb.uint64), cache=True)
def hashed(seed: np.uint64, draw: np.uint64, purpose: np.uint64) -> np.uint64:
    """64 random bits that depend on nothing but the three arguments."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    return mixed(mixed(mixed(seed + golden) ^ (purpose * golden)) + draw * golden)


@nb.njit(nb.uint64[:](nb.uint64, nb.int64, nb.uint64), cache=True)
def hashes(seed: np.uint64, count: int, purpose: np.uint64) -> np.ndarray:
    """`hashed` of the draws 0 to count - 1, uint64 [count]."""
    found = np.empty(count, np.uint64)
    for draw in range(count):
        found[draw] = hashed(seed, np.uint64(draw), purpose)
    return found


@nb.njit(nb.float64(nb.uint64, nb.uint64, nb.uint64), cache=True)
def coin(seed: np.uint64, draw: np.uint64, purpose: np.uint64) -> float:
    """A uniform number in [0, 1), with 53 bits."""
    return float(hashed(seed, draw, purpose) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@nb.njit(nb.int64(nb.int64, nb.int64, nb.uint64), cache=True)
def permuted(index: int, n: int, key: np.uint64) -> int:
    """Where `index` goes in the permutation of range(n) that belongs to `key`."""
    half = np.uint64(1)
    while (np.int64(1) << np.int64(2 * half)) < n:
        half += np.uint64(1)
    low = (np.uint64(1) << half) - np.uint64(1)
    x = np.uint64(index)
    while True:
        left, right = x >> half, x & low
        for turn in range(_ROUNDS):
            left, right = right, left ^ (hashed(key, right, np.uint64(turn)) & low)
        x = (left << half) | right
        if np.int64(x) < n:
            return int(x)


@nb.njit(nb.int64(nb.uint64, nb.int64, nb.int64), cache=True)
def passage_of(seed: np.uint64, draw: int, n: int) -> int:
    """The passage that a draw shows: every epoch of n draws shows each of n passages once, in a new order."""
    epoch = np.uint64(draw // n)
    return permuted(draw % n, n, hashed(seed, epoch, EPOCH))
