from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.evaluate.corpus.corpus_figures import PERCENTILES, histogram, percentiles

LENGTHS = st.lists(st.one_of(st.integers(0, 20), st.integers(0, 1 << 45)), min_size=1, max_size=60)


@given(LENGTHS)
def test_every_length_is_in_the_entry_that_says_so(lengths):
    found = histogram(np.array(lengths, np.int64))
    assert [one["from"] for one in found[1:]] == [one["to"] + 1 for one in found[:-1]], "no gap"
    for one in found:
        mine = [length for length in lengths if one["from"] <= length <= one["to"]]
        assert (one["documents"], one["bytes"]) == (len(mine), sum(mine))
    assert sum(one["documents"] for one in found) == len(lengths)
    assert found[0]["documents"] > 0
    assert found[-1]["documents"] > 0


@given(LENGTHS)
def test_percentiles_are_lengths_that_so_many_do_not_exceed(lengths):
    found = percentiles(np.array(lengths, np.int64))
    assert (found["smallest"], found["largest"]) == (min(lengths), max(lengths))
    assert found["mean"] == pytest.approx(sum(lengths) / len(lengths))
    counts = Counter(lengths)
    for percentile in PERCENTILES:
        length = found[f"p{percentile}"]
        assert counts[length]
        assert sum(one <= length for one in lengths) >= percentile / 100 * len(lengths)
        assert sum(one < length for one in lengths) < percentile / 100 * len(lengths) + 1e-9


def test_of_nothing_there_is_nothing_to_say():
    assert percentiles(np.empty(0, np.int64)) is None
    assert histogram(np.empty(0, np.int64)) == []
