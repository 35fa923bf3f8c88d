import numpy as np
import pytest

from byteproxy.evaluate.bpb import Scored
from byteproxy.evaluate.paired import paired_difference


def scored(bits, sizes):
    return Scored(np.array(bits, float), np.array(sizes))


def test_difference_and_interval():
    generator = np.random.default_rng(0)
    sizes = generator.integers(100, 1000, 200)
    base = sizes * generator.uniform(1, 3, 200)
    shifted = base + 0.1 * sizes + generator.normal(0, 20, 200)
    found = paired_difference(scored(shifted, sizes), scored(base, sizes))
    assert found.bpb == pytest.approx(0.1, abs=0.01)
    assert found.low < found.bpb < found.high
    assert found.low > 0
    # Against the textbook error of a ratio of sums.
    extra = (shifted - base) - found.bpb * sizes
    error = np.sqrt((extra**2).sum()) / sizes.sum()
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.15)


def test_only_the_same_documents_can_be_compared():
    with pytest.raises(ValueError, match="same documents"):
        paired_difference(scored([1, 2], [3, 4]), scored([1, 2], [4, 3]))
