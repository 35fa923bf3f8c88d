import itertools
import keyword
import re
from string import ascii_lowercase

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.store.toys import HUNDREDS, WORDS, Nibbles, Opaque, Pieces
from tests.toy_corpus import toy_documents

from byteproxy.evaluate.views.stability import (
    EDITS,
    PERTURBATIONS,
    SHORTEST,
    distance,
    distances,
    perturbed,
    pieces,
    resync_bytes,
    resync_distances,
)
from byteproxy.views.base import Encoded
from byteproxy.views.raw import RawView

CODE = [document.text for document in toy_documents(30)]
ANY_TEXT = st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))


class Recorder(RawView):
    """The raw view, which remembers what it was given."""

    def __init__(self):
        self.seen = []

    def encode_batch(self, documents):
        self.seen += documents
        return super().encode_batch(documents)


class Fours:
    """Four bytes from the start are a symbol, whatever they are: an insertion or deletion shifts all that follow."""

    name, aligned, alphabet_size, fingerprint = "fours", True, 1 << 32, "fours 1"

    def encode(self, document):
        cut = [document[at : at + 4] for at in range(0, len(document), 4)]
        symbols = np.array([int.from_bytes(piece, "little") for piece in cut], dtype=np.uint32)
        return Encoded(symbols, np.array([len(piece) for piece in cut], dtype=np.uint32))

    def encode_batch(self, documents):
        return [self.encode(document) for document in documents]

    def decode(self, symbols):
        raise ValueError("not needed")


# Perturbations


@given(st.sampled_from(sorted(PERTURBATIONS)), ANY_TEXT, st.integers(0, 3))
def test_a_perturbation_is_a_pure_function_of_seed_and_text(how, text, seed):
    assert perturbed(how, text, seed) == perturbed(how, text, seed)


@pytest.mark.parametrize("how", sorted(PERTURBATIONS))
def test_seeds_and_texts_draw_differently(how):
    text = CODE[0]
    assert len({perturbed(how, text, seed) for seed in range(8)}) > 2
    lengths = {len(perturbed(how, text + b"# %d\n" % number, 0)) - len(text) for number in range(10, 40)}
    assert len(lengths) > (0 if how == "random_delete" else 2)


@given(ANY_TEXT)
def test_random_delete_takes_a_tenth_and_keeps_the_order(text):
    changed = perturbed("random_delete", text, 0)
    if not text:
        assert changed is None
        return
    before, after = text.decode("utf-8", "surrogateescape"), changed.decode("utf-8", "surrogateescape")
    if text.decode("utf-8", "replace").encode() == text:  # else freed bytes may meet and become a character
        assert len(before) - len(after) == max(1, round(len(before) / 10))
    rest = iter(text)
    assert all(value in rest for value in changed), "a subsequence"


def test_random_delete_reaches_everywhere():
    text = bytes(range(32, 127)) * 3
    gone = {at // 57 for seed in range(6) for at in _gone(text, perturbed("random_delete", text, seed))}
    assert gone == {0, 1, 2, 3, 4}


def _gone(before, after):
    """Places of bytes that are missing, for a text in which neighbours differ."""
    places, at = [], 0
    for place, value in enumerate(before):
        if at < len(after) and after[at] == value:
            at += 1
        else:
            places.append(place)
    return places


@given(st.binary(min_size=1, max_size=500).map(lambda text: bytes(value & 127 for value in text)), st.integers(0, 9))
def test_cuts_take_one_stretch(text, seed):
    prefix, middle = perturbed("prefix_cut", text, seed), perturbed("middle_cut", text, seed)
    assert text.endswith(prefix)
    assert max(1, round(0.01 * len(text))) <= len(text) - len(prefix) <= max(1, round(0.25 * len(text)))
    taken = len(text) - len(middle)
    assert max(1, round(0.05 * len(text))) <= taken <= max(1, round(0.1 * len(text)))
    starts = [at for at in range(len(middle) + 1) if text[:at] + text[at + taken :] == middle]
    assert starts
    assert any(0.25 * len(text) - 1 <= at and at + taken <= 0.75 * len(text) + 1 for at in starts)


def test_characters_stay_whole():
    text = "naïve 日本語 🙂 = größe + größe\n".encode() * 20
    for how in PERTURBATIONS:
        for seed in range(5):
            changed = perturbed(how, text, seed)
            changed.decode()
            assert changed != text


@pytest.mark.parametrize("text", CODE[:10])
def test_rename_replaces_one_name_everywhere(text):
    for seed in range(5):
        changed = perturbed("rename", text, seed)
        word = re.compile(rb"\w+")
        assert word.sub(b"", changed) == word.sub(b"", text)
        pairs = set(zip(word.findall(text), word.findall(changed), strict=True))
        ((old, new),) = [pair for pair in pairs if pair[0] != pair[1]]
        assert text.count(old) > 1
        assert not keyword.iskeyword(old.decode())
        assert new not in text
        assert 1 <= abs(len(new) - len(old)) <= 2
        assert len(new) >= 3
        assert old not in word.findall(changed)


@pytest.mark.parametrize(
    "text", [b"", b"once = 1", b"for x in y: for a in b", b"ab ab ab", b"\xff\xff 111 111", b"x1 x1"]
)
def test_rename_passes_over_text_without_such_a_name(text):
    assert perturbed("rename", text, 0) is None


def test_rename_takes_a_name_that_is_not_there():
    taken = " ".join(map("".join, itertools.product(ascii_lowercase, repeat=3)))
    for seed in range(12):
        changed = perturbed("rename", f"{taken} name name".encode(), seed)
        assert changed.startswith(taken.encode())
        assert len(changed.split()[-1]) in (5, 6), "three letters would be a name that stands there"


def test_rename_knows_names_from_parts_of_names():
    assert re.fullmatch(rb"(\w+) names rename \1", perturbed("rename", b"name names rename name", 0))


# Distances


def test_distance_is_exact_for_any_symbol():
    assert distance(np.array([1, 2, 3]), np.array([1, 3])) == pytest.approx(1 / 3)
    for one, other in ((0, 256), (1, 65537), (97, 97 + (1 << 31)), (0, (1 << 32) - 1)):
        assert distance(np.array([one], np.uint32), np.array([other], np.uint32)) == 1
        assert distance(np.array([one], np.uint32), np.array([one], np.uint32)) == 0
    assert distance(np.array([7], np.uint16), np.array([7], np.uint32)) == 0
    assert distance(np.empty(0, np.uint16), np.empty(0, np.uint16)) == 0
    assert distance(np.empty(0, np.uint16), np.array([1], np.uint16)) == 1


def test_deleting_a_tenth_of_bytes_is_a_tenth_of_raw_symbols():
    texts = [bytes(range(100)), bytes(range(60))]
    np.testing.assert_allclose(distances(RawView(), texts, "random_delete", 0), [0.1, 0.1])


def test_a_view_of_its_own_mind_has_distance_zero():
    class Constant(Opaque):
        def encode(self, document):
            return super().encode(b"")

    for how in PERTURBATIONS:
        assert distances(Constant(), CODE, how, 0).tolist() == [0.0] * len(CODE)


def test_chunks_from_the_start_lose_their_place_where_bytes_and_words_do_not():
    """After a cut in front, three in four cuts shift all chunks of four bytes."""
    texts = CODE * 3
    raw, fours, words = (distances(view, texts, "prefix_cut", 0).mean() for view in (RawView(), Fours(), WORDS))
    assert words < 1.5 * raw
    assert fours > 3 * raw


def test_texts_that_have_nothing_to_change_are_left_out():
    seen = []
    found = distances(RawView(), [b"1", CODE[0], b"2"], "rename", 0, lambda done, total: seen.append((done, total)))
    assert len(found) == 1
    assert seen[-1] == (3, 3)


def test_distances_compare_the_text_with_the_perturbed_text():
    recorder = Recorder()
    distances(recorder, CODE[:2], "middle_cut", 4)
    assert recorder.seen == [part for text in CODE[:2] for part in (text, perturbed("middle_cut", text, 4))]


# Resynchronisation


def by_hand(before, after, at):
    """The definition word by word: the first end of a symbol in both from which on everything is the same."""
    size = int(before.span_bytes.sum())
    tails = []
    for encoded in (before, after):
        ends = np.cumsum(encoded.span_bytes).tolist()
        pairs = list(zip(ends, encoded.symbols.tolist(), strict=True))
        tails.append({end: pairs[place + 1 :] for place, end in enumerate(ends) if encoded.span_bytes[place]})
        tails[-1][0] = pairs
    agreed = [offset for offset in tails[0] if offset in tails[1] and tails[0][offset] == tails[1][offset]]
    return max(min(agreed, default=size) - at - 1, 0)


@st.composite
def two_parses(draw):
    """Two parses of the same text that end alike, with symbols of no bytes among them."""
    tail = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=8))
    heads = [draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=8)) for _ in range(2)]
    sizes = [sum(span for _, span in head) for head in heads]
    for head, size in zip(heads, sizes, strict=True):
        if size < max(sizes):
            head.append((draw(st.integers(0, 2)), max(sizes) - size))
    parses = []
    for head in heads:
        symbols, spans = zip(*(head + tail), strict=True) if head + tail else ((), ())
        parses.append(Encoded(np.array(symbols, np.uint16), np.array(spans, np.uint32)))
    size = max(sizes) + sum(span for _, span in tail)
    return *parses, draw(st.integers(0, max(size - 1, 0)))


@given(two_parses().filter(lambda drawn: drawn[0].span_bytes.sum() > 0))
def test_resync_is_what_the_definition_says_for_any_parses(drawn):
    assert resync_bytes(*drawn) == by_hand(*drawn)


VIEWS = [RawView(), WORDS, HUNDREDS, Nibbles(), Fours(), Pieces(rb"a+b?|.", "runs")]


@given(
    st.sampled_from(VIEWS),
    st.lists(st.sampled_from([b"a", b"b", b" ", b"\n", b"ab"]), min_size=1, max_size=60),
    st.data(),
)
def test_resync_is_what_the_definition_says_for_views(view, parts, data):
    text = b"".join(parts)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from([b"a", b"b", b"z", b" "])) + text[at + 1 :]
    before, after = view.encode(text), view.encode(changed)
    assert resync_bytes(before, after, at) == by_hand(before, after, at)


def resync(view, text, changed):
    (at,) = [at for at in range(len(text)) if text[at] != changed[at]]
    return resync_bytes(view.encode(text), view.encode(changed), at)


def test_resync_of_parses_that_can_be_seen():
    assert resync(RawView(), b"hello", b"hallo") == 0
    assert resync(WORDS, b"hello world", b"hxllo world") == 0, "a fuzzy symbol, the first letter, is the same"
    assert resync(WORDS, b"hello world", b"jello world") == 4
    assert resync(WORDS, b"hello world", b"hel o world") == 1
    assert resync(WORDS, b"hello world", b"hello.world") == 0
    assert resync(WORDS, b"hello world", b"helloxworld") == 5
    assert resync(Fours(), b"aaaabbbbcc", b"axaabbbbcc") == 2
    assert resync(Nibbles(), b"aaaa", b"aqaa") == 0
    assert resync(Nibbles(), b"aaaa", b"abaa") == 0
    one, other = (Encoded(np.array([7, 7]), np.array(spans, np.uint32)) for spans in ([2, 1], [1, 2]))
    assert resync_bytes(one, other, 0) == 2, "the same symbols at other places"
    runs = Pieces(rb"(?:..)+(?=x)|.", "runs")
    assert resync(runs, b"ababab", b"abxbab") == 0


def test_resync_of_raw_bytes_is_at_once_and_of_an_unaligned_view_never():
    texts = [b"x" * 100, b"abc" * 100]
    assert resync_distances(RawView(), texts, 0).tolist() == [0] * 2 * EDITS
    never = resync_distances(Opaque(), texts, 0).tolist()
    assert len(never) == 2 * EDITS
    recorder = Recorder()
    resync_distances(recorder, texts, 0)
    edited = recorder.seen[2:]
    to_the_end = []
    for number, changed in enumerate(edited):
        text = texts[number // EDITS]
        ((at, value),) = [(at, new) for at, (old, new) in enumerate(zip(text, changed, strict=True)) if old != new]
        assert 32 <= value < 127
        to_the_end.append(len(text) - at - 1)
    assert never == to_the_end
    assert len(set(never)) > EDITS, "the places are drawn for each edit and each text"
    assert resync_distances(Opaque(), texts, 0).tolist() == never
    assert resync_distances(Opaque(), texts, 1).tolist() != never


def test_resync_goes_on_to_the_next_shared_boundary():
    """With chunks of 100 bytes whose symbol is their first byte, most edits change no symbol at all."""
    text = bytes(range(32, 126)) * 20
    found = resync_distances(HUNDREDS, [text] * 40, 0).reshape(40, EDITS)
    assert set(found[0].tolist()) <= {0, 99}
    words = resync_distances(WORDS, CODE, 0)
    assert 0 < words.max() < 20
    assert np.median(words) <= 4


# Pieces


@given(st.lists(ANY_TEXT, max_size=4), st.integers(1, 40), st.integers(0, 2))
def test_pieces_put_together_are_the_texts(texts, piece_bytes, seed):
    texts = [text for text in texts if len(text) >= SHORTEST] or texts
    cut = pieces(texts, piece_bytes, 10_000, seed)
    assert sum(map(len, cut)) == sum(map(len, texts))
    assert all(0 < len(piece) <= 2 * piece_bytes + piece_bytes // 2 + 3 for piece in cut)
    assert all(any(piece in text for text in texts) for piece in cut)
    assert pieces(texts, piece_bytes, 10_000, seed) == cut
    assert pieces(texts, piece_bytes, 3, seed) == cut[:3]


def test_pieces_take_turns_among_texts_and_end_at_line_ends():
    texts = [b"%d a line of text\n" % number * 100 for number in range(4)]
    cut = pieces(texts, 200, 8, 0)
    assert [piece[:1] for piece in cut] == [b"0", b"1", b"2", b"3"] * 2
    assert all(piece.endswith(b"\n") for piece in cut)
    assert all(200 <= len(piece) < 200 + 17 for piece in cut)


def test_pieces_are_not_all_from_the_start():
    texts = [b"".join(b"%d,%d\n" % (number, at) for at in range(500)) for number in range(20)]
    firsts = [piece for piece in pieces(texts, 100, 20, 0) if b",0\n" in piece]
    assert len(firsts) < 5


def test_a_long_line_is_cut_between_characters():
    text = "é日🙂".encode() * 200
    assert [piece.decode() for piece in pieces([text], 100, 10_000, 0)]


def test_texts_of_a_few_bytes_are_left_out_where_there_are_others() -> None:
    assert pieces([b"ab", b"x" * 100], 1000, 10, 0) == [b"x" * 100]
    assert pieces([b"ab"], 1000, 10, 0) == [b"ab"]
