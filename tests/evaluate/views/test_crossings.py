"""How many symbols cross the bounds of words and lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluate.views.test_view_figures import encoded

from byteproxy.evaluate.views.view_figures import crossings


def crossing(*symbols):
    """The shares of word and line for a text that is cut as it is written here."""
    text = b"".join(symbols)
    found = crossings([encoded([0] * len(symbols), [len(symbol) for symbol in symbols])], [text], True)
    return found["crosses_word"], found["crosses_line"]


@pytest.mark.parametrize(
    ("symbol", "crosses"),
    [
        (b"name", False),
        (b" name", False),
        (b"\tname", False),
        (b"  name", True),
        (b" ", False),
        (b" = ", False),
        (b" =x", True),
        (b"name ", True),
        (b" name ", True),
        (b"name(", True),
        (b"f(x", True),
        (b"()", False),
        (b"a_1", False),
        (b"a-1", True),
        ("größe".encode(), False),
        ("größe!".encode(), True),
        (b".x", True),
        (b"\nx", True),
        (b"x", False),
    ],
)
def test_what_crosses_a_word(symbol, crosses):
    assert crossing(symbol)[0] == crosses
    assert crossing(b"..", symbol, b"..")[0] == pytest.approx(crosses / 3), "neighbours don't matter"
    assert crossing(b"ab", symbol, b"ab")[0] == pytest.approx(crosses / 3)


@pytest.mark.parametrize(
    ("symbol", "crosses"), [(b"\n", False), (b"a\n", False), (b"\n\n", True), (b"\na", True), (b"a", False)]
)
def test_what_crosses_a_line(symbol, crosses):
    assert crossing(symbol)[1] == crosses
    assert crossing(b"\n", symbol, b"\n")[1] == pytest.approx(crosses / 3)


def test_symbols_that_cover_nothing_do_not_count():
    found = crossings([encoded([0] * 5, [0, 0, 2, 0, 1])], [b"a.b"], True)
    assert found == {"crosses_word": 0.5, "crosses_line": 0.0}
    assert crossings([encoded([1] * 3, [0, 0, 3])], [b"a.b"], False) == {"crosses_word": None, "crosses_line": None}
    assert crossings([encoded([])], [b""], True) == {"crosses_word": None, "crosses_line": None}


@given(
    st.lists(
        st.lists(st.sampled_from([b"a", b" ", b"\t", b"\n", b"(", b"\xc3", b"_"]), min_size=1, max_size=5), max_size=9
    )
)
def test_crossings_as_spelled_out(pieces):
    symbols = [b"".join(piece) for piece in pieces]
    words = lines = 0
    for symbol in symbols:
        is_word = [bytes([value]).isalnum() or value >= 128 or value == ord("_") for value in symbol]
        edges = {at for at in range(1, len(symbol)) if is_word[at] != is_word[at - 1]}
        words += bool(edges - ({1} if symbol[:1] in (b" ", b"\t") else set()))
        lines += b"\n" in symbol[:-1]
    if symbols:
        assert crossing(*symbols) == (pytest.approx(words / len(symbols)), pytest.approx(lines / len(symbols)))


def test_crossings_of_several_texts_are_of_all_symbols_together():
    found = crossings([encoded([0], [2]), encoded([0, 0, 0], [1, 1, 1])], [b"a.", b"abc"], True)
    assert found["crosses_word"] == 0.25
