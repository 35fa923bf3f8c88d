"""Added tokens against `tokenizers` itself, with all flags, under NFC and without."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.views.bpe.families import FLAGS, NFC, SPECIAL, WITH_WORDS, family
from tokenizers import Tokenizer

from byteproxy.views.bpe import BpeView

CONTENTS = [
    "ab",
    "abc",
    "bcd",
    "b",
    "  ",
    "   ",
    "\t",
    "éa",
    "e\u0301",
    "\u0301",
    "aé",
    "<s>",
    ">a",
    "\n\n",
    "1 ",
    "’",
]
PLAIN = st.fixed_dictionaries(
    {
        "content": st.sampled_from(CONTENTS),
        "single_word": st.booleans(),
        "normalized": st.booleans(),
        "special": st.booleans(),
    }
)
STRIPPED = st.fixed_dictionaries(
    {
        "content": st.sampled_from(["<l>", "<r>", "|"]),
        "lstrip": st.booleans(),
        "rstrip": st.booleans(),
        "normalized": st.booleans(),
    }
)
TEXTS = st.lists(
    st.sampled_from([*"abcd <>1é_x\t\n’Ġ", "\u0301", "e\u0301", "abc", "  ", "<s>", "\u200d", "²"]), max_size=20
)


def pair(tokens: list[dict[str, Any]], normalizer: dict[str, Any] | None = None) -> tuple[BpeView, Tokenizer]:
    content = family(WITH_WORDS, *tokens, normalizer=normalizer)
    tokenizer = Tokenizer.from_str(json.dumps({**content, "post_processor": None}))
    tokenizer.encode_special_tokens = True
    return BpeView(json.dumps(content)), tokenizer


def check(view: BpeView, tokenizer: Tokenizer, text: str) -> None:
    ours = view.encode(text.encode())
    assert ours.symbols.tolist() == tokenizer.encode(text, add_special_tokens=False).ids
    assert ours.span_bytes.sum() == len(text.encode())
    if view.lossless:
        assert view.decode(ours.symbols) == text.encode()


@pytest.mark.parametrize("normalizer", [None, NFC], ids=["as it is", "NFC"])
def test_tokens_are_found_as_in_tokenizers(normalizer: dict[str, Any] | None) -> None:
    @settings(max_examples=25)
    @given(
        st.lists(PLAIN, max_size=6, unique_by=lambda token: token["content"]), st.lists(TEXTS, min_size=10, max_size=10)
    )
    def each(tokens: list[dict[str, Any]], texts: list[list[str]]) -> None:
        view, tokenizer = pair(tokens, normalizer)
        for text in texts:
            check(view, tokenizer, "".join(text))

    each()


@settings(max_examples=25)
@given(st.lists(STRIPPED, min_size=1, max_size=3, unique_by=lambda token: token["content"]), st.data())
def test_blanks_beside_tokens_go_with_them(tokens: list[dict[str, Any]], data: st.DataObject) -> None:
    view, tokenizer = pair(tokens)
    for _ in range(10):
        text = "".join(data.draw(st.lists(st.sampled_from(["<l>", "<r>", "|", " ", "\u3000", "a", "\n"]), max_size=12)))
        check(view, tokenizer, text)
        slow = view._slow.encode([text.encode()])[0]
        assert all(map(np.array_equal, view.encode(text.encode()), slow))
    assert view.lossless == (not any(token["lstrip"] or token["rstrip"] for token in tokens))


def test_blanks_that_a_token_took_are_no_other_token() -> None:
    """`tokenizers` gives two of these blanks twice, once more as a token of their own."""
    view, tokenizer = pair([{"content": "<r>", "rstrip": True}, {"content": "  "}])
    symbols, spans = view.encode(b"a<r>   b  ")
    tail = view.encode(b"b  ").symbols.tolist()
    assert symbols.tolist() == [view.byte_symbols[ord("a")], 1500, *tail]
    assert spans.tolist()[:2] == [1, 6]
    assert tokenizer.encode("a<r>   b  ", add_special_tokens=False).ids != symbols.tolist()


@settings(max_examples=25)
@given(
    st.lists(PLAIN, min_size=1, max_size=6, unique_by=lambda token: token["content"]),
    st.lists(st.one_of(TEXTS.map("".join).map(str.encode), st.binary(max_size=3)), max_size=5).map(b"".join),
)
def test_invalid_bytes_stand_between_texts(tokens: list[dict[str, Any]], document: bytes) -> None:
    view, _ = pair(tokens)
    assume(len(document))
    ours, slow = view.encode(document), view._slow.encode([document])[0]
    assert all(map(np.array_equal, ours, slow))
    assert view.decode(ours.symbols) == document


def test_special_tokens_are_text() -> None:
    view, _ = pair([{"content": "<s>", **SPECIAL}, {"content": "<t>", **FLAGS}])
    assert view.encode(b"<t><t>").symbols.tolist() == [1501, 1501]
    assert 1500 not in view.encode(b"<s>").symbols
    assert view.strings[1500] == b""
    assert view.strings[1501] == b"<t>"


def test_long_text_with_tokens_at_its_cuts() -> None:
    view, tokenizer = pair([{"content": " " * 7, "normalized": True}, {"content": "x\ny"}, {"content": "éé"}])
    text = ("if a:\n" + " " * 15 + "b x\ny" + "é" * 3) * 30_000
    assert view.encode(text.encode()).symbols.tolist() == tokenizer.encode(text, add_special_tokens=False).ids


def test_a_view_with_tokens_has_another_fingerprint_than_before() -> None:
    """They were left out until 0.3; corpora of that time are not mixed with what is encoded now."""
    content = family(WITH_WORDS, {"content": "  "})
    special = family(WITH_WORDS, {"content": "  ", **SPECIAL})
    assert BpeView(json.dumps(content)).fingerprint != BpeView(json.dumps(special)).fingerprint


def test_a_token_that_is_a_symbol_too_is_made_of_pieces() -> None:
    """`ignore_merges` makes it of a piece where the token, a single word, is passed over."""
    content = family(WITH_WORDS, {"content": "zqzq", "single_word": True})
    content["model"]["vocab"]["zqzq"] = 1500
    content["model"]["ignore_merges"] = True
    tokenizer = Tokenizer.from_str(json.dumps({**content, "post_processor": None}))
    for text in ("1zqzq zqzq", "azqzq", "zqzq1"):
        check(BpeView(json.dumps(content)), tokenizer, text)
    assert BpeView(json.dumps(content)).encode(b"1zqzq").symbols.tolist() == [16, 1500]
