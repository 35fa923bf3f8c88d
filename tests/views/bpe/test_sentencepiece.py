"""Tokenizers of Llama 1 and 2 and Mistral as views, held to `tokenizers` itself."""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.views.bpe.families import FLAGS, SPECIAL, TEXT
from tests.views.contract import real_documents
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from byteproxy.errors import InputError
from byteproxy.views.bpe import BpeView
from byteproxy.views.bpe.engine import Engine

SPACE = "\u2581"
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
PREPEND = {"type": "Prepend", "prepend": SPACE}
UNKNOWN, BOS, EOS = "<unk>", "<s>", "</s>"
NAMED = [f"<0x{byte:02X}>" for byte in range(256)]


def metaspace(scheme: str, split: bool) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": split}


@cache
def _trained(words: bool) -> str:
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=words)
    trainer = trainers.BpeTrainer(
        vocab_size=1400, show_progress=False, special_tokens=[UNKNOWN, BOS, EOS, *NAMED], limit_alphabet=300
    )
    code = [text.decode("utf-8", "ignore").replace("\n", " ") for text in real_documents()[:20]]
    texts = [TEXT.replace("\n", " "), *code]
    lines = [text[at : at + 2000] for text in texts for at in range(0, len(text), 2000)]
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer.to_str()


def made(
    normalizer: Any = None, pre_tokenizer: Any = None, *tokens: dict[str, Any], words: bool = True
) -> dict[str, Any]:
    """A tokenizer with its byte tokens, as published ones have it; tokens: more added ones."""
    content: dict[str, Any] = json.loads(_trained(words))
    content["added_tokens"] = [one for one in content["added_tokens"] if one["content"] in (UNKNOWN, BOS, EOS)]
    first = len(content["model"]["vocab"])
    content["added_tokens"] += [{"id": first + at, **FLAGS, **one} for at, one in enumerate(tokens)]
    content["model"].update(byte_fallback=True, fuse_unk=True, unk_token=UNKNOWN)
    return {**content, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": None}


def steps(*normalizers: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(normalizers)}


MORE = ({"content": "<tool>"}, {"content": "ab c", "normalized": True}, {"content": "\t\t", "rstrip": True})
KINDS: dict[str, dict[str, Any]] = {
    "llama2": {"normalizer": steps(PREPEND, REPLACE)},
    "legacy": {"normalizer": steps({**PREPEND, "prepend": " "}, REPLACE)},
    "no space in front": {"normalizer": REPLACE},
    "across words": {"normalizer": steps(PREPEND, REPLACE), "words": False},
    **{
        f"{scheme} {split}": {"pre_tokenizer": metaspace(scheme, split)}
        for scheme in ("always", "first", "never")
        for split in (True, False)
    },
    "across words, first": {"pre_tokenizer": metaspace("first", False), "words": False},
}
WITH_TOKENS = {"llama2", "no space in front", "always False", "first False", "first True"}


@cache
def view_and_tokenizer(name: str, tokens: bool = False) -> tuple[BpeView, Tokenizer]:
    kind = dict(KINDS[name])
    words = kind.pop("words", True)
    content = made(kind.get("normalizer"), kind.get("pre_tokenizer"), *(MORE if tokens else ()), words=words)
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.encode_special_tokens = True
    return BpeView(json.dumps(content)), tokenizer


UNITS = [
    *"abcdefinrst .,()=:_\n\t\r019éü中文ひ한नÿ\u0100\u07ff\u0800\uffff\U00010000\U0010ffff😀👩丮乀ﬁ\x00\x7f",
    *(SPACE, SPACE * 2, f" {SPACE} ", "  ", "   ", " the", "return ", "import", "self.", "ab c", "<tool>", "\t\t  x"),
    *("<0x41>", "<0xE4>", UNKNOWN, BOS, "</s>", "\u0301", "e\u0301", "👩‍👩‍👧", "def f(x):\n    return x\n"),
]
TEXTS = st.lists(st.one_of(st.sampled_from(UNITS), st.characters(exclude_categories=["Cs"])), max_size=25).map("".join)
EACH = pytest.mark.parametrize("name", KINDS)


def check_same(view: BpeView, tokenizer: Tokenizer, texts: list[str]) -> None:
    theirs = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    for text, ours, their in zip(texts, view.encode_batch([text.encode() for text in texts]), theirs, strict=True):
        assert ours.symbols.tolist() == their.ids, text[:200]
        assert ours.span_bytes.sum(dtype=np.int64) == len(text.encode())


@EACH
@settings(max_examples=150)
@given(texts=st.lists(TEXTS, max_size=3))
def test_the_numbers_are_those_of_tokenizers(name: str, texts: list[str]) -> None:
    check_same(*view_and_tokenizer(name), texts)


@pytest.mark.parametrize("name", sorted(WITH_TOKENS))
@settings(max_examples=150)
@given(texts=st.lists(TEXTS, max_size=3))
def test_so_they_are_with_added_tokens(name: str, texts: list[str]) -> None:
    check_same(*view_and_tokenizer(name, tokens=True), texts)


@EACH
def test_so_they_are_for_code_and_all_scripts(name: str) -> None:
    check_same(*view_and_tokenizer(name), [TEXT, *(text.decode() for text in real_documents()[:40] if text.isascii())])


def test_it_is_encoded_here_and_not_by_tokenizers() -> None:
    for name in KINDS:
        assert isinstance(view_and_tokenizer(name)[0]._engine, Engine)


@EACH
@settings(max_examples=100)
@given(parts=st.lists(st.one_of(TEXTS.map(str.encode), st.binary(max_size=4)), max_size=4))
def test_any_bytes_are_covered_byte_by_byte(name: str, parts: list[bytes]) -> None:
    """A symbol covers the bytes of its characters, one that is a "▁" of the text three; a space in front none."""
    view, _ = view_and_tokenizer(name)
    document = b"".join(parts)
    ours = view.encode(document)
    assert ours.span_bytes.sum() == len(document)
    assert not len(document) or ours.span_bytes[-1] > 0
    strings = [view.strings[symbol] for symbol in ours.symbols.tolist()]
    written, at = b"".join(strings), 0
    front = written.startswith(b" ") and len(written) > len(document.replace(SPACE.encode(), b" "))
    assert written == b" " * front + document.replace(SPACE.encode(), b" ")
    for place, (string, span) in enumerate(zip(strings, ours.span_bytes.tolist(), strict=True)):
        covered = document[at : at + span].replace(SPACE.encode(), b" ")
        assert covered == string[1 if front and place == 0 else 0 :]
        at += span
    again = view.encode_batch([b"x", document, document])
    assert all(np.array_equal(one.symbols, ours.symbols) for one in again[1:])


def test_spans_of_a_text_with_a_space_in_front() -> None:
    view, _ = view_and_tokenizer("llama2")
    assert not view.lossless
    symbols, spans = view.encode(f"\xe9{SPACE}  \U0010ffff".encode())
    assert [view.strings[symbol] for symbol in symbols[-4:].tolist()] == [b"\xf4", b"\x8f", b"\xbf", b"\xbf"]
    assert spans[-4:].tolist() == [1, 1, 1, 1]
    assert spans[:-4].sum() == 2 + 3 + 2
    assert view.encode(b"").symbols.tolist() == []
    assert view.decode(view.encode(b"the self").symbols) == b" the self"


def test_bytes_have_the_symbols_of_their_characters() -> None:
    view, _ = view_and_tokenizer("llama2")
    vocabulary = json.loads(view.tokenizer_json)["model"]["vocab"]
    assert view.byte_symbols[ord("a")] == vocabulary["a"]
    assert view.byte_symbols[ord(" ")] == vocabulary[SPACE]
    assert view.byte_symbols[0xE4] == vocabulary["<0xE4>"]
    assert view.byte_symbols[ord("\n")] == vocabulary.get("\n", vocabulary["<0x0A>"])
    assert not view.own_bytes
    assert view.strings[vocabulary["<0x61>"]] == b""


def test_bytes_without_a_name_get_symbols_of_their_own() -> None:
    content = made(steps(PREPEND, REPLACE))
    vocabulary = content["model"]["vocab"]
    for name in ("<0xF4>", "<0x8F>"):
        del vocabulary[name]
    view = BpeView(json.dumps(content))
    assert len(view.own_bytes) == 2
    assert view.own_bytes.start == max(vocabulary.values()) + 1
    found = view.encode("a\U0010ffff".encode())
    assert found.symbols[-4:].tolist() == [
        view.own_bytes[1], view.own_bytes[0], vocabulary["<0xBF>"], vocabulary["<0xBF>"]
    ]  # fmt: skip
    assert found.span_bytes.sum() == 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"normalizer": steps({"type": "NFKC"}, REPLACE)}, "normalizer, NFKC, Replace, does more"),
        ({"normalizer": steps(PREPEND, {**REPLACE, "content": "_"})}, "does more to a text"),
        ({"normalizer": steps(PREPEND)}, "does more to a text"),
        ({"normalizer": None}, "pre-tokenizer, none, and normalizer, none, are not"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre-tokenizer, Whitespace, and normalizer, Prepend, Replace"),
        ({"normalizer": None, "pre_tokenizer": {**metaspace("first", False), "replacement": "_"}}, "Metaspace is not"),
        ({"normalizer": None, "pre_tokenizer": metaspace("sometimes", False)}, "Metaspace is not one"),
    ],
)
def test_what_changes_text_otherwise_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        BpeView(json.dumps({**made(steps(PREPEND, REPLACE)), **change}))


def test_merges_of_named_bytes_are_refused(tmp_path: Any) -> None:
    content = made(steps(PREPEND, REPLACE))
    content["model"]["vocab"]["<0xE4><0xBD>"] = 5000
    content["model"]["merges"].append(["<0xE4>", "<0xBD>"])
    (tmp_path / "t.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="merge of '<0xE4>' and '<0xBD>' is one of bytes"):
        BpeView.load(tmp_path / "t.json")
    content = made(steps(PREPEND, REPLACE))
    content["model"]["ignore_merges"] = True
    with pytest.raises(ValueError, match="ignore_merges"):
        BpeView(json.dumps(content))


def test_specials_are_text_where_a_text_spells_them() -> None:
    view, _ = view_and_tokenizer("llama2")
    assert len(view.encode(b"<s>").symbols) > 1
    assert SPECIAL["special"]
    assert view.strings[1] == b""
