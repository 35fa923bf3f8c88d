"""How a codebook is filled: each step against a slow count, and what must not change the outcome."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toy_corpus import toy_documents
from tests.views.slow_codebook import allowed, keeps_rules, slow_parse

from byteproxy.errors import InputError
from byteproxy.views import codebook_fill
from byteproxy.views.codebook import SINGLES, CodebookOptions, CodebookView
from byteproxy.views.codebook_fill import Rules, filled, fits, sample
from byteproxy.views.codebook_parse import PARSES
from byteproxy.views.trie import trie_of

FREE = Rules(32, False, False, False, False)
TEXTS = [document.text for document in toy_documents(40)]
letters = st.text("ab_ .\t\n\xff", max_size=30).map(lambda text: text.encode("latin-1"))
rules = st.builds(Rules, st.integers(2, 9), st.booleans(), st.booleans(), st.booleans(), st.booleans())


def filling(texts, rules=FREE, how="greedy", closed=False):
    text = sample(texts, 1 << 20)
    return codebook_fill._Filling(text, PARSES[how], rules, closed, 1, lambda done, total: None)


@given(letters, rules, st.data())
@settings(max_examples=1000)
def test_fits_is_the_slow_rule(text, rules, data):
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    if end - begin < 2:
        return
    expected = keeps_rules(text[begin:end], rules.lines, rules.indentation, rules.apart, rules.longest)
    expected &= allowed(text, begin, end, rules.whole)
    assert fits(np.frombuffer(text, np.uint8), begin, end, rules) == expected


@given(st.lists(letters, min_size=1, max_size=6), rules, st.sampled_from([b"ab", b"  ", b"a."]))
@settings(max_examples=300)
def test_pairs_are_counted_as_a_slow_count_does(texts, rules, string):
    strings = [*SINGLES, string]
    at_work = filling(texts, rules)
    parsed = at_work.parsed(strings)
    found = {}
    for share in range(at_work.cores):
        keys, counts = at_work._pairs_of_share(strings, parsed, share)
        pairs = [(strings[key >> 32], strings[key & 0xFFFFFFFF]) for key in keys.tolist()]
        assert not found.keys() & set(pairs)
        found |= dict(zip(pairs, counts.tolist(), strict=True))
    counted, seen_in = Counter(), {}
    for number, text in enumerate(set(texts)):
        at = 0
        for left, right in pairwise(slow_parse(text, strings, "greedy", rules.whole)):
            end = at + len(left + right)
            keeps = keeps_rules(left + right, rules.lines, rules.indentation, rules.apart, rules.longest)
            if keeps and allowed(text, at, end, rules.whole):
                counted[left, right] += 1
                seen_in.setdefault((left, right), set()).add(number)
            at += len(left)
    least = min(3, len(set(filter(None, texts))))
    assert found == {pair: n for pair, n in counted.items() if n >= 2 and len(seen_in[pair]) >= least}


def test_more_pairs_than_the_table_first_holds_are_all_counted():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, 1 << 18).astype(np.uint8).tobytes()
    at_work = filling([b"x" + noise, b"y" + noise, b"z" + noise])
    parsed = at_work.parsed(SINGLES)
    counts = np.concatenate([at_work._pairs_of_share(SINGLES, parsed, share)[1] for share in range(at_work.cores)])
    once = Counter(pairwise(noise))
    thrice = Counter({pair: 3 * count for pair, count in once.items()})
    thrice.update((letter, noise[0]) for letter in b"xyz" if (letter, noise[0]) in once)
    assert sorted(counts) == sorted(thrice.values())


@given(st.lists(st.text("abc", min_size=2, max_size=8).map(str.encode), max_size=20).map(lambda s: [*dict.fromkeys(s)]))
@settings(max_examples=200)
def test_what_a_string_saves_is_counted_without_it(added):
    strings = [*SINGLES, *added]
    found = codebook_fill._fewest_without(strings, trie_of(strings))
    for string, fewest in zip(strings, found.tolist(), strict=True):
        others = [other for other in strings if other != string]
        assert fewest == (1 if len(string) == 1 else len(slow_parse(string, others, "optimal", False)))


def test_a_sample_is_a_matter_of_hashes_and_not_of_order():
    whole = sample(TEXTS, 1 << 30)
    assert sorted(part.tobytes() for part in np.split(whole.bytes, whole.ends[:-1])) == sorted(TEXTS)
    for most in (5_000, 20_000):
        part = sample(TEXTS, most)
        assert len(part.bytes) == part.ends[-1] == most
        again = sample(random.Random(1).sample(TEXTS, len(TEXTS)) + TEXTS[:3], most)
        assert part.bytes.tobytes() == again.bytes.tobytes()
        assert part.ends.tolist() == again.ends.tolist()
    assert sample([b"x" * 100], 10).bytes.tobytes() == b"x" * 10


@pytest.mark.parametrize("closed", [False, True])
def test_neither_order_nor_cores_change_the_strings(closed, monkeypatch):
    def strings(texts):
        return filled(texts, 700, "lookahead", Rules(32, True, False, False, False), closed, 1 << 20)

    expected = strings(TEXTS)
    assert strings(TEXTS[::-1]) == expected
    monkeypatch.setattr(codebook_fill, "cores", lambda: 5)
    assert strings(TEXTS) == expected
    assert expected[:256] == SINGLES
    assert len(set(expected)) == len(expected) == 700


def test_strings_come_by_falling_frequency():
    strings = filled(TEXTS, 600, "greedy", FREE, False, 1 << 20)
    view = CodebookView(strings, CodebookOptions(parse="greedy"))
    symbols = np.concatenate([view.encode(text).symbols for text in TEXTS])
    uses = np.bincount(symbols, minlength=600)[256:]
    assert (np.diff(uses) <= 0).all()
    assert uses[0] > 0


@pytest.mark.parametrize("parse", list(PARSES))
def test_each_parse_is_filled_for_itself_and_gains(parse):
    """More symbols give fewer symbols a text, on text that was not filled from."""
    held_out = b"".join(document.text for document in toy_documents(20, seed=9))
    counts = []
    for size in (300, 600, 1000):
        strings = filled(TEXTS, size, parse, FREE, False, 1 << 20)
        counts.append(len(CodebookView(strings, CodebookOptions(parse=parse)).encode(held_out).symbols))
    assert counts[0] > 1.2 * counts[1] > 1.2 * counts[2]


def test_progress_ends_at_its_total_and_never_goes_back():
    seen = []
    filled(TEXTS, 500, "greedy", FREE, False, 1 << 20, lambda done, total: seen.append((done, total)))
    assert len(seen) > 5
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == seen[0][1]


@pytest.mark.parametrize("texts", [[b"ab" * 200], [b"xyz"], [b"a" * 100_000], [b"\xff\x00" * 9, b"\xff\x00" * 8]])
def test_too_little_text_gives_fewer_strings(texts):
    view = CodebookView.make(CodebookOptions(bits=10), texts)
    assert 256 <= view.alphabet_size < 400
    assert view.decode(view.encode(texts[0]).symbols) == texts[0]


@pytest.mark.parametrize("texts", [[], [b""]])
def test_no_text_is_refused(texts):
    with pytest.raises(InputError, match="no text"):
        CodebookView.make(CodebookOptions(), texts)
