"""A scale that goes away: where it begins, where it falls, and that nothing of it is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.mixture.fading import Fading

SHARES = st.floats(0, 1)


@given(start=st.floats(0, 1e6), one=SHARES, other=SHARES, progress=st.lists(SHARES, min_size=2, max_size=20))
def test_it_stays_then_falls_to_nothing_and_never_rises(start, one, other, progress):
    fading = Fading(start, min(one, other), max(one, other))
    scales = [fading.at(share) for share in sorted(progress)]
    assert scales == sorted(scales, reverse=True)
    assert fading.at(1.0) == fading.at(fading.until) == 0.0
    assert fading.until == fading.steady or fading.at(fading.steady) == start
    middle = (fading.steady + fading.until) / 2
    if fading.until - fading.steady > 1e-6:
        assert fading.at(middle) == pytest.approx(start / 2, rel=1e-3)
    assert not fading.stays


@given(start=st.floats(1e-3, 1e6), progress=SHARES)
def test_without_an_end_it_stays(start, progress):
    assert Fading(start).at(progress) == start
    assert Fading(start).stays


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steady": 0.5}, "no fall follows it"),
        ({"steady": 0.5, "until": 0.4}, r"until is 0\.4, before the fall begins"),
        ({"start": -1.0}, "start is -1"),
        ({"until": 1.5}, "until is 1.5"),
    ],
)
def test_what_makes_no_sense_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        Fading(**values)
