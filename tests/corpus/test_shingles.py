import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from byteproxy.corpus.shingles import SHINGLE_WORDS, shingle_hashes

WORD = re.compile(rb"[A-Za-z0-9_\x80-\xff]+|[^ \t\n\r\v\f]")


def shingles(text):
    """The shingles of a text as tuples of words, by the rule as it is told."""
    words = WORD.findall(text)
    ends = range(SHINGLE_WORDS, len(words) + 1) if len(words) > SHINGLE_WORDS else [len(words)] if words else []
    return [tuple(words[max(0, end - SHINGLE_WORDS) : end]) for end in ends]


def split(texts):
    hashes, offsets = shingle_hashes(texts)
    assert (hashes.dtype, offsets.dtype, len(offsets)) == (np.uint64, np.uint64, len(texts) + 1)
    assert (offsets[0], offsets[-1]) == (0, len(hashes))
    return [hashes[offsets[n] : offsets[n + 1]].tolist() for n in range(len(texts))]


CODE = st.lists(st.sampled_from([b"a", b"b", b"ab", b"_1", b"(", b")", b"\x00", b"\xc3\xa9", b" ", b"\t", b"\n"])).map(
    b"".join
)
TEXTS = st.lists(st.one_of(CODE, st.binary(max_size=60)), max_size=6)


@given(TEXTS)
@example([b"", b"a", b" ", b"a b c d", b"a b c d e", b"a b c d e f", b"a b c d e f g", b"ab c d e", b"a bc d e"])
@example([bytes(range(256)), bytes(range(256)) * 3, b"(" * 300, b"a" * 300, b" " * 300])
def test_hashes_are_equal_just_where_shingles_are(texts):
    expected = [shingles(text) for text in texts]
    found = split(texts)
    assert [len(hashes) for hashes in found] == [len(one) for one in expected]
    pairs = {pair for hashes, one in zip(found, expected, strict=True) for pair in zip(hashes, one, strict=True)}
    assert len(pairs) == len({hash for hash, _ in pairs}) == len({shingle for _, shingle in pairs})


@given(TEXTS)
def test_a_text_alone_and_among_others_has_the_same_shingles(texts):
    assert split(texts) == [split([text])[0] for text in texts]


def test_layout_is_no_part_of_a_text():
    one = split([b"def f(x):\n    return x + 1\n"])[0]
    assert split([b"def  f( x ) :\r\n\treturn x+1"])[0] == one
    assert split([b"def f(x):\n    return x - 1\n"])[0] != one


def test_words_are_not_run_together():
    texts = [b"ab c", b"a bc", b"abc", b"a b c", b"a_b c", b"a.b c"]
    assert len({tuple(hashes) for hashes in split(texts)}) == len(texts)


def test_hashes_stay_what_they_are():
    pass


def test_a_million_different_shingles_have_different_hashes():
    """Numbers that count up are as like as words get."""
    hashes, _ = shingle_hashes([b" ".join(b"%d" % n for n in range(1_000_000))])
    assert len(np.unique(hashes)) == len(hashes) == 1_000_000 - SHINGLE_WORDS + 1
    low, high = np.bincount((hashes & np.uint64(255)).astype(int)), np.bincount((hashes >> np.uint64(56)).astype(int))
    for counts in (low, high):
        assert len(counts) == 256
        assert ((counts - counts.mean()) ** 2).sum() / counts.mean() == pytest.approx(255, abs=6 * np.sqrt(2 * 255))


def test_no_texts():
    assert split([]) == []
