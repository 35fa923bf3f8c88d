"""The automaton against Python's own decoder."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from byteproxy.generate.utf8 import BETWEEN, FOLLOWING, MISSING, REFUSED, allowed, characters, state_after


def decodes(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def walked(data):
    state = BETWEEN
    for byte in data:
        state = int(FOLLOWING[state, byte])
    return state


EDGES = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF]
EDGES += [0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]


def test_what_the_automaton_takes_is_what_python_decodes():
    for length in range(5):
        for data in itertools.product(EDGES, repeat=length):
            assert (walked(data) == BETWEEN) == decodes(bytes(data)), data


@given(st.binary(), st.text(min_size=1).filter(lambda text: not text[-1].isascii()), st.data())
def test_the_state_after_any_text(before, text, data):
    encoded = text[-1].encode()
    kept = data.draw(st.integers(1, len(encoded) - 1))
    state = state_after(before + text[:-1].encode() + encoded[:kept])
    assert MISSING[state] == len(encoded) - kept
    assert FOLLOWING[state, encoded[kept]] != REFUSED
    assert state_after(before + text.encode()) == BETWEEN


def test_no_character_is_begun_that_does_not_fit():
    known = allowed()
    for byte in range(256):
        fits = [length for length in range(1, 5) if any(chr(c).encode()[0] == byte for c in SAMPLES[length])]
        for left in range(1, 5):
            assert known[BETWEEN, left, byte] == any(length <= left for length in fits)


SAMPLES = {
    1: range(128),
    2: range(128, 0x800),
    3: [*range(0x800, 0xD800, 16), *range(0xE000, 0x10000, 16)],
    4: range(0x10000, 0x110000, 4096),
}


@given(st.text(st.characters(exclude_categories=["Cs"])), st.data())
def test_valid_text_comes_back_in_whole_characters(text, data):
    encoded = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)))))
    pieces = [encoded[a:b] for a, b in itertools.pairwise([0, *cuts, len(encoded)])]
    parts = list(characters(pieces))
    assert "".join(parts) == text
    assert not any("\\x" in part for part in parts) or "\\x" in text
    assert len(list(characters(bytes((one,)) for one in encoded))) == len(text)


@given(st.binary())
def test_any_bytes_come_back_as_their_escapes(data):
    assert "".join(characters(bytes((one,)) for one in data)) == data.decode("utf-8", "backslashreplace")
