"""The oracle against what it should be, and the compiled tree against the oracle."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.views.neural_oracle import (
    WHOLE,
    Interval,
    Rereading,
    first_window,
    fits,
    information,
    narrowed,
    packed,
    strings_behind,
    symbol_of,
    windows,
)
from tests.views.predictors import Hashed, Rolling

from byteproxy.errors import InputError
from byteproxy.views import neural_tree
from byteproxy.views.coder import LONGEST, Code, checked, counts_of
from byteproxy.views.neural_tree import expanded, pruned

codes = st.builds(Code, bits=st.integers(12, 24), precision=st.integers(10, 16))
small_codes = st.builds(Code, bits=st.integers(12, 13), precision=st.integers(10, 16))
predictors = st.builds(Hashed, seed=st.integers(0, 99), peak=st.sampled_from([0.0, 0.6, 0.95, 0.999]))
texts = st.one_of(
    st.binary(max_size=40),
    st.lists(st.integers(0, 7), max_size=300).map(bytes),
    st.builds(lambda value, count: bytes([value]) * count, st.integers(0, 8), st.integers(0, 300)),
)


def of(predictor, code):
    predictor.precision = code.precision
    return predictor


# The coder


@given(codes, predictors)
@settings(max_examples=30)
def test_every_single_byte_fits(code, predictor):
    counts = code.first_counts(of(predictor, code).of(b"").tolist())
    assert sum(counts) == 1 << code.precision
    assert min(counts) >= code.floor
    found = [narrowed(code, WHOLE, counts, byte) for byte in range(256)]
    assert all(fits(code, one) for one in found)
    assert [one.low for one in found] == [0, *np.cumsum([one.size for one in found])[:-1].tolist()]
    assert found[-1].low + found[-1].size == 1 << 48
    assert len({symbol_of(code, one) for one in found}) == 256


@given(st.integers(0, (1 << 48) - 1), st.integers(1, 1 << 48), codes)
def test_an_interval_fits_iff_a_whole_block_lies_in_it(low, size, code):
    """Written with fractions: a block is [k, k + 1) / 2^W."""
    begin, end = Fraction(low, 1 << 48), Fraction(low + size, 1 << 48)
    first = math.ceil(begin * (1 << code.bits))
    assert fits(code, Interval(low, size)) == (Fraction(first + 1, 1 << code.bits) <= end)
    assert symbol_of(code, Interval(low, size)) == first


@given(st.integers(10, 16), st.integers(0, 2**31), st.floats(0, 60))
def test_counts_of_probabilities(precision, seed, steepness):
    logits = np.random.default_rng(seed).normal(size=(3, 256)) * steepness
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    counts = counts_of(share, precision)
    assert (counts.sum(axis=1) == 1 << precision).all()
    assert counts.min() >= 1
    # No byte is further off than the 256 that go around, and none but the likeliest gains more than 1.
    assert np.abs(counts - share * (1 << precision)).max() <= 257
    others = np.arange(256) != counts.argmax(axis=1)[:, None]
    assert (counts - share * (1 << precision) <= 1 + 1e-6)[others].all()


def test_counts_that_cannot_be_are_refused():
    good = Hashed().counts([b"", b"a"])
    assert checked(good, Code()).sum() == 2 << 16
    with pytest.raises(InputError, match="sum to 65537"):
        checked(good + (np.arange(256) == 3), Code())
    with pytest.raises(InputError, match="count of 0"):
        checked(np.where(good == good.min(), 0, good), Code())
    with pytest.raises(InputError, match="256 for each"):
        checked(good[:, :7], Code())
    for wrong in (Wrong(1), Wrong(0)):
        with pytest.raises(InputError, match="a predictor gave"):
            windows(b"abc", [], wrong, Code(12))
        with pytest.raises(InputError, match="a predictor gave"):
            expanded(Rereading(wrong), Code(12))


class Wrong(Hashed):
    """Wrong for strings of one byte or more."""

    def __init__(self, added):
        super().__init__()
        self.added = added

    def of(self, prefix):
        counts = super().of(prefix)
        if prefix:
            counts[0] = counts[0] + self.added if self.added else 0
        return counts


def test_windows_too_small_for_all_bytes():
    with pytest.raises(InputError, match="11 bits: give 12 to 24"):
        Code(11)
    with pytest.raises(InputError, match="25 bits"):
        Code(25)
    with pytest.raises(InputError, match="10 to 16"):
        Code(16, 20)


# The oracle


@given(texts, codes, predictors)
@settings(max_examples=30)
def test_windows_cover_a_document_and_are_as_long_as_can_be(document, code, predictor):
    found = windows(document, [], of(predictor, code), code)
    assert sum(window.size for window in found) == len(document)
    begin = 0
    for symbol, size in found:
        text = document[begin : begin + size]
        assert 1 <= size <= LONGEST
        assert symbol < 1 << code.bits
        exact = interval_of(text, predictor, code)
        assert exact.low <= symbol * code.block < exact.low + exact.size
        if size < LONGEST and begin + size < len(document):
            assert not fits(code, interval_of(document[begin : begin + size + 1], predictor, code))
        begin += size


def interval_of(text, predictor, code):
    """By products of exact shares, rounded down to the same grid at each byte."""
    low, size = 0, 1 << 48
    for at, byte in enumerate(text):
        counts = predictor.of(text[:at]).tolist()
        counts = counts if at else code.first_counts(counts)
        ends = [math.floor(Fraction(size * sum(counts[:to]), 1 << code.precision)) for to in (byte, byte + 1)]
        low, size = low + ends[0], ends[1] - ends[0]
    return Interval(low, size)


@given(texts, st.lists(st.integers(1, 299), max_size=6), codes, predictors)
@settings(max_examples=20)
def test_cuts_make_windows_of_parts(document, places, code, predictor):
    """A document with cuts is its parts, one after the other: coder and context know nothing from before."""
    of(predictor, code)
    cuts = sorted({place for place in places if place < len(document)})
    parts = [document[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(document)], strict=True)]
    alone = [window for part in parts for window in windows(part, [], predictor, code)]
    assert windows(document, cuts, predictor, code) == alone


@given(texts.filter(bool), codes, predictors)
@settings(max_examples=20)
def test_what_stands_behind_a_symbol_is_a_chain_of_prefixes(document, code, predictor):
    window = first_window(document, of(predictor, code), code)
    behind = strings_behind(window.symbol, predictor, code)
    assert document[: window.size] in behind
    for shorter, longer in pairwise(behind):
        assert longer.startswith(shorter)
    for string in behind:
        assert first_window(string, predictor, code) == (window.symbol, len(string))


def test_wide_windows_are_packed_most_significant_first():
    assert packed(0xABCDEF, 24, 2) == [0xABC, 0xDEF]
    assert packed(0xABCDEF, 24, 3) == [0xAB, 0xCD, 0xEF]
    assert packed(5, 16, 1) == [5]


@given(st.lists(st.integers(0, 7), min_size=50, max_size=200).map(bytes), predictors)
@settings(max_examples=15)
def test_code_lengths_are_those_of_another_coder(document, predictor):
    """constriction's range coder, with the same shares, needs as many bits as our counts say, and its 64 at the end."""
    constriction = pytest.importorskip("constriction")
    code = Code(24, 16)
    bits = information(document, predictor, code)
    encoder = constriction.stream.queue.RangeEncoder()
    for at, byte in enumerate(document):
        counts = predictor.of(document[:at]).tolist()
        share = np.array(counts if at else code.first_counts(counts), np.float32) / (1 << 16)
        encoder.encode(byte, constriction.stream.model.Categorical(share, perfect=False))
    assert encoder.num_bits() - 64 <= bits + 0.01 * len(document)
    assert bits - 0.01 * len(document) <= encoder.num_bits()
    size = windows(document, [], predictor, code)[0].size
    assert information(document[:size], predictor, code) <= code.bits
    if size < len(document) and size < LONGEST:  # a block may be missed by as much as two bits, an aligned one
        assert information(document[: size + 1], predictor, code) > code.bits - 2


# Compiled


@given(st.lists(texts, max_size=3), st.lists(st.integers(1, 299), max_size=6), small_codes, predictors)
@settings(max_examples=25)
def test_the_longest_string_of_the_tree_is_the_oracles_window(documents, places, code, predictor):
    tree = expanded(Rereading(of(predictor, code)), code)
    symbols = dict(zip(tree.strings(), tree.symbol.tolist(), strict=True))
    assert len(symbols) == len(tree.symbol)
    for document in documents:
        cuts = sorted({place for place in places if place < len(document)})
        begin, found = 0, []
        for end in [*cuts, len(document)]:
            while begin < end:
                size = max(
                    size
                    for size in range(1, min(LONGEST, end - begin) + 1)
                    if document[begin : begin + size] in symbols
                )
                found.append((symbols[document[begin : begin + size]], size))
                begin += size
        assert found == windows(document, cuts, predictor, code)


@given(small_codes, predictors, st.integers(1, 500))
@settings(max_examples=8)
def test_a_tree_is_the_same_whatever_its_blocks(code, predictor, block):
    whole = expanded(Rereading(of(predictor, code)), code)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("byteproxy.views.neural_tree.BLOCK_NODES", block)
        parts = expanded(Rereading(predictor), code)
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one, other)
        assert one.dtype == other.dtype


def test_a_tree_says_what_its_nodes_are():
    code, predictor = Code(12, 14), Hashed(3, 14, 0.5)
    tree = expanded(Rereading(predictor), code)
    strings = tree.strings()
    assert len(set(strings)) == len(strings)
    assert strings[:256] == [bytes([byte]) for byte in range(256)]
    rng = np.random.default_rng(0)
    for node in rng.choice(len(strings), 40, replace=False).tolist():
        string = strings[node]
        interval = interval_of(string, predictor, code)
        assert fits(code, interval)
        assert tree.symbol[node] == symbol_of(code, interval)
        assert tree.depth[node] == len(string)
        assert string[:-1] == (strings[tree.parent[node]] if tree.parent[node] >= 0 else b"")
        assert tree.bits[node] == pytest.approx(48 - math.log2(interval.size), rel=1e-6)
        share = predictor.of(string) / (1 << 14)
        assert tree.entropy[node] == pytest.approx(-(share * np.log2(share)).sum(), rel=1e-5)
    for node in range(0, len(strings), 97):
        assert strings[node] in strings_behind(int(tree.symbol[node]), predictor, code)


def test_a_tree_that_is_too_large_is_given_up():
    assert expanded(Rereading(Hashed()), Code(12), most=300) is None
    assert expanded(Rereading(Hashed()), Code(12), most=100_000) is not None


def test_pruning_takes_what_lies_behind_as_well():
    tree = expanded(Rereading(Hashed(1)), Code(12))
    gone = int(np.flatnonzero(np.bincount(tree.parent[256:], minlength=256)[:256])[0])
    kept = np.arange(len(tree.parent)) != gone
    smaller = pruned(tree, kept)
    before, after = tree.strings(), smaller.strings()
    assert set(after) == {string for string in before if string[0] != gone}
    assert after == [string for string in before if string[0] != gone]


def test_long_strings_end():
    """A predictor that is all but certain: strings of 64 bytes, no longer ones."""
    certain = Hashed(peak=0.9999)
    certain.of = lambda prefix: np.where(np.arange(256) == 0, (1 << 16) - 255, 1)
    tree = expanded(Rereading(certain), Code(12))
    assert tree.depth.max() == LONGEST
    assert [window.size for window in windows(bytes(150), [], certain, Code(12))] == [64, 64, 22]


class Uniform(Hashed):
    """Every byte alike: intervals of whole blocks, without a gap."""

    def counts(self, prefixes):
        return np.full((len(prefixes), 256), 1 << (self.precision - 8))


def test_an_interval_that_is_one_block_fits():
    """16 bits are two bytes, exactly, and the symbol is their number."""
    code, predictor = Code(16, 16), Uniform()
    tree = expanded(Rereading(predictor), code)
    symbols = dict(zip(tree.strings(), tree.symbol.tolist(), strict=True))
    assert len(symbols) == 256 + 65536
    assert all(symbol == int.from_bytes(string.ljust(2, b"\0"), "big") for string, symbol in symbols.items())
    assert windows(b"abcde", [], predictor, code) == [(0x6162, 2), (0x6364, 2), (0x6500, 1)]


@given(st.lists(texts, min_size=1, max_size=4), codes, predictors)
@settings(max_examples=25)
def test_one_step_of_expanding_is_the_coders_for_windows_of_any_size(documents, code, predictor):
    """Trees of 24 bits are too large for a test, but not what is done to one of their nodes."""
    of(predictor, code)
    prefixes = [document[: first_window(document, predictor, code).size] if document else b"" for document in documents]
    intervals = [interval_of(prefix, predictor, code) for prefix in prefixes]
    counts = [predictor.of(prefix).tolist() for prefix in prefixes]
    counts = [row if prefix else code.first_counts(row) for prefix, row in zip(prefixes, counts, strict=True)]
    low, size = (np.array(column, np.uint64) for column in zip(*intervals, strict=True))
    rows, bytes_, lows, sizes = neural_tree._children(low, size, np.array(counts), code)
    expected = []
    for row, (interval, own) in enumerate(zip(intervals, counts, strict=True)):
        for byte in range(256):
            further = narrowed(code, interval, own, byte)
            if fits(code, further):
                expected.append((row, byte, *further))
    found = (column.tolist() for column in (rows, bytes_, lows, sizes))
    assert list(zip(*found, strict=True)) == expected


@pytest.mark.parametrize(("bits", "precision"), [(14, 10), (15, 16), (17, 12), (18, 16)])
def test_whole_trees_of_wide_windows_are_the_oracles(bits, precision):
    """Up to a quarter of a million strings; the oracle cuts documents that meet the longest of them."""
    code, predictor = Code(bits, precision), Rolling(precision)
    tree = expanded(predictor, code)
    strings = tree.strings()
    symbols = dict(zip(strings, tree.symbol.tolist(), strict=True))
    rng = np.random.default_rng(bits)
    documents = [bytes(rng.integers(0, 9, 120, np.uint8)) for _ in range(4)]
    documents.append(b"".join(strings[at] for at in rng.integers(0, len(strings), 12).tolist()))
    for document in documents:
        cuts = sorted({int(place) for place in rng.integers(1, len(document), 3)})
        begin, found = 0, []
        for end in [*cuts, len(document)]:
            while begin < end:
                size = 1
                while begin + size < min(end, begin + LONGEST) and document[begin : begin + size + 1] in symbols:
                    size += 1
                found.append((symbols[document[begin : begin + size]], size))
                begin += size
        assert found == windows(document, cuts, predictor, code)
    for node in rng.integers(0, len(strings), 20).tolist():
        assert strings[node] in strings_behind(int(tree.symbol[node]), predictor, code)
