from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.views.trie import BASE_SHIFT, ENDS, HAS_RESTS, LABEL, bit_of, trie_of

string_sets = st.lists(st.binary(min_size=1, max_size=6) | st.text("ab", min_size=1, max_size=9).map(str.encode)).map(
    lambda strings: list(dict.fromkeys(strings))
)


def entry_of(trie, string: bytes) -> int | None:
    """The content of the cell that a string leads to."""
    entry = int(trie.cells[0])
    for byte in string:
        entry = int(trie.cells[entry >> 32 ^ byte])
        if entry & 0xFF != byte:
            return None
    return entry


def nodes_of(trie) -> int:
    """How many nodes there are, the root among them."""
    bases = np.zeros(len(trie.cells), dtype=bool)
    bases[(trie.cells >> BASE_SHIFT).astype(np.int64)] = True
    bases[0] = False
    return 1 + int(bases[np.arange(len(trie.cells)) ^ (trie.cells & LABEL).astype(np.int64)].sum())


@given(string_sets.filter(bool), st.lists(st.binary(max_size=4), max_size=20))
@settings(max_examples=300)
def test_a_trie_holds_its_strings_and_their_beginnings_and_nothing_else(strings, others):
    trie = trie_of(strings)
    beginnings = {string[:n] for string in strings for n in range(len(string) + 1)}
    assert nodes_of(trie) == len(beginnings)
    for string in [*beginnings, *others, *(string + b"a" for string in strings)]:
        entry = entry_of(trie, string)
        assert (entry is not None) == (string in beginnings)
        if entry is not None:
            assert bool(entry & int(ENDS)) == (string in strings)
        if string in strings:
            assert entry >> 10 & (1 << 22) - 1 == strings.index(string)


@given(string_sets.filter(bool), st.booleans())
@settings(max_examples=300)
def test_rests_are_the_places_from_which_a_shorter_string_may_reach_further(strings, whole):
    trie = trie_of(strings, True, whole)

    def behind(rest: bytes) -> set[int]:
        added = [string[len(rest) :] for string in strings if string.startswith(rest)]
        return {new[0] for new in added if len(new) > 1 and (whole or new not in strings)}

    for symbol, string in enumerate(strings):
        entries = trie.rests[trie.rest_start[symbol] : trie.rest_start[symbol + 1]].tolist()
        found = [(entry >> 56, entry >> 32 & 0xFFFFFF, entry & 0xFFFFFFFF) for entry in entries]
        shorter = [n for n in range(len(string) - 1, 0, -1) if string[:n] in strings and behind(string[n:])]
        assert found == [(n, strings.index(string[:n]), entry_of(trie, string[n:]) >> 32) for n in shorter]
        assert bool(entry_of(trie, string) & int(HAS_RESTS)) == bool(shorter)
        asked = {int(bit_of(np.uint64(byte))) for n in shorter for byte in behind(string[n:])}
        assert trie.asks[symbol] == sum(asked)


def test_bytes_share_bits_with_few():
    bits = Counter(int(bit_of(np.uint64(byte))) for byte in range(128))
    assert sorted(bits.values()) == [2] * 64
    assert len({int(bit_of(np.uint64(byte))) for byte in b" \n()[]{}.,:=_abcdefghijklmnopqrstuvwxyz0123456789"}) >= 45


def test_a_table_of_many_strings_is_small():
    rng = np.random.default_rng(0)
    drawn = (rng.integers(97, 105, rng.integers(1, 9)).astype(np.uint8).tobytes() for _ in range(60_000))
    strings = list(dict.fromkeys(drawn))
    trie = trie_of(strings, lookahead=True)
    assert len(trie.cells) < 1.05 * nodes_of(trie) + 512
    assert sum(array.nbytes for array in trie) < 64 << 20
