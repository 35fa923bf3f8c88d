"""Text in NFC: the same symbols as `tokenizers`, and spans of the text as it was."""

import json
from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.views.bpe.families import BYTE_LEVEL, NFC, QWEN2_WORDS, family, sequence, split
from tests.views.contract import real_documents
from tokenizers import Tokenizer, normalizers

from byteproxy.views.bpe import BpeView, unicode
from byteproxy.views.bpe.nfc import composed

TOKENS = [{"content": "éb", "normalized": False}, {"content": "\u0301b"}, {"content": "öx", "normalized": True}]
CONTENT = family(sequence(split(QWEN2_WORDS), BYTE_LEVEL), "<|endoftext|>", *TOKENS, normalizer=NFC)
VIEW = BpeView(json.dumps(CONTENT))
PLAIN = BpeView(json.dumps({**CONTENT, "added_tokens": []}))
TOKENIZER = Tokenizer.from_str(json.dumps({**CONTENT, "post_processor": None}))
TOKENIZER.encode_special_tokens = True
UNITS = [
    *(
        "e",
        "\u0301",
        "\u0323",
        "o\u0308",
        "é",
        "ö",
        "a\u0323\u0302",
        "ᄒ",
        "ᅡ",
        "ᆫ",
        "한",
        "か\u3099",
        "\u212b",
        "\u0958",
    ),
    *(
        "\0",
        "\0\u0301",
        "\n",
        " ",
        "x",
        "क\u093c",
        "\u0344",
        "\U0001d15e",
        "ﬁ",
        "\u0f71\u0f72",
        "b",
        "\u07fd",
        "\u16d67",
    ),
]
TEXTS = st.lists(st.one_of(st.sampled_from(UNITS), st.characters(exclude_categories=["Cs"])), max_size=14).map("".join)
DOCUMENTS = st.lists(st.one_of(TEXTS.map(str.encode), st.binary(max_size=3)), max_size=5).map(b"".join)


@settings(max_examples=400)
@given(TEXTS)
def test_it_is_the_text_that_tokenizers_makes(text: str) -> None:
    found = composed(text.encode())
    expected = normalizers.NFC().normalize_str(text)
    assert (text.encode() if found is None else found.text) == expected.encode()
    assert (found is None) == (expected == text)


@settings(max_examples=300)
@given(TEXTS)
def test_symbols_are_those_of_tokenizers(text: str) -> None:
    ours = VIEW.encode(text.encode())
    assert ours.symbols.tolist() == TOKENIZER.encode(text, add_special_tokens=False).ids
    assert ours.span_bytes.sum() == len(text.encode())


@settings(max_examples=300)
@given(DOCUMENTS)
def test_any_bytes_are_covered(document: bytes) -> None:
    ours = VIEW.encode(document)
    assert ours.span_bytes.dtype == np.uint32
    assert ours.span_bytes.sum() == len(document)
    assert not document or ours.span_bytes[-1] > 0
    assert ours.symbols.dtype == np.uint16
    assert [one.symbols.tolist() for one in VIEW.encode_batch([document, b"x", document])][::2] == [
        ours.symbols.tolist()
    ] * 2


@settings(max_examples=300)
@given(DOCUMENTS)
def test_spans_are_of_the_text_as_it_was(document: bytes) -> None:
    """By the definition: a stretch that NFC changes is covered at its end, other text byte by byte."""
    covered: list[int] = []
    for stretch, valid in stretches(document):
        normal = normalizers.NFC().normalize_str(stretch.decode()).encode() if valid else stretch
        covered += [1] * len(stretch) if normal == stretch else [*[0] * (len(normal) - 1), len(stretch)]
    encoded = PLAIN.encode(document)
    ends = np.cumsum([len(PLAIN.strings[symbol]) for symbol in encoded.symbols.tolist()], dtype=np.int64)
    assert np.cumsum(encoded.span_bytes).tolist() == np.r_[0, np.cumsum(covered)][ends].tolist()


def stretches(document: bytes) -> Iterator[tuple[bytes, bool]]:
    """A safe character and those behind it that aren't safe, as often as there are; whether it is valid UTF-8."""
    unsafe, held = unicode.flagged(unicode.UNSAFE), ""
    for character in document.decode("utf-8", "surrogateescape"):
        invalid = "\udc80" <= character <= "\udcff"
        if held and (invalid or not unsafe[ord(character)]):
            yield held.encode(), True
            held = ""
        if invalid:
            yield character.encode("utf-8", "surrogateescape"), False
        else:
            held += character
    if held:
        yield held.encode(), True


def test_spans_of_what_changed() -> None:
    """A composed character's bytes belong to the symbol that it ends in; one that ends inside covers none of them."""
    text = "xe\u0301y".encode()  # 1 + 3 + 1 bytes, in NFC 1 + 2 + 1
    view = BpeView(json.dumps({**CONTENT, "added_tokens": [], "model": {**CONTENT["model"], "merges": []}}))
    symbols, spans = view.encode(text)
    assert view.decode(symbols) == "xéy".encode()
    assert spans.tolist() == [1, 0, 3, 1]
    assert view.encode("xéy".encode()).span_bytes.tolist() == [1, 1, 1, 1]
    assert view.encode("e\u0301".encode() + b"\xff" + "\u0301".encode()).span_bytes.tolist() == [0, 3, 1, 1, 1]


def test_the_last_symbol_covers_something() -> None:
    assert all(VIEW.encode(unit.encode()).span_bytes[-1] > 0 for unit in UNITS)


def test_text_that_is_composed_already_is_encoded_as_it_is() -> None:
    plain = BpeView(json.dumps({**CONTENT, "normalizer": None}))
    for text in (*real_documents()[:20], "हिन्दी नुक़्ता".encode(), "한국어 für été".encode()):
        assert composed(text) is None
        assert np.array_equal(VIEW.encode(text).symbols, plain.encode(text).symbols)


def test_a_view_says_that_it_composes() -> None:
    assert not VIEW.lossless
    assert BpeView(json.dumps({**CONTENT, "normalizer": None})).lossless
