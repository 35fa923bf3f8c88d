"""Raw positions and the symbols that cover their bytes, against a walk through what each position predicts."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mixture.corpora import texts
from tests.mixture.slow_expansion import SlowPassages

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.mixture.both_forms import shown_apart
from byteproxy.mixture.loader import Shape, Stream
from byteproxy.mixture.planner import State
from byteproxy.mixture.row_pieces import AT, CLOSED, DOCUMENT, FROM, PASSAGE, REPRESENTATION, ROW, TO
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.views.bpe import BpeView

PASSAGE_BYTES = 100
VIEWS = (BpeView.train(texts(), 270), BpeView.train(texts(), 290))
NAMES = tuple(view.name for view in VIEWS)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    documents = [Document(str(number), text, "toy", f"p{number}") for number, text in enumerate(texts(25, 120))]
    prepare_documents(documents, folder, SplitOptions(0.05, 0.1), shard_bytes=4_000)
    for view in VIEWS:
        add_view(folder, view)
    return Store.open(folder)


@lru_cache
def slow_passages(store):
    return SlowPassages(store, VIEWS, PASSAGE_BYTES, False)


def stream_of(store, mode, rate, rows, length, seed):
    mixture = Mixture(phases=(Phase(1.0, mode, rate),))
    return Stream(store, NAMES, mixture, Shape(rows, length, PASSAGE_BYTES), seed, 3, expanded=True, both=True)


def predictions(passages, piece):
    """Each position of a piece that predicts content or its end: how far in the row, and which bytes of the passage."""
    spelled = [len(one.spelling) for one in passages.contents[piece[PASSAGE]][piece[REPRESENTATION]]]
    begins = np.cumsum([0, *spelled]).tolist()
    for number in range(piece[FROM], piece[TO]):
        yield piece[AT] + number - piece[FROM], begins[number], begins[number + 1]
    if piece[CLOSED]:
        yield piece[AT] + piece[TO] - piece[FROM], begins[-1], begins[-1]


def slow_both_forms(passages, pieces, rows, length):
    """(raw position, symbol's position, bytes before), by the symbol's position; the first one of each raw position."""
    found, forms = {}, {}
    for piece in pieces:
        forms.setdefault((piece[DOCUMENT], piece[PASSAGE]), set()).add(piece[REPRESENTATION] == 0)
    apart = [piece for piece in pieces if len(forms[piece[DOCUMENT], piece[PASSAGE]]) == 1]
    for one in apart:
        for at, begin, end in predictions(passages, one) if one[REPRESENTATION] else ():
            for other in apart:
                if other[REPRESENTATION] or (other[ROW], other[PASSAGE]) != (one[ROW], one[PASSAGE]):
                    continue
                for raw, byte, after in predictions(passages, other):
                    if begin <= byte < end or (begin == end == byte == after):
                        row = one[ROW] * length
                        found.setdefault(row + raw, (row + at, byte - begin))
    return sorted((symbol, before, raw) for raw, (symbol, before) in found.items())


@settings(max_examples=60)
@given(
    mode=st.sampled_from(["parallel", "parallel", "pairs", "one"]),
    rate=st.sampled_from([0.3, 0.5, 0.8]),
    rows=st.integers(1, 4),
    length=st.integers(8, 500),
    seed=st.integers(0, 2**63 - 1),
)
def test_each_raw_position_belongs_to_the_symbol_that_covers_its_byte(store, mode, rate, rows, length, seed):
    stream, passages = stream_of(store, mode, rate, rows, length, seed), slow_passages(store)
    plan, _ = stream.plan(stream.plan(State())[1])  # begins inside a segment, mostly
    raw, symbol, before = stream.rows(plan).both
    wanted = slow_both_forms(passages, plan.pieces.tolist(), rows, length)
    assert sorted(zip(symbol.tolist(), before.tolist(), raw.tolist(), strict=True)) == wanted
    assert symbol.tolist() == sorted(symbol.tolist())
    assert len(set(raw.tolist())) == len(raw)
    parts = [(number * length, stream.rows(plan, number, number + 1).both) for number in range(rows)]
    for place, (whole, shift) in enumerate([(raw, 1), (symbol, 1), (before, 0)]):
        assert np.concatenate([shift * begin + part[place] for begin, part in parts]).tolist() == whole.tolist()


@settings(max_examples=30)
@given(mode=st.sampled_from(["parallel", "pairs"]), length=st.integers(50, 500), seed=st.integers(0, 2**63 - 1))
def test_all_that_belongs_together_is_in_pieces_that_are_marked(store, mode, length, seed):
    """What FLOPs are priced by knows lengths only."""
    stream = stream_of(store, mode, 0.5, 2, length, seed)
    plan, _ = stream.plan(State())
    pieces, marked = plan.pieces.tolist(), shown_apart(plan.pieces)
    raw, symbol, _ = stream.rows(plan).both
    inside = {
        at + one[ROW] * length
        for one, mark in zip(pieces, marked.tolist(), strict=True)
        if mark
        for at in range(one[AT], one[AT] + one[TO] - one[FROM] + one[CLOSED])
    }
    assert set(raw.tolist()) | set(symbol.tolist()) <= inside
    assert marked.any() == bool(inside)


def test_both_forms_of_most_passages_meet_in_long_rows(store):
    stream = stream_of(store, "parallel", 0.5, 1, 4000, 0)
    raw, _, before = stream.rows(stream.plan(State())[0]).both
    assert len(raw) > 1500
    assert before.max() > 0


def test_a_stream_that_is_not_asked_finds_nothing(store):
    mixture = Mixture(phases=(Phase(1.0, "parallel", 0.5),))
    stream = Stream(store, NAMES, mixture, Shape(2, 400, PASSAGE_BYTES), 0, 3, expanded=True)
    assert stream.rows(stream.plan(State())[0]).both is None
