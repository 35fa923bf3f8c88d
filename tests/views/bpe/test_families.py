"""Published families against `tokenizers` itself: the same numbers, for all of Unicode, odd texts and whole files."""

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.views.bpe.families import FAMILIES, SLOW, TEXT, falcon, llama3, smollm2
from tests.views.contract import real_documents
from tokenizers import Tokenizer

from byteproxy.views.bpe import BpeView
from byteproxy.views.bpe.engine import Engine

UNITS = [
    *"abstT'dLr_1239õÀ \t\n\r\v(.=/é中😀ſKǅʰ²½ⅷ٣๓«“—\x00\x1c\x7f",
    *"\u0085\u00a0\u180e\u1680\u200b\u200d\u2028\u202f\u3000\ufeff\u212a\u212b\U00016ac0\U0001e950\u0378\U000e0100",
    *("\u0301", "\u0323", "\u0345\u0301", "e\u0308", "か\u3099", "한", "ᄒ", "ᅡ", "ᆫ", "ﬆ", "👩\u200d👩", "ａＢ"),
    *("'ll", " 's", "'S", "'ſ", "'RE", "'Ve", "don’t", "  ", "    ", "\r\n", " \n", "return x\n", "1234", "-----"),
    *("<|endoftext|>", "<think>", "<tool_call>", "<|fim_prefix|>", "|||IP|||", "<｜fim▁hole｜>", "import", "a" * 20),
    *(blank * count for blank in " \t\u3000" for count in (9, 10, 24, 25, 32, 257)),
]
TEXTS = st.lists(st.sampled_from(UNITS), max_size=30).map("".join)
ALL_TEXT = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
ASSIGNED_TEXT = ALL_TEXT[:0x33000] + ALL_TEXT[0xE0000 - 0x800 : 0xE0200 - 0x800]


@cache
def made(name: str) -> tuple[BpeView, Tokenizer]:
    """A view, and the tokenizer itself, to which special tokens in a text are text, too."""
    content = FAMILIES[name]()
    tokenizer = Tokenizer.from_str(json.dumps({**content, "truncation": None, "post_processor": None}))
    tokenizer.encode_special_tokens = True
    return BpeView(json.dumps(content)), tokenizer


def check_same(name: str, texts: list[str]) -> None:
    """Fail unless the symbols are those of `tokenizers`, and cover the text."""
    view, tokenizer = made(name)
    theirs = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    for text, ours, their in zip(texts, view.encode_batch([text.encode() for text in texts]), theirs, strict=True):
        assert ours.symbols.tolist() == their.ids, text[:200]
        assert ours.span_bytes.sum(dtype=np.int64) == len(text.encode())
        if view.lossless:
            assert view.decode(ours.symbols) == text.encode()


EACH = pytest.mark.parametrize("name", FAMILIES)


@EACH
def test_same_numbers_for_odd_texts(name: str) -> None:
    missing = bytes(made(name)[0]._file.own).decode("latin-1")

    @settings(max_examples=100)
    @given(TEXTS)
    def check(text: str) -> None:
        check_same(name, ["".join(one for one in text if not set(one.encode()) & set(missing.encode("latin-1")))])

    check()


@EACH
def test_same_numbers_for_code_and_all_scripts(name: str) -> None:
    files = [text.decode() for text in real_documents()[:60] if text.isascii() and b"\x7f" not in text]
    check_same(name, [*files, TEXT.replace("\x7f", "")] if name != "smollm2" else files)


@pytest.mark.parametrize("name", [*sorted(FAMILIES.keys() - SLOW - {"smollm2"})])
def test_same_numbers_for_all_assigned_characters(name: str) -> None:
    check_same(name, [ASSIGNED_TEXT[at : at + 10_000] for at in range(0, len(ASSIGNED_TEXT), 10_000)])
    check_same(name, ["'" + " '".join(ALL_TEXT[:0x3100]), "e a".join(ALL_TEXT[0x2FF:0x3100])])


@EACH
def test_which_are_cut_here(name: str) -> None:
    view, _ = made(name)
    assert isinstance(view._engine, Engine) == (name not in SLOW)
    assert bool(view._file.cuts.unknown) == (name in SLOW)


@EACH
@settings(max_examples=40)
@given(parts=st.lists(st.one_of(TEXTS.map(str.encode), st.binary(max_size=5), st.just(b"\xff")), max_size=5))
def test_any_bytes_are_encoded(name: str, parts: list[bytes]) -> None:
    """By the engine as by the slow way; a lossless view gives them back."""
    view, _ = made(name)
    document = b"".join(parts)
    ours = view.encode(document)
    assert ours.span_bytes.sum(dtype=np.int64) == len(document)
    if view.lossless:
        theirs = view._slow.encode([document])[0]
        assert np.array_equal(ours.symbols, theirs.symbols)
        assert np.array_equal(ours.span_bytes, theirs.span_bytes)
        assert view.decode(ours.symbols) == document


@EACH
def test_numbers_stay(name: str) -> None:
    view, _ = made(name)
    content = json.loads(view.tokenizer_json)
    special = {token["content"] for token in content["added_tokens"] if token["special"]}
    numbers = content["model"]["vocab"]
    used = {number for symbol, number in numbers.items() if symbol not in special} | set(view.own_bytes)
    used |= {token["id"] for token in content["added_tokens"] if not token["special"]}
    assert {number for number, string in enumerate(view.strings) if string} == used
    assert len(view.encode(b"<|endoftext|>").symbols) > 1


def test_pieces_that_are_symbols_need_no_merges() -> None:
    content = llama3()
    view = BpeView(json.dumps(content))
    assert view.encode(b" return").symbols.tolist() == [content["model"]["vocab"]["Ġreturn"]]
    content["model"]["ignore_merges"] = False
    assert len(BpeView(json.dumps(content)).encode(b" return").symbols) > 1


def test_bytes_without_a_symbol_get_the_last_ones() -> None:
    content = smollm2()
    view = BpeView(json.dumps(content))
    numbers = content["model"]["vocab"]
    own = [byte for byte in range(256) if view.byte_symbols[byte] in view.own_bytes]
    assert len(own) == len(view.own_bytes) > 5
    assert list(view.own_bytes) == [len(numbers) + place for place in range(len(own))]
    assert [view.strings[symbol] for symbol in view.own_bytes] == [bytes([byte]) for byte in own]
    assert view.decode(view.encode(bytes(range(256))).symbols) == bytes(range(256))
    content["added_tokens"].append({**content["added_tokens"][0], "id": len(numbers), "content": "<|later|>"})
    assert BpeView(json.dumps(content)).own_bytes.start == len(numbers) + 1


def test_cuts_behind_byte_level_are_left_to_tokenizers() -> None:
    view = BpeView(json.dumps(falcon()))
    assert view.encode(b"\xff" + TEXT.encode()).symbols[0] == view.byte_symbols[255]


def test_letters_that_spell_bytes_may_be_tokens_of_their_own() -> None:
    view, _ = made("deepseek")
    assert len(view.own_bytes) == 13
    letter = view.encode("õ".encode()).symbols.tolist()
    assert letter != view.encode(b"\xf5").symbols.tolist() == [view.byte_symbols[0xF5]]
    assert view.strings[letter[0]] == "õ".encode()
