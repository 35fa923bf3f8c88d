import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.mixture.schedule import BYTES, PAPER, Mixture, Moment, at, shares


@given(rate=st.floats(0, 1), paired=st.booleans())
def test_the_kinds_of_draw_give_the_rate(rate: float, paired: bool):
    raw, compressed, pair = shares(Moment(rate, paired))
    assert min(raw, compressed, pair) >= 0
    assert raw + compressed + pair == pytest.approx(1)
    assert (compressed + pair) / (raw + compressed + 2 * pair) == pytest.approx(rate)
    assert paired or pair == 0


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.6, 0.9])
def test_pairs_are_as_frequent_as_the_rate_allows(rate: float):
    raw, compressed, pair = shares(Moment(rate, True))
    assert pair > 0
    assert min(raw, compressed) == 0


def test_the_papers_schedule():
    assert at(PAPER, 0, 1000) == Moment(0.4, True)
    assert at(PAPER, 100, 1000) == Moment(pytest.approx(0.65), True)
    assert at(PAPER, 199, 1000).paired
    assert at(PAPER, 200, 1000) == at(PAPER, 999, 1000) == Moment(0.9, False)
    assert at(BYTES, 0, 10) == at(BYTES, 9, 10) == Moment(0.0, False)
    assert PAPER.needs_view
    assert not BYTES.needs_view


def test_a_wrong_share_is_refused_by_name():
    with pytest.raises(InputError, match=r"mixture\.rate_end"):
        Mixture(rate_end=1.5)
