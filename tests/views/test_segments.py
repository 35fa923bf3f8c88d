"""Cuts from entropies, against a loop that is told like the rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from byteproxy.errors import InputError
from byteproxy.views.segments import LONGEST_SEGMENT, Thresholds, cuts_of, thresholds

some_bits = arrays(np.float32, st.integers(0, 60), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5, 8.0]))
chosen = st.builds(
    Thresholds, st.sampled_from(["global", "monotonic", "either"]), st.sampled_from([0.5, 1.5, 9]), st.just(1)
)


@given(some_bits, chosen, st.integers(1, 40))
def test_cuts_are_where_the_rule_says(bits, chosen, times):
    """Over and over, so that some stretches are longer than a segment may be."""
    bits = np.tile(bits, times)
    begin, expected = 0, []
    for at in range(1, len(bits)):
        high = chosen.criterion in ("global", "either") and bits[at] > chosen.level
        risen = chosen.criterion in ("monotonic", "either") and bits[at] - bits[at - 1] > chosen.rise
        if high or risen or at - begin == LONGEST_SEGMENT:
            expected.append(at)
            begin = at
    assert cuts_of(bits, chosen).tolist() == expected


def test_a_document_that_is_easy_is_cut_by_length_alone():
    assert cuts_of(np.zeros(1200, np.float32), Thresholds("either", 1, 1)).tolist() == [512, 1024]
    assert cuts_of(np.zeros(0, np.float32), Thresholds("either", 1, 1)).tolist() == []


def test_thresholds_are_quantiles_of_what_follows_a_documents_first_byte():
    documents = [np.array([8, *range(100)], np.float32), np.zeros(0, np.float32), np.array([7], np.float32)]
    found = thresholds(documents, "global", 0.9)
    assert found.level == pytest.approx(np.quantile(np.arange(100), 0.9))
    assert found.rise == pytest.approx(np.quantile([-8, *[1] * 99], 0.9))
    share = (cuts_of(documents[0], found) > 0).sum() / 100
    assert share == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("documents", "criterion", "quantile", "said"),
    [
        ([np.zeros(9)], "global", 1.0, "quantile is 1.0"),
        ([np.zeros(9)], "globe", 0.5, "criterion is 'globe'"),
        ([np.zeros(1), np.zeros(0)], "global", 0.5, "no two bytes in a row"),
    ],
)
def test_what_gives_no_thresholds(documents, criterion, quantile, said):
    with pytest.raises(InputError, match=said):
        thresholds(documents, criterion, quantile)
