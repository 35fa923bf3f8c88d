import json
import pickle
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.views.contract import check_kind
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from byteproxy.errors import InputError
from byteproxy.views.bpe import BpeView, byte_characters, engine, merge_training
from byteproxy.views.bpe.pre_tokenizers import WORDS_PATTERN

LINE = 'def encode(self, document_id: "bytes") -> int:\n\tfor x in range(1234):\r\n        return f(x)[0] != "ä€😀"\n\n'
CORPUS = [(LINE * 20).encode(), "import os\nimport sys  # ünïcode\n".encode() * 10, b"", b"x = 1\n" * 50]
VIEW = BpeView.train(CORPUS, 320)
LINES = BpeView.train(CORPUS, 360, words=False)
BOTH = pytest.mark.parametrize("view", [VIEW, LINES], ids=["words", "lines"])
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


@BOTH
@settings(max_examples=200)
@given(document=ANY_BYTES)
def test_any_bytes_come_back(view: BpeView, document: bytes) -> None:
    check_lossless(view, document)


@BOTH
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
def test_hard_documents_come_back(view: BpeView, document: bytes) -> None:
    check_lossless(view, document)


@BOTH
@settings(max_examples=50)
@given(before=CODE_LIKE, invalid=st.integers(0x80, 0xFF), after=CODE_LIKE)
def test_invalid_byte_is_its_own_symbol_between_stretches_by_themselves(
    view: BpeView, before: str, invalid: int, after: str
) -> None:
    symbols = view.encode(before.encode() + bytes([invalid]) + b"\xff" + after.encode()).symbols.tolist()
    first, last = view.encode(before.encode()).symbols.tolist(), view.encode(after.encode()).symbols.tolist()
    single = [view.strings.index(bytes([invalid])), view.strings.index(b"\xff")]
    assert symbols == first + single + last


@BOTH
@settings(max_examples=100)
@given(text=CODE_LIKE)
def test_each_line_is_encoded_by_itself(view: BpeView, text: str) -> None:
    lines = [line.encode() for line in re.findall(r"[^\n]*\n|[^\n]+", text)]
    symbols, span_bytes = view.encode(text.encode())
    assert symbols.tolist() == [s for one in view.encode_batch(lines) for s in one.symbols.tolist()]
    boundaries = set(np.cumsum(span_bytes).tolist())
    assert {found.end() for found in re.finditer(b"\n", text.encode())} <= boundaries


@BOTH
def test_same_ids_as_tokenizers_itself(view: BpeView, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_str(json.dumps(json.loads(view.tokenizer_json)))

    @settings(max_examples=100)
    @given(CODE_LIKE)
    def check(text: str) -> None:
        assert view.encode(text.encode()).symbols.tolist() == tokenizer.encode(text).ids

    check()
    long = LINE * 8000 + "no newline at the end"
    assert len(long) > 3 * engine.PART_BYTES
    assert view.encode(long.encode()).symbols.tolist() == own_ids(view, long, tmp_path)


def test_pieces_follow_the_words_of_code() -> None:
    split = pre_tokenizers.Split(Regex(WORDS_PATTERN), "isolated")
    text = "def f(x):\n\n\t\treturn x_y  + 12345 # é\r\n    ok\n  \n   z"
    pieces = [piece for piece, _ in split.pre_tokenize_str(text)]
    code = ["def", " f", "(", "x", "):\n", "\n", "\t\t", "return", " x", "_", "y", " ", " +", " 123", "45", " #", " é"]
    assert pieces == [*code, "\r\n", "   ", " ok", "\n", "  \n", "  ", " z"]


def test_megabytes_of_blanks_do_not_break_the_regex_engine() -> None:
    blanks = "\u2003" * 2 + " " * 10_500_000 + "\u2003x"
    pieces = pre_tokenizers.Split(Regex(WORDS_PATTERN), "isolated").pre_tokenize_str(blanks)
    assert sum(end - start for _, (start, end) in pieces) == len(blanks)


def test_batch_is_encode_for_each() -> None:
    documents = [b"", *CORPUS, bytes(range(256)), b"\xffx\xff\xffy", LINE.encode() * 9000]
    for document, encoded in zip(documents, VIEW.encode_batch(documents), strict=True):
        alone = VIEW.encode(document)
        assert encoded.symbols.tolist() == alone.symbols.tolist()
        assert encoded.span_bytes.tolist() == alone.span_bytes.tolist()
    assert VIEW.encode_batch([]) == []


def test_it_compresses_what_it_was_trained_on() -> None:
    assert len(VIEW.encode(CORPUS[0]).symbols) < len(CORPUS[0]) / 2


def test_only_without_words_do_symbols_span_them() -> None:
    two_words = re.compile(rb"\w \w")
    assert not any(two_words.search(string) for string in VIEW.strings)
    assert any(two_words.search(string) for string in LINES.strings)
    assert not any(b"\n" in string[:-1] for view in (VIEW, LINES) for string in view.strings)
    assert len(LINES.encode(CORPUS[0]).symbols) < len(VIEW.encode(CORPUS[0]).symbols)


def test_name_alphabet_and_strings() -> None:
    assert (VIEW.name, VIEW.alphabet_size, VIEW.aligned) == ("bpe-320", 320, True)
    assert (LINES.name, LINES.alphabet_size) == ("bpe-360-lines", 360)
    assert len(set(VIEW.strings)) == 320
    assert {bytes([value]) for value in range(256)} <= set(VIEW.strings)


def test_no_symbols_are_no_bytes() -> None:
    assert VIEW.decode(np.array([])) == b""
    assert VIEW.encode_batch([]) == []


@pytest.mark.parametrize("wrong", [320, -1])
def test_decode_refuses_symbols_outside_of_the_alphabet(wrong: int) -> None:
    with pytest.raises(ValueError, match="bpe-320"):
        VIEW.decode(np.array([0, wrong]))


def test_large_alphabet_has_wide_symbols() -> None:
    characters = byte_characters()
    pairs = [(a, b) for a in characters for b in characters]
    vocabulary = {token: number for number, token in enumerate([*characters, *map("".join, pairs)])}
    tokenizer = merge_training.untrained(words=True)
    tokenizer.model = models.BPE(vocabulary, pairs)
    view = BpeView(tokenizer.to_str())
    assert view.alphabet_size == 256 + 65536
    symbols = view.encode(b"zz\xff").symbols
    assert symbols.dtype == np.uint32
    assert symbols.tolist() == [vocabulary["zz"], 255]


def test_kind() -> None:
    check_kind(BpeView)
    assert BpeView.Options() == BpeView.Options(4096, True)
    assert BpeView.make(BpeView.Options(320), CORPUS).fingerprint == VIEW.fingerprint
    assert BpeView.make(BpeView.Options(360, words=False), CORPUS).fingerprint == LINES.fingerprint
    with pytest.raises(InputError, match="bpe option alphabet is 255"):
        BpeView.Options(255)


def test_fingerprints_stay_what_they_were() -> None:
    """Of prepared corpora that are already on disk. A change means that RULE_VERSION was raised, or should be."""
    characters = byte_characters()
    tokenizer = merge_training.untrained(words=True)
    tokenizer.model = models.BPE({token: number for number, token in enumerate([*characters, "ab"])}, [("a", "b")])
    assert BpeView(tokenizer.to_str()).fingerprint == "687ed36c4bf18a112da6fae35b7ecc4ffe946eae882c19ccb346b3369e81f240"


def test_a_view_can_be_pickled() -> None:
    again = pickle.loads(pickle.dumps(VIEW))
    assert again.fingerprint == VIEW.fingerprint
    assert again.encode(CORPUS[0]).symbols.tolist() == VIEW.encode(CORPUS[0]).symbols.tolist()


def test_training_is_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BpeView.train(iter(CORPUS), 360, words=False).fingerprint == LINES.fingerprint
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


def test_training_on_one_long_line_takes_seconds() -> None:
    line = " ".join(f"word{number * 7919 % 1000}" for number in range(30_000)).encode()
    begin = time.process_time()
    view = BpeView.train([line + b"\n" + b"x = 1\n" * 9], 700, words=False)
    assert time.process_time() - begin < 10
    assert b" word" in view.strings
    text = "a\n" * 99 + "b" * 2500 + "\n" + "c" * 1000 + "\n\n" + "d" * 1001
    parts = merge_training.TRAINED_STRETCHES.findall(text)
    assert "".join(parts) == text
    assert list(map(len, parts)) == [198, 1000, 1000, 1503, 1000, 1]


def test_too_little_text_says_how_far_it_reaches() -> None:
    with pytest.raises(InputError, match=r"gave only 25[0-9] of 4096"):
        BpeView.train([b"abab"], 4096)
    with pytest.raises(InputError, match="bpe option alphabet is 255"):
        BpeView.train(CORPUS, 255)


def test_saved_view_is_a_plain_tokenizer_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    VIEW.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]
    again = BpeView.load(path)
    assert (again.fingerprint, again.name, again.strings) == (VIEW.fingerprint, VIEW.name, VIEW.strings)
    plain = Tokenizer.from_file(str(path))
    assert plain.decode(plain.encode(LINE).ids) == LINE
    assert path.read_text(encoding="utf-8") == again.tokenizer_json == VIEW.tokenizer_json
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1, sort_keys=True))
    assert BpeView.load(path).fingerprint == VIEW.fingerprint


def test_recognises_tokenizers_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "artefact"
    VIEW.save(path)
    assert BpeView.recognises(path)
    foreign = {"format": "byteproxy token_bytes view", "model": {}}
    for content in (b"", b"\x00\xff" * 99, b"[1]", b"{}", b"{", b'{"model": 1}', json.dumps(foreign).encode()):
        path.write_bytes(content)
        assert not BpeView.recognises(path)
    assert not BpeView.recognises(tmp_path / "none")
    assert not BpeView.recognises(tmp_path)


def test_foreign_tokenizer_keeps_its_own_pieces(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=259, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["\n\n", "a\n\nb"] * 40, trainer)
    tokenizer.save(str(tmp_path / "foreign.json"))
    view = BpeView.load(tmp_path / "foreign.json")
    text = "a\n\nb" * (engine.PART_BYTES // 2)
    assert b"\n\n" in b" ".join(view.strings)
    assert view.encode(text.encode()).symbols.tolist() == tokenizer.encode(text).ids
    check_lossless(view, b"\xff" + LINE.encode())


@pytest.mark.parametrize("content", [VIEW.tokenizer_json[:-20].encode(), b"", b"\xff\x00", b"[1]", b"{}"])
def test_load_refuses_broken_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.json"):
        BpeView.load(tmp_path / "broken.json")


def test_load_and_save_name_the_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        BpeView.load(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"none\.json \(File exists\)"):
        VIEW.save(tmp_path / "file" / "none.json")
