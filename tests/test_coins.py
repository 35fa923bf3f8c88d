import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from byteproxy import coins


@given(n=st.integers(1, 700), key=st.integers(0, 2**64 - 1))
def test_permuted_is_a_permutation(n: int, key: int):
    assert sorted(coins.permuted(i, n, np.uint64(key)) for i in range(n)) == list(range(n))


def test_every_epoch_shows_every_passage_once_in_an_order_of_its_own():
    n = 1000
    epochs = [[coins.passage_of(np.uint64(7), e * n + i, n) for i in range(n)] for e in range(3)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    assert all(np.mean(np.equal(a, b)) < 0.02 for a, b in [epochs[:2], epochs[1:]])
    assert epochs[0] != [coins.passage_of(np.uint64(8), i, n) for i in range(n)]


def test_permuted_reaches_far():
    n = 10**12
    seen = [coins.permuted(i, n, np.uint64(1)) for i in range(2000)]
    assert len(set(seen)) == 2000
    assert abs(np.mean(seen) / n - 0.5) < 0.03


def test_coins_are_uniform_and_do_not_depend_on_each_other():
    draws = np.arange(20_000)
    one = np.array([coins.coin(np.uint64(3), d, coins.KIND) for d in draws])
    two = np.array([coins.coin(np.uint64(3), d, coins.ORDER) for d in draws])
    for tosses in (one, two):
        assert tosses.min() >= 0
        assert tosses.max() < 1
        assert np.abs(np.histogram(tosses, 10, (0, 1))[0] / 2000 - 1).max() < 0.1
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.03
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.03
