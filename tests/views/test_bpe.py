import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from byteproxy.errors import InputError
from byteproxy.views import bpe
from byteproxy.views.bpe import BpeView

LINE = 'def encode(self, document_id: "bytes") -> int:\n\tfor x in range(1234):\r\n        return f(x)[0] != "ä€😀"\n\n'
CORPUS = [(LINE * 20).encode(), "import os\nimport sys  # ünïcode\n".encode() * 10, b"", b"x = 1\n" * 50]
VIEW = BpeView.train(CORPUS, 320)
CODE_LIKE = st.text(st.sampled_from("ab_1 \t\n\r(.=é中😀\u2028\u00a0\u0301"), max_size=80)
ANY_BYTES = st.lists(st.one_of(st.binary(max_size=6), CODE_LIKE.map(str.encode)), max_size=6).map(b"".join)


def own_ids(view: BpeView, text: str, folder: Path) -> list[int]:
    view.save(folder / "tokenizer.json")
    ids: list[int] = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    return ids


def check_lossless(view: BpeView, document: bytes) -> None:
    symbols, span_bytes = view.encode(document)
    assert view.decode(symbols) == document
    assert int(span_bytes.sum()) == len(document)
    assert span_bytes.tolist() == [len(view.strings[symbol]) for symbol in symbols.tolist()]
    assert symbols.dtype == np.uint16
    assert span_bytes.dtype == np.uint32


@settings(max_examples=200, deadline=None)
@given(ANY_BYTES)
def test_any_bytes_come_back(document: bytes) -> None:
    check_lossless(VIEW, document)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        bytes(range(256)),
        bytes(range(255, -1, -1)),
        *(unit * 100_000 for unit in (b"a", b" ", b"\n", b"\t", b"-", b"\xff", b"\x80", "é".encode())),
        b"\xed\xa0\x80 surrogate \xf4\x90\x80\x80 too large \xc0\x80 overlong \xe2\x82",
        b"\xef\xbb\xbfbyte order mark",
        "e\u0301 stays decomposed".encode(),
    ],
    ids=lambda document: f"{document[:8]!r} x {len(document)}",
)
def test_hard_documents_come_back(document: bytes) -> None:
    check_lossless(VIEW, document)


@settings(max_examples=50, deadline=None)
@given(CODE_LIKE, st.integers(0x80, 0xFF), CODE_LIKE)
def test_invalid_byte_is_its_own_symbol_between_stretches_by_themselves(before: str, invalid: int, after: str) -> None:
    symbols = VIEW.encode(before.encode() + bytes([invalid]) + b"\xff" + after.encode()).symbols.tolist()
    first, last = VIEW.encode(before.encode()).symbols.tolist(), VIEW.encode(after.encode()).symbols.tolist()
    single = [VIEW.strings.index(bytes([invalid])), VIEW.strings.index(b"\xff")]
    assert symbols == first + single + last


@settings(max_examples=100, deadline=None)
@given(CODE_LIKE)
def test_each_line_is_encoded_by_itself(text: str) -> None:
    lines = [line.encode() for line in re.findall(r"[^\n]*\n|[^\n]+", text)]
    symbols, span_bytes = VIEW.encode(text.encode())
    assert symbols.tolist() == [s for one in VIEW.encode_batch(lines) for s in one.symbols.tolist()]
    boundaries = set(np.cumsum(span_bytes).tolist())
    assert {found.end() for found in re.finditer(b"\n", text.encode())} <= boundaries


def test_same_ids_as_tokenizers_itself(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_str(json.dumps(json.loads(VIEW._json)))

    @settings(max_examples=100, deadline=None)
    @given(CODE_LIKE)
    def check(text: str) -> None:
        assert VIEW.encode(text.encode()).symbols.tolist() == tokenizer.encode(text).ids

    check()
    long = LINE * 3000 + "no newline at the end"
    assert len(long) > 3 * bpe.PIECE_CHARACTERS
    assert VIEW.encode(long.encode()).symbols.tolist() == own_ids(VIEW, long, tmp_path)


def test_pieces_follow_the_words_of_code() -> None:
    split = pre_tokenizers.Split(Regex(bpe.PATTERN), "isolated")
    text = "def f(x):\n\n\t\treturn x_y  + 12345 # é\r\n    ok\n  \n   z"
    pieces = [piece for piece, _ in split.pre_tokenize_str(text)]
    code = ["def", " f", "(", "x", "):\n", "\n", "\t\t", "return", " x", "_", "y", " ", " +", " 123", "45", " #", " é"]
    assert pieces == [*code, "\r\n", "   ", " ok", "\n", "  \n", "  ", " z"]


def test_megabytes_of_blanks_do_not_break_the_regex_engine() -> None:
    blanks = "\u2003" * 2 + " " * 10_500_000 + "\u2003x"
    pieces = pre_tokenizers.Split(Regex(bpe.PATTERN), "isolated").pre_tokenize_str(blanks)
    assert sum(end - start for _, (start, end) in pieces) == len(blanks)


def test_batch_is_encode_for_each() -> None:
    documents = [b"", *CORPUS, bytes(range(256)), b"\xffx\xff\xffy", LINE.encode() * 900]
    for document, encoded in zip(documents, VIEW.encode_batch(documents), strict=True):
        alone = VIEW.encode(document)
        assert encoded.symbols.tolist() == alone.symbols.tolist()
        assert encoded.span_bytes.tolist() == alone.span_bytes.tolist()
    assert VIEW.encode_batch([]) == []


def test_it_compresses_what_it_was_trained_on() -> None:
    assert len(VIEW.encode(CORPUS[0]).symbols) < len(CORPUS[0]) / 2


def test_name_alphabet_and_strings() -> None:
    assert (VIEW.name, VIEW.alphabet_size, VIEW.aligned) == ("bpe-320", 320, True)
    assert len(set(VIEW.strings)) == 320
    assert {bytes([value]) for value in range(256)} <= set(VIEW.strings)


@pytest.mark.parametrize("wrong", [320, -1])
def test_decode_refuses_symbols_outside_of_the_alphabet(wrong: int) -> None:
    with pytest.raises(ValueError, match="bpe-320"):
        VIEW.decode(np.array([0, wrong]))


def test_large_alphabet_has_wide_symbols() -> None:
    characters = bpe._byte_characters()
    pairs = [(a, b) for a in characters for b in characters]
    vocabulary = {token: number for number, token in enumerate([*characters, *map("".join, pairs)])}
    tokenizer = bpe._untrained()
    tokenizer.model = models.BPE(vocabulary, pairs)
    view = BpeView(tokenizer.to_str())
    assert view.alphabet_size == 256 + 65536
    symbols = view.encode(b"zz\xff").symbols
    assert symbols.dtype == np.uint32
    assert symbols.tolist() == [vocabulary["zz"], 255]


def test_training_is_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BpeView.train(iter(CORPUS), 320).fingerprint == VIEW.fingerprint
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    assert BpeView.train(CORPUS, 320).fingerprint == VIEW.fingerprint
    assert BpeView.train(CORPUS[:1], 300).fingerprint != VIEW.fingerprint


def test_training_skips_invalid_bytes() -> None:
    seen: list[tuple[int, int]] = []
    texts = [b"\xff\xfe" + LINE.encode() * 20 + b"\x80", b"\xff"]
    view = BpeView.train(texts, 280, progress=lambda done, total: seen.append((done, total)))
    assert view.fingerprint == BpeView.train([LINE.encode() * 20], 280).fingerprint
    assert seen == [(len(texts[0]), 0), (len(texts[0]) + 1, 0)]


def test_too_little_text_says_how_far_it_reaches() -> None:
    with pytest.raises(InputError, match=r"gave only 25[0-9] of 4096"):
        BpeView.train([b"abab"], 4096)
    with pytest.raises(InputError, match="alphabet_size is 255"):
        BpeView.train(CORPUS, 255)


def test_saved_view_is_a_plain_tokenizer_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    VIEW.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]
    again = BpeView.load(path)
    assert (again.fingerprint, again.name, again.strings) == (VIEW.fingerprint, VIEW.name, VIEW.strings)
    plain = Tokenizer.from_file(str(path))
    assert plain.decode(plain.encode(LINE).ids) == LINE
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1, sort_keys=True))
    assert BpeView.load(path).fingerprint == VIEW.fingerprint


def test_foreign_tokenizer_keeps_its_own_pieces(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=259, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["\n\n", "a\n\nb"] * 40, trainer)
    tokenizer.save(str(tmp_path / "foreign.json"))
    view = BpeView.load(tmp_path / "foreign.json")
    text = "a\n\nb" * (bpe.PIECE_CHARACTERS // 2)
    assert b"\n\n" in b" ".join(view.strings)
    assert view.encode(text.encode()).symbols.tolist() == tokenizer.encode(text).ids
    check_lossless(view, b"\xff" + LINE.encode())


def changed(**parts: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update(parts)


def in_model(**parts: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["model"].update(parts)


WORDS_AWAY = {"type": "Split", "pattern": {"String": "x"}, "behavior": "Removed", "invert": False}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
UNKNOWN = {"id": 0, "content": "!", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed(model={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}), "not BPE"),
        (changed(model=None), "not BPE"),
        (changed(normalizer={"type": "NFC"}), "normalizer"),
        (changed(added_tokens=[{**UNKNOWN, "special": True}]), "added_tokens"),
        (changed(truncation={"max_length": 5}), "truncation"),
        (changed(pre_tokenizer=None), "does not end in ByteLevel"),
        (changed(pre_tokenizer={"type": "Whitespace"}), "does not end in ByteLevel"),
        (changed(pre_tokenizer={**BYTE_LEVEL, "add_prefix_space": True}), "adds a space"),
        (changed(pre_tokenizer={"type": "Sequence", "pretokenizers": [WORDS_AWAY, BYTE_LEVEL]}), "may drop"),
        (in_model(dropout=0.1), "dropout"),
        (in_model(merges=[["no", "such"]]), "vocab"),
        (lambda content: content["model"]["vocab"].update({"a": 999}), "gaps"),
        (lambda content: content["model"]["vocab"].update({"a b": 320}), "256 bytes"),
    ],
)
def test_load_refuses_what_is_no_byte_level_bpe(
    change: Callable[[dict[str, Any]], None], reason: str, tmp_path: Path
) -> None:
    content = json.loads(VIEW._json)
    change(content)
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"odd.json.*{reason}"):
        BpeView.load(path)


@pytest.mark.parametrize("content", [VIEW._json[:-20].encode(), b"", b"\xff\x00", b"[1]", b"{}"])
def test_load_refuses_broken_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.json"):
        BpeView.load(tmp_path / "broken.json")


def test_load_and_save_name_the_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        BpeView.load(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        VIEW.save(tmp_path / "folder" / "none.json")
