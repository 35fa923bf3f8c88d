"""The codebook against a slow, obvious parser, and what its options promise."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import blake2b

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toy_corpus import toy_documents
from tests.views.contract import (
    ODD_DOCUMENTS,
    check_contract,
    check_documents,
    check_identity,
    check_kind,
    documents,
    real_documents,
)
from tests.views.slow_codebook import allowed, keeps_rules, slow_parse

from byteproxy import coins
from byteproxy.errors import InputError
from byteproxy.views.codebook import SINGLES, CodebookOptions, CodebookView

PARSES = ("greedy", "lookahead", "optimal")
options_of_a_parse = st.fixed_dictionaries(
    {"parse": st.sampled_from(PARSES), "identifiers": st.sampled_from(["free", "whole", "apart"])}
)
# Few letters, so that strings overlap in all ways; the others for the identifiers' edges.
letters = st.text("ab_ .\n\xff", max_size=40).map(lambda text: text.encode("latin-1"))


@cache
def trained(**options) -> CodebookView:
    return CodebookView.make(CodebookOptions(bits=10, **options), toy_texts())


@cache
def toy_texts() -> tuple[bytes, ...]:
    return tuple(document.text for document in toy_documents(60)) + real_documents(200)[:30]


@given(
    added=st.lists(letters.filter(lambda text: 1 < len(text) < 10), max_size=25),
    closed=st.booleans(),
    text=st.lists(letters, max_size=4).map(b"".join),
    options=options_of_a_parse,
)
@settings(max_examples=1000)
def test_the_walk_is_the_slow_parse(added, closed, text, options):
    if closed:
        added = [string[:n] for string in added for n in range(2, len(string) + 1)]
    view = CodebookView([*SINGLES, *dict.fromkeys(added)], CodebookOptions(**options))
    encoded = check_contract(view, text)
    pieces = [view.strings[symbol] for symbol in encoded.symbols]
    assert pieces == slow_parse(text, view.strings, options["parse"], options["identifiers"] == "whole")


@given(
    added=st.lists(st.text("ab", min_size=2, max_size=6).map(str.encode), max_size=12), text=st.text("ab", max_size=60)
)
@settings(max_examples=300)
def test_lookahead_needs_the_fewest_symbols_where_the_set_is_prefix_closed(added, text):
    closed = dict.fromkeys(string[:n] for string in added for n in range(2, len(string) + 1))
    counts = [
        len(CodebookView([*SINGLES, *closed], CodebookOptions(parse=parse)).encode(text.encode()).symbols)
        for parse in PARSES
    ]
    assert counts[1] == counts[2] <= counts[0]


def test_greedy_is_not_the_best_and_lookahead_not_always():
    def cut(parse: str, text: bytes, *strings: bytes) -> list[bytes]:
        view = CodebookView([*SINGLES, *strings], CodebookOptions(parse=parse))
        return [view.strings[symbol] for symbol in view.encode(text).symbols]

    assert cut("greedy", b"abcd", b"ab", b"bcd") == [b"ab", b"c", b"d"]
    assert cut("lookahead", b"abcd", b"ab", b"bcd") == [b"a", b"bcd"]
    # Looking one step ahead sees that "ab", "cdef" gets furthest, and not that "gh" is then left without a string.
    strings = [b"ab", b"cdef", b"bcde", b"fgh"]
    assert cut("lookahead", b"abcdefgh", *strings) == [b"ab", b"cdef", b"g", b"h"]
    assert cut("optimal", b"abcdefgh", *strings) == [b"a", b"bcde", b"fgh"]


@pytest.mark.parametrize("parse", PARSES)
@pytest.mark.parametrize("identifiers", ["free", "whole"])
def test_round_trip_and_spans_on_real_documents(parse, identifiers):
    check_documents(trained(parse=parse, identifiers=identifiers), [*real_documents(), *ODD_DOCUMENTS])


@given(documents)
@settings(max_examples=1000)
def test_round_trip_and_spans_on_random_documents(document):
    check_contract(trained(), document)


@given(documents, st.sampled_from([0.1, 0.5, 1.0]))
@settings(max_examples=300)
def test_round_trip_and_spans_of_split_symbols(document, share):
    check_contract(CodebookView(trained().strings, CodebookOptions(split=share)), document)


def test_splitting_cuts_the_share_of_symbols_it_says_and_only_cuts():
    text = b"".join(real_documents())
    plain = trained().encode(text)
    ends = np.cumsum(plain.span_bytes)
    for share in (0.1, 0.5, 1.0):
        view = CodebookView(trained().strings, CodebookOptions(split=share, seed=3))
        split_ends = np.cumsum(view.encode(text).span_bytes)
        assert np.isin(ends, split_ends).all()
        cut = np.searchsorted(split_ends, ends - plain.span_bytes, "right")
        was_cut = split_ends[np.minimum(cut, len(split_ends) - 1)] < ends
        assert abs(was_cut[plain.span_bytes > 1].mean() - share) < 0.01


@given(letters.filter(bool), st.sampled_from([0.3, 1.0]), st.sampled_from(["free", "whole"]))
@settings(max_examples=300)
def test_splitting_is_the_slow_split(text, share, identifiers):
    strings = [*SINGLES, b"ab", b"abb", b"ba", b"b.", b" a", b"a_b", b". b", b"aaa"]
    seed = 7
    view = CodebookView(strings, CodebookOptions(split=share, seed=seed, identifiers=identifiers))
    key = np.uint64(int.from_bytes(blake2b(text, digest_size=8, key=seed.to_bytes(8, "big")).digest(), "big"))
    expected, begin = [], 0
    for place, piece in enumerate(slow_parse(text, strings, "lookahead", identifiers == "whole")):
        ends = [begin + len(piece)]
        if len(piece) > 1 and coins.coin(key, np.uint64(place), coins.SPLIT) < share:
            cut = 1 + int(coins.hashed(key, np.uint64(place), coins.CUT)) % (len(piece) - 1)
            ends = [begin + cut, begin + len(piece)]
        for end in ends:
            while begin < end:
                fitting = [
                    string
                    for string in strings
                    if text[begin:end].startswith(string)
                    and allowed(text, begin, begin + len(string), identifiers == "whole")
                ]
                if len(ends) == 1:
                    fitting = [piece]
                expected.append(max(fitting, key=len))
                begin += len(expected[-1])
    assert [strings[symbol] for symbol in view.encode(text).symbols] == expected


def test_splitting_depends_on_seed_and_document_only():
    one, two = real_documents()[:2]
    view = CodebookView(trained().strings, CodebookOptions(split=0.3, seed=1))
    again = CodebookView(trained().strings, CodebookOptions(split=0.3, seed=1))
    other = CodebookView(trained().strings, CodebookOptions(split=0.3, seed=2))
    view.encode(two)
    assert view.encode(one).symbols.tolist() == again.encode(one).symbols.tolist()
    assert view.encode(one).symbols.tolist() != other.encode(one).symbols.tolist()
    assert len({view.fingerprint, other.fingerprint, trained().fingerprint}) == 3
    assert len({view.name, other.name, trained().name}) == 3


def test_a_line_is_encoded_as_it_is_in_the_document():
    text = real_documents()[5]
    assert text.count(b"\n") > 20
    for parse in PARSES:
        view = trained(parse=parse)
        lines = [view.encode(line).symbols for line in text.splitlines(keepends=True) if b"\r" not in line]
        assert np.concatenate(lines).tolist() == view.encode(text).symbols.tolist()


def test_kind_name_and_fingerprint():
    check_kind(CodebookView)
    for options in ({}, {"parse": "greedy"}, {"lines": False, "identifiers": "whole", "longest": 12}):
        check_identity(trained(**options))
    assert trained().name == "codebook-1024"
    assert trained(lines=False, identifiers="whole", longest=12).name == "codebook-1024-over-lines-whole-longest12"
    strings = trained().strings
    fingerprints = {CodebookView(strings, CodebookOptions(parse=parse)).fingerprint for parse in PARSES}
    fingerprints |= {CodebookView(strings[:-1]).fingerprint, CodebookView([*strings[:-2], strings[-1]]).fingerprint}
    assert len(fingerprints) == 5
    # Options that only filling reads decide nothing once the strings are there.
    assert CodebookView(strings, CodebookOptions(bits=16, longest=9)).fingerprint == CodebookView(strings).fingerprint


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"bits": 9}, "bits is 9"),
        ({"bits": 21}, "bits is 21"),
        ({"longest": 1}, "longest is 1"),
        ({"longest": 256}, "longest is 256"),
        ({"split": 1.5}, "split is 1.5"),
        ({"split": float("nan")}, "split is nan"),
        ({"parse": "best"}, "parse is 'best'"),
        ({"identifiers": "no"}, "identifiers is 'no'"),
        ({"sample_mb": 0}, "sample_mb is 0"),
    ],
)
def test_options_that_cannot_be(options, reason):
    with pytest.raises(InputError, match=reason):
        CodebookOptions(**options)


def test_a_set_that_cannot_be():
    for strings in (SINGLES[:-1], [*SINGLES[::-1]], [*SINGLES, b"ab", b"ab"], [*SINGLES, b""], [*SINGLES, b"x" * 256]):
        with pytest.raises(ValueError, match="codebook holds"):
            CodebookView(strings)


def test_decode_refuses_what_is_no_symbol():
    for wrong in ([0, 1024], [-1], [1 << 40]):
        with pytest.raises(ValueError, match="codebook-1024"):
            trained().decode(np.array(wrong))
    assert trained().decode(np.array([], dtype=np.uint16)) == b""


def test_wide_symbols_for_large_sets():
    strings = [*SINGLES, *(bytes([a, b]) for a in range(256) for b in range(256))]
    view = CodebookView(strings)
    encoded = check_contract(view, b"abc\xff\xff")
    assert encoded.symbols.dtype == np.uint32
    assert [view.strings[symbol] for symbol in encoded.symbols] == [b"ab", b"c\xff", b"\xff"]


def test_threads_change_nothing():
    view, texts = trained(), [*real_documents(), b"", b"x"]
    alone = [view.encode(text).symbols.tolist() for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert [encoded.symbols.tolist() for encoded in pool.map(view.encode, texts * 3)] == alone * 3
    assert [encoded.symbols.tolist() for encoded in view.encode_batch(texts)] == alone


@pytest.mark.parametrize(
    "options", [{}, {"parse": "greedy", "split": 0.25, "seed": 7}, {"identifiers": "whole", "lines": False}]
)
def test_a_saved_codebook_comes_back(options, tmp_path):
    view = CodebookView(trained().strings, CodebookOptions(**options))
    view.save(tmp_path / "a" / "code.codebook")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["code.codebook"]
    assert CodebookView.recognises(tmp_path / "a" / "code.codebook")
    again = CodebookView.load(tmp_path / "a" / "code.codebook")
    assert (again.fingerprint, again.name, again.strings) == (view.fingerprint, view.name, view.strings)
    assert again.options == view.options
    text = real_documents()[0]
    assert again.encode(text).symbols.tolist() == view.encode(text).symbols.tolist()


def test_every_truncation_and_alteration_is_found(tmp_path):
    view = CodebookView([*SINGLES, b"ab", b"def "])
    path = tmp_path / "code.codebook"
    view.save(path)
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    for size in [*range(0, len(content), 37), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"code\.codebook is cut off"):
            CodebookView.load(path)
    for at in range(len(content)):
        if content[at] == ord(" ") and at >= header:  # the header is filled up with blanks, which say nothing
            continue
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(InputError, match=r"code\.codebook"):
            CodebookView.load(path)


def test_a_saved_codebook_is_the_same_bytes_each_time(tmp_path):
    view = CodebookView([bytes([value]) for value in range(256)] + [b"ab"], CodebookOptions())
    files = set()
    for _ in range(10):
        view.save(tmp_path / "a.codebook")
        files.add((tmp_path / "a.codebook").read_bytes())
    assert len(files) == 1
    assert CodebookView.load(tmp_path / "a.codebook").fingerprint == view.fingerprint


def test_another_version_says_so(tmp_path):
    path = tmp_path / "code.codebook"
    trained().save(path)
    tensors = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(tensors, path, {"format": "byteproxy-codebook", "version": "1"})
    assert CodebookView.recognises(path)
    with pytest.raises(InputError, match=r"version 1, but this byteproxy reads version 2"):
        CodebookView.load(path)
    safetensors.numpy.save_file(tensors, path, {"format": "else"})
    assert not CodebookView.recognises(path)
    with pytest.raises(InputError, match="no codebook"):
        CodebookView.load(path)
    with pytest.raises(InputError, match=r"none\.codebook: No such file"):
        CodebookView.load(tmp_path / "none.codebook")
    path.write_text(json.dumps({"model": {}}))
    assert not CodebookView.recognises(path)


def test_options_of_the_set_hold():
    for options in (
        {"lines": True},
        {"lines": False, "longest": 8},
        {"indentation": True, "prefix_closed": True},
        {"identifiers": "apart", "lines": False},
        {"identifiers": "whole", "parse": "greedy"},
    ):
        view = trained(**options)
        made = CodebookOptions(**options)
        rules = (made.lines, made.indentation, made.identifiers == "apart", made.longest)
        assert all(keeps_rules(string, *rules) for string in view.strings)
        if made.prefix_closed:
            assert {string[:-1] for string in view.strings[256:]} <= set(view.strings)
        assert view.alphabet_size > 800
