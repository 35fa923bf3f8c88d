import errno
import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from tests.views.contract import (
    ODD_DOCUMENTS,
    check_contract,
    check_documents,
    check_identity,
    check_kind,
    documents,
    real_documents,
)

from byteproxy.errors import InputError
from byteproxy.views.bpe import BpeView
from byteproxy.views.token_bytes import TokenBytesView

BPE = BpeView.train(real_documents()[:40], 700)
BIG_ENDIAN, GRAY = TokenBytesView(BPE, "big-endian"), TokenBytesView(BPE, "gray")
VIEWS = [BIG_ENDIAN, GRAY]
each_view = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)


def grown(tokens: int) -> BpeView:
    """BPE with more tokens: pairs of the single bytes that it doesn't have yet."""
    content = json.loads(BPE.tokenizer_json)
    vocabulary, merges = content["model"]["vocab"], content["model"]["merges"]
    single = [token for token in vocabulary if len(token) == 1]
    for first, second in ((first, second) for first in single for second in single):
        if len(vocabulary) < tokens and first + second not in vocabulary:
            vocabulary[first + second] = len(vocabulary)
            merges.append([first, second])
    return BpeView(json.dumps(content))


def renumbered() -> BpeView:
    """BPE with the same tokens and merges under other numbers."""
    content = json.loads(BPE.tokenizer_json)
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = {token: (number * 3 + 5) % len(vocabulary) for token, number in vocabulary.items()}
    return BpeView(json.dumps(content))


def codes(view: TokenBytesView, document: bytes) -> list[int]:
    written = bytes(view.encode(document).symbols.tolist())
    return [int.from_bytes(written[place : place + 2], "big") for place in range(0, len(written), 2)]


def gray_code(token: int) -> int:
    """The slow and obvious one: count the tokens that sort before it, then compare neighbouring bits of the count."""
    strings = BPE.strings
    rank = format(sum(string < strings[token] for string in strings), "016b")
    return int("".join(str(int(one != before)) for before, one in pairwise("0" + rank)), 2)


def changed(path: Path, **parts: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **parts}))


def unreadable() -> Iterator[bytes]:
    raise AssertionError("texts were read")
    yield b""


@settings(max_examples=1000)
@given(documents)
def test_any_bytes_come_back(document: bytes) -> None:
    for view in VIEWS:
        check_contract(view, document)


@each_view
def test_odd_and_real_documents_come_back(view: TokenBytesView) -> None:
    check_documents(view, ODD_DOCUMENTS)
    check_documents(view, real_documents())


def test_big_endian_writes_the_number_of_each_token() -> None:
    for document in (*real_documents()[:20], bytes(range(256)), b""):
        assert codes(BIG_ENDIAN, document) == BPE.encode(document).symbols.tolist()


def test_gray_writes_the_rank_of_each_token_in_reflected_binary() -> None:
    expected = [gray_code(token) for token in range(BPE.alphabet_size)]
    for document in (*real_documents()[:20], bytes(range(256)), b""):
        assert codes(GRAY, document) == [expected[token] for token in BPE.encode(document).symbols.tolist()]


def test_neighbours_among_the_sorted_tokens_differ_in_one_bit() -> None:
    code_of = {}
    for document in real_documents()[:60]:
        tokens = map(BPE.strings.__getitem__, BPE.encode(document).symbols.tolist())
        code_of |= dict(zip(tokens, codes(GRAY, document), strict=True))
    in_order = sorted(BPE.strings)
    neighbours = [pair for pair in pairwise(in_order) if set(pair) <= code_of.keys()]
    assert len(neighbours) > 100
    assert {(code_of[one] ^ code_of[other]).bit_count() for one, other in neighbours} == {1}


def test_gray_does_not_depend_on_the_numbers_of_the_tokens() -> None:
    other = renumbered()
    document = b"".join(real_documents()[:20])
    assert BPE.encode(document).symbols.tolist() != other.encode(document).symbols.tolist()
    assert codes(TokenBytesView(other, "gray"), document) == codes(GRAY, document)
    assert codes(TokenBytesView(other, "big-endian"), document) != codes(BIG_ENDIAN, document)


@each_view
def test_the_second_byte_carries_the_length_of_the_token(view: TokenBytesView) -> None:
    for document in (*real_documents()[:20], b""):
        span_bytes = view.encode(document).span_bytes
        assert span_bytes[::2].tolist() == [0] * (len(span_bytes) // 2)
        assert span_bytes[1::2].tolist() == BPE.encode(document).span_bytes.tolist()


def test_65536_tokens_fill_both_bytes() -> None:
    bpe = grown(65536)
    big_endian, gray = TokenBytesView(bpe, "big-endian"), TokenBytesView(bpe, "gray")
    assert (big_endian.name, gray.name) == ("token_bytes-big-endian-65536", "token_bytes-gray-65536")
    number = np.arange(65536)
    assert big_endian.decode(number.astype(">u2").view(np.uint8)) == b"".join(bpe.strings)
    assert gray.decode((number ^ number >> 1).astype(">u2").view(np.uint8)) == b"".join(sorted(bpe.strings))
    all_pairs = number.astype(">u2").tobytes()
    for view in (big_endian, gray):
        assert check_contract(view, all_pairs).symbols.max() == 255


def test_65537_tokens_are_refused() -> None:
    with pytest.raises(InputError, match="has 65537 symbols"):
        TokenBytesView(grown(65537))


@each_view
def test_decode_refuses_what_is_no_document(view: TokenBytesView) -> None:
    symbols = view.encode(b"return x").symbols
    for wrong in (256, -1):
        with pytest.raises(ValueError, match=f"{view.name} view has 0 to 255"):
            view.decode(np.append(symbols[:-1].astype(int), wrong))
    with pytest.raises(ValueError, match=f"{view.name} view, but a token is 2"):
        view.decode(symbols[:-1])
    no_token = [*symbols.tolist(), 255, 255]
    with pytest.raises(
        ValueError, match=rf"{len(symbols)} and {len(symbols) + 1} are no token of the {view.name} view"
    ):
        view.decode(np.array(no_token))


def test_kind() -> None:
    check_kind(TokenBytesView)
    assert TokenBytesView.trained
    assert TokenBytesView.Options() == TokenBytesView.Options("big-endian", 65536, "")
    assert [view.name for view in VIEWS] == ["token_bytes-big-endian-700", "token_bytes-gray-700"]
    for view in VIEWS:
        check_identity(view)
        assert not hasattr(view, "strings")


def test_make_trains_as_many_tokens_as_it_was_asked_for() -> None:
    calls: list[tuple[int, int]] = []
    options = TokenBytesView.Options("gray", 700)
    view = TokenBytesView.make(options, iter(real_documents()[:40]), lambda *done: calls.append(done))
    assert view.fingerprint == GRAY.fingerprint
    assert calls[-1][0] == sum(map(len, real_documents()[:40]))
    with pytest.raises(InputError, match="gave only"):
        TokenBytesView.make(TokenBytesView.Options(), [b"too little text"])


def test_make_takes_a_tokenizer_instead_of_texts(tmp_path: Path) -> None:
    BPE.save(tmp_path / "tokenizer.json")
    options = TokenBytesView.Options(tokenizer=str(tmp_path / "tokenizer.json"))
    assert TokenBytesView.make(options, unreadable()).fingerprint == BIG_ENDIAN.fingerprint
    with pytest.raises(InputError, match=r"none\.json"):
        TokenBytesView.make(TokenBytesView.Options(tokenizer=str(tmp_path / "none.json")), [])


@pytest.mark.parametrize("alphabet", [0, 255, 65537])
def test_an_alphabet_that_can_not_be_is_refused(alphabet: int) -> None:
    with pytest.raises(InputError, match=f"alphabet of the token_bytes view is {alphabet}: give 256 to 65536"):
        TokenBytesView.Options(alphabet=alphabet)


def test_an_order_that_can_not_be_is_refused() -> None:
    for make in (TokenBytesView.Options, lambda order: TokenBytesView(BPE, order)):
        with pytest.raises(InputError, match="'random': give one of big-endian, gray"):
            make("random")


def test_fingerprint_follows_order_and_tokenizer() -> None:
    views = [*VIEWS, TokenBytesView(renumbered(), "big-endian"), TokenBytesView(renumbered(), "gray")]
    assert len({view.fingerprint for view in views}) == 4


@each_view
def test_a_saved_view_is_the_same_one(view: TokenBytesView, tmp_path: Path) -> None:
    path = tmp_path / "code.tokens"
    path.write_text("what was there before")
    view.save(path)
    assert os.listdir(tmp_path) == ["code.tokens"]
    loaded = TokenBytesView.load(path)
    assert (loaded.name, loaded.fingerprint) == (view.name, view.fingerprint)
    document = real_documents()[0]
    assert loaded.encode(document).symbols.tolist() == view.encode(document).symbols.tolist()


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "code.tokens"
    path.write_text("what was there before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"code\.tokens \(No space left"):
        GRAY.save(path)
    assert os.listdir(tmp_path) == ["code.tokens"]
    assert path.read_text() == "what was there before"


def test_recognises_its_own_files_and_no_others(tmp_path: Path) -> None:
    own, tokenizer = tmp_path / "own", tmp_path / "tokenizer.json"
    GRAY.save(own)
    BPE.save(tokenizer)
    assert TokenBytesView.recognises(own)
    assert not TokenBytesView.recognises(tokenizer)
    assert not TokenBytesView.recognises(tmp_path)
    assert not TokenBytesView.recognises(tmp_path / "none")
    for content in (b"", b"\xff\x00", b'{"format": "byteproxy-other"}', b'{"note": "byteproxy-token-bytes"}'):
        own.write_bytes(content)
        assert not TokenBytesView.recognises(own)


def test_load_refuses_a_file_that_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "cut.tokens"
    GRAY.save(path)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 60):
        path.write_bytes(whole[:length])
        assert TokenBytesView.recognises(path)
        with pytest.raises(InputError, match=r"cut\.tokens is cut off or damaged.*train it anew"):
            TokenBytesView.load(path)


@pytest.mark.parametrize(
    "parts",
    [
        {"order": "big-endian"},
        {"tokenizer": BPE.tokenizer_json.replace("merges", "Merges")},
        {"tokenizer": None},
        {"sha256": "0" * 64},
        {"sha256": None},
    ],
)
def test_load_refuses_an_altered_file(parts: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "other.tokens"
    GRAY.save(path)
    changed(path, **parts)
    assert TokenBytesView.recognises(path)
    with pytest.raises(InputError, match=r"other\.tokens was altered.*train it anew"):
        TokenBytesView.load(path)


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_load_refuses_another_version(version: Any, tmp_path: Path) -> None:
    path = tmp_path / "later.tokens"
    GRAY.save(path)
    changed(path, version=version)
    assert TokenBytesView.recognises(path)
    with pytest.raises(InputError, match=rf"later\.tokens is of version {version}, but .* reads version 1: use"):
        TokenBytesView.load(path)


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[1]", b"{}", b"[" * 100_000, BPE.tokenizer_json.encode()])
def test_load_refuses_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd.tokens").write_bytes(content)
    with pytest.raises(InputError, match=r"odd\.tokens is no token_bytes view"):
        TokenBytesView.load(tmp_path / "odd.tokens")


def test_load_refuses_an_order_and_a_tokenizer_that_no_save_writes(tmp_path: Path) -> None:
    path = tmp_path / "strange.tokens"
    for order, tokenizer in (("random", BPE.tokenizer_json), ("gray", "{}")):
        view = TokenBytesView(BPE)
        view._order = order
        view._bpe = type("Bpe", (), {"tokenizer_json": tokenizer})
        view.save(path)
        with pytest.raises(InputError, match=r"strange\.tokens holds no usable tokenizer"):
            TokenBytesView.load(path)


def test_load_and_save_name_the_file_that_can_not_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tokens: No such file"):
        TokenBytesView.load(tmp_path / "none.tokens")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"none\.tokens \(File exists\)"):
        GRAY.save(tmp_path / "file" / "none.tokens")


def test_it_is_lossless_where_its_tokenizer_is():
    content = json.loads(BPE.tokenizer_json)
    composing = BpeView(json.dumps({**content, "normalizer": {"type": "NFC"}}))
    assert TokenBytesView(BPE).lossless
    view = TokenBytesView(composing)
    assert not view.lossless
    symbols, spans = view.encode("e\u0301".encode())
    assert view.decode(symbols) == "\u00e9".encode()
    assert spans.sum() == 3
