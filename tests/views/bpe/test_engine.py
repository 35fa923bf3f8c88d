"""The engine against `tokenizers` itself, byte for byte, under our own patterns, that of GPT-2, and none."""

import random
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.views.bpe.pieces import ends_of_pieces, tables_of
from tests.views.contract import ODD_DOCUMENTS, check_documents, documents, real_documents
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from byteproxy.views.bpe import BpeView, engine, merges, piece_cache
from byteproxy.views.bpe.engine import Engine
from byteproxy.views.bpe.pre_tokenizers import AUTOMATA, GPT2_PATTERN, LINES, LINES_PATTERN, WHOLE, WORDS_PATTERN, Cuts

UNITS = [
    *"abst'dLT_1239 \t\n\r\v(.=é中😀ſ²½ⅷ٣\x00\x1c\x7f",
    *"\u0085\u00a0\u0301\u180e\u1680\u200b\u2028\u202f\u3000\ufeff\U00016ac0\U0001e950\U000e0100",
    *("'ll", " 's", "  ", "    ", "\r\n", " \n", "return x\n", "1234", "-----", "a" * 20),
    *(blank * count for blank in " \t\u3000" for count in (255, 256, 257, 258)),
]
INVALID = [
    *(b"\xff", b"\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc0\x80", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf"),
    *(b"\xed\xa0\x80", b"\xed\x9f\xbf", b"\xf4\x90\x80\x80", b"\xf4\x8f\xbf\xbf", b"\xf5\x80\x80\x80"),
]
TEXTS = st.lists(st.sampled_from(UNITS), max_size=30).map("".join)
MIXED = st.lists(st.one_of(TEXTS.map(str.encode), st.sampled_from(INVALID), st.binary(max_size=4)), max_size=6)
MIXED = MIXED.map(b"".join)


def odd_text(count: int) -> str:
    return "".join(random.Random(0).choices(UNITS, k=count))


def trained(pre_tokenizer: pre_tokenizers.PreTokenizer) -> BpeView:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, min_frequency=2, show_progress=False, initial_alphabet=alphabet)
    text = odd_text(3000) + b"".join(PLAIN[:15]).decode()
    # In stretches, as the trainer is slow on long pieces.
    tokenizer.train_from_iterator([text[start : start + 100] for start in range(0, len(text), 100)], trainer)
    return BpeView(tokenizer.to_str())


def byte_level(use_regex: bool) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def split(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


PLAIN = [text for text in real_documents()[:40] if text.isascii()]
VIEWS = {
    "words": trained(pre_tokenizers.Sequence([split(WORDS_PATTERN), byte_level(False)])),
    "lines": trained(pre_tokenizers.Sequence([split(LINES_PATTERN), byte_level(False)])),
    "whole": trained(byte_level(False)),
    "gpt2": trained(byte_level(True)),
}
RULES = {"words": AUTOMATA, "lines": LINES, "whole": WHOLE, "gpt2": AUTOMATA}
ALL = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)


def check_same(view: BpeView, texts: list[bytes]) -> None:
    """Fail unless engine and `tokenizers` agree, and the symbols are the text."""
    for text, ours, theirs in zip(texts, view.encode_batch(texts), view._slow.encode(texts), strict=True):
        assert np.array_equal(ours.symbols, theirs.symbols), text
        assert np.array_equal(ours.span_bytes, theirs.span_bytes)
        assert (ours.symbols.dtype, ours.span_bytes.dtype) == (theirs.symbols.dtype, theirs.span_bytes.dtype)
        assert view.decode(ours.symbols) == text
        assert ours.span_bytes.sum(dtype=np.int64) == len(text)


def test_each_view_has_the_rule_that_it_is_named_for() -> None:
    assert {name: view._file.cuts.rule for name, view in VIEWS.items()} == RULES
    assert all(isinstance(view._engine, Engine) for view in VIEWS.values())
    assert [view._engine._cut_at_newlines for view in VIEWS.values()] == [True, True, False, False]


@pytest.mark.parametrize("pattern", [WORDS_PATTERN, LINES_PATTERN, GPT2_PATTERN], ids=["words", "lines", "gpt2"])
def test_pieces_are_those_of_the_pattern(pattern: str) -> None:
    tables = tables_of(pattern)
    regex = split(pattern)

    @settings(max_examples=500)
    @given(TEXTS)
    def check(text: str) -> None:
        lengths = [len(piece.encode()) for piece, _ in regex.pre_tokenize_str(text)]
        assert np.diff(ends_of_pieces(text.encode(), tables)).tolist() == lengths

    check()


@ALL
def test_same_symbols_for_any_bytes(view: BpeView) -> None:
    @settings(max_examples=300)
    @given(MIXED)
    def check(document: bytes) -> None:
        check_same(view, [document, document[: len(document) // 2], document[len(document) // 2 :]])

    check()


@ALL
def test_same_symbols_for_real_and_odd_documents(view: BpeView) -> None:
    check_same(view, list(real_documents()))
    check_same(view, [document for document in ODD_DOCUMENTS if len(document) < 100_000])
    check_same(view, [odd_text(20_000).encode(), b"\xff".join(odd_text(2000).encode().split(b"a"))])


@ALL
def test_same_symbols_for_all_code_points(view: BpeView) -> None:
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    check_same(view, [everything[start : start + 20_000].encode() for start in range(0, len(everything), 20_000)])
    check_same(view, [" ".join(everything[:70_000]).encode()])


@settings(max_examples=30)
@given(documents)
def test_the_contract(document: bytes) -> None:
    for view in VIEWS.values():
        check_documents(view, [document, b"", document + document])


def test_more_pieces_than_the_cache_holds() -> None:
    words = [f" {'x' * (number % 23)}{number * 7919 % 65536:x}_(" for number in range(piece_cache.SLOTS)]
    document = "".join(words).encode()
    assert len(set(words)) > piece_cache.SLOTS // 2
    assert len(document) > piece_cache.KEPT_BYTES / 2
    for name in ("words", "lines"):
        check_same(VIEWS[name], [document, document.replace(b"_(", b"\n")])


def merged_slowly(symbols: list[int], merges: dict[tuple[int, int], tuple[int, int]]) -> list[int]:
    """The definition: merge the pair of lowest rank, of equal ones the leftmost, until there is none."""
    while True:
        ranks = [merges.get(pair, (1 << 40, 0)) for pair in pairwise(symbols)]
        if not ranks or min(ranks)[0] == 1 << 40:
            return symbols
        place = ranks.index(min(ranks))
        symbols = [*symbols[:place], min(ranks)[1], *symbols[place + 2 :]]


def foreign_merges(random_: random.Random) -> tuple[list[bytes], list[tuple[int, int, int]]]:
    """Merges of a few letters in no sensible order: symbols made in several ways, and pairs listed twice."""
    strings = [bytes([value]) for value in range(256)]
    triples = []
    for _ in range(random_.randrange(60)):
        left, right = (random_.choice([*b"abc", *range(256, len(strings))]) for _ in range(2))
        string = strings[left] + strings[right]
        if string not in strings:
            strings.append(string)
        triples.append((left, right, strings.index(string)))
    random_.shuffle(triples)
    return strings, triples


@pytest.mark.parametrize("length", [1, 2, 3, 17, 64, 65, merges.SHORT, merges.SHORT + 1, 800])
def test_merging_is_by_rank_and_from_the_left(length: int) -> None:
    random_ = random.Random(length)
    for _ in range(30 if length < 800 else 8):
        strings, triples = foreign_merges(random_)
        by_pair = {(left, right): (rank, merged) for rank, (left, right, merged) in enumerate(triples)}
        text = bytes(random_.choices(b"abc"[: random_.randrange(1, 4)], k=length))
        encoded = Engine(Cuts(WHOLE, None, {}), strings, triples).encode([text])[0]
        assert encoded.symbols.tolist() == merged_slowly(list(text), by_pair)


@pytest.mark.parametrize("letters", [b"a", b"ab", b"abc"])
def test_long_pieces_merge_as_in_tokenizers(letters: bytes) -> None:
    text = bytes(random.Random(1).choices(letters, k=3 * engine.ROOM))
    learnt = [bytes(random.Random(2).choices(letters, k=300)).decode() for _ in range(30)]
    tokenizer = Tokenizer.from_str(VIEWS["whole"]._slow._tokenizer.to_str())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        learnt, trainers.BpeTrainer(vocab_size=300, show_progress=False, initial_alphabet=alphabet)
    )
    view = BpeView(tokenizer.to_str())
    check_same(view, [text, text[:5000], text[: engine.ROOM], text[: engine.ROOM + 1]])


@ALL
def test_long_inputs_take_seconds(view: BpeView) -> None:
    line = b" ".join(PLAIN).replace(b"\n", b" ") * 100
    view.encode(b"compiled before the clock starts")
    for document in (b"a" * 1_000_000, b" " * 1_000_000, b"\x80" * 1_000_000, line[:5_000_000]):
        begin = time.process_time()
        symbols, span_bytes = view.encode(document)
        assert time.process_time() - begin < 2
        assert span_bytes.sum(dtype=np.int64) == len(document)
        assert view.decode(symbols) == document
    assert all(len(scratch.work.symbols) == engine.ROOM for scratch in view._engine._idle)


@ALL
def test_thread_count_and_history_change_nothing(view: BpeView, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [b"", *real_documents()[40:80], b"\n" * 99, b"".join(real_documents()), b"", b"\xff\n" * 9]
    assert len(texts[-3]) > engine.PART_BYTES
    shared = Engine(view._file.cuts, view.strings, view._file.numbered_merges)
    expected = [encode_alone(view, text) for text in texts]
    for threads in (1, 2, 7):
        monkeypatch.setattr(engine, "cores", lambda threads=threads: threads)
        for order in (1, -1):
            encoded = shared.encode(texts[::order])[::order]
            assert [one.symbols.tolist() for one in encoded] == expected
    assert len(shared._idle) <= 7


def encode_alone(view: BpeView, text: bytes) -> list[int]:
    return Engine(view._file.cuts, view.strings, view._file.numbered_merges).encode([text])[0].symbols.tolist()


def test_documents_of_a_batch_do_not_keep_each_other_in_memory() -> None:
    for encoded in VIEWS["words"].encode_batch([b"x = 1\n"] * 3):
        assert encoded.symbols.base is None
        assert encoded.span_bytes.base is None


def test_groups_are_of_a_size_and_in_order() -> None:
    parts: Iterator[tuple[int, bytes]] = iter([(0, b"aaa"), (1, b""), (2, b"bb"), (3, b"cccccc"), (4, b"")])
    assert [[number for number, _ in group] for group in engine._groups(parts, 5)] == [[0, 1, 2], [3], [4]]
