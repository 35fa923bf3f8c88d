"""The longest token at each byte against a search through all tokens."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.views.longest_token import NO_TOKEN, longest_tokens
from byteproxy.vocab import EOS, FIRST_BYTE, FIRST_SYMBOL, opening

# Few bytes, so that tokens end alike and overlap; some are there twice, and the empty one is no text.
STRINGS = st.lists(st.binary(max_size=1) | st.text("ab\x00", max_size=6).map(str.encode), max_size=20)
BYTES = [FIRST_BYTE + byte for byte in b"ab\x00\xff"]
OTHERS = [opening(0), EOS, FIRST_SYMBOL, FIRST_BYTE - 1]
IDS = st.lists(st.sampled_from(BYTES * 6 + OTHERS), max_size=60)


def slow_longest(strings, ids):
    text, found = b"", []
    for symbol in ids:
        raw = FIRST_BYTE <= symbol < FIRST_SYMBOL
        text = text + bytes([symbol - FIRST_BYTE]) if raw else b""
        ends = [(-len(string), token) for token, string in enumerate(strings) if string and text.endswith(string)]
        found.append(min(ends)[1] if ends else NO_TOKEN)
    return found


@given(strings=STRINGS, ids=IDS)
def test_no_longer_token_ends_there(strings, ids):
    found = longest_tokens(strings).of_ids(np.array(ids, np.int64))
    assert found.tolist() == slow_longest(strings, ids)


@given(strings=STRINGS, ids=IDS, more=IDS)
def test_what_follows_changes_nothing(strings, ids, more):
    tokens = longest_tokens(strings)
    alone, longer = (tokens.of_ids(np.array(one, np.int64)) for one in (ids, ids + more))
    assert longer[: len(ids)].tolist() == alone.tolist()
