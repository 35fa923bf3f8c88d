"""Stretches left raw: against the oracle's account of them, and read back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.views.neural_oracle import Window
from tests.views.neural_oracle import written as told

from byteproxy.views.raw_stretches import CLOSE, FIRST_BYTE, OPEN, SHORTEST, written

sizes = st.lists(st.one_of(st.integers(1, 3), st.integers(1, 64)), max_size=60)


@given(sizes, st.integers(1, 4), st.integers(4, 12), st.integers(0, 8), st.integers(0, 2**31))
def test_it_is_the_oracles_account(lengths, parts, bits, raw, seed):
    rng = np.random.default_rng(seed)
    text = rng.integers(0, 256, sum(lengths), np.uint8)
    numbers = rng.integers(0, 1 << min(bits * parts, 31), len(lengths))
    found = written(text, numbers, np.array(lengths, np.int64), bits, parts, raw)
    windows = [Window(int(number), size) for number, size in zip(numbers, lengths, strict=True)]
    expected = told(text.tobytes(), windows, bits, parts, raw)
    assert list(zip(found[0].tolist(), found[1].tolist(), strict=True)) == expected
    assert found[1].sum() == len(text)
    if len(text):
        assert found[1][-1] > 0
    check_stretches(text, *found, windows, bits, raw)


def check_stretches(text, symbols, spans, windows, bits, raw):
    """What stands between sentinels is the text there; it is long enough, and no window of it holds much."""
    own = symbols.astype(np.int64) - (1 << bits)
    opened = np.flatnonzero(own == OPEN)
    closed = np.flatnonzero(own == CLOSE)
    assert len(opened) == len(closed)
    begins = np.concatenate([[0], np.cumsum([window.size for window in windows], dtype=np.int64)])
    inside = np.zeros(len(own), bool)
    left_raw = np.zeros(len(windows), bool)
    for begin, end in zip(opened.tolist(), closed.tolist(), strict=True):
        at = int(spans[:begin].sum())
        raw_bytes = own[begin + 1 : end] - FIRST_BYTE
        assert len(raw_bytes) >= SHORTEST
        assert np.array_equal(raw_bytes, text[at : at + len(raw_bytes)])
        inside[begin : end + 1] = True
        first, last = np.searchsorted(begins, [at, at + len(raw_bytes)])
        assert begins[first] == at
        assert max(window.size for window in windows[first:last]) < raw
        left_raw[first:last] = True
    assert (own[~inside] < 0).all()
    short = np.array([window.size < raw for window in windows], bool)
    covered = 0
    for window, is_short, is_raw in zip(windows, short.tolist(), left_raw.tolist(), strict=True):
        covered = covered + window.size if is_short and not is_raw else 0
        assert covered < SHORTEST


def test_by_hand():
    text = np.frombuffer(b"abcdefgh" + b"wxyz", np.uint8)
    symbols, spans = written(text, np.arange(9), np.array([1] * 8 + [4]), 4, 1, 2)
    assert symbols.tolist() == [16, *(18 + byte for byte in b"abcdefgh"), 17, 8]
    assert spans.tolist() == [0, *[1] * 7, 0, 1, 4]
    symbols, spans = written(text, np.arange(9), np.array([1] * 8 + [4]), 4, 1, 0)
    assert symbols.tolist() == list(range(9))
    assert spans.tolist() == [1] * 8 + [4]
