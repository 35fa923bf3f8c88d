"""Expanded and composed rows, against a walk through the texts symbol by symbol."""

import pickle
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mixture.corpora import texts
from tests.mixture.slow_expansion import SlowPassages, check_rows, shown_bytes, slow_pieces
from tests.store.toys import HUNDREDS, Halves, Opaque, Pieces

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.mixture.loader import Rows, Shape, Stream
from byteproxy.mixture.planner import State
from byteproxy.mixture.row_pieces import FROM, PASSAGE, REPRESENTATION, TO
from byteproxy.mixture.schedule import MODES, Mixture, Phase
from byteproxy.store.encode import add_view
from byteproxy.store.passage_index import BYTE_START, BYTES, start_column
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.views.base import View
from byteproxy.views.bits import BitsView
from byteproxy.views.bpe import BpeView
from byteproxy.views.chunks import ChunksView
from byteproxy.views.token_bytes import TokenBytesView
from byteproxy.vocab import FIRST_BYTE, FIRST_SYMBOL, PAD

PASSAGE_BYTES = 100
BPE = BpeView.train(texts(), 270)
VIEWS: tuple[View, ...] = (BPE, ChunksView(4), BitsView(), TokenBytesView(BPE), Halves())
SEVERAL = [(view,) for view in VIEWS] + [(VIEWS[1], VIEWS[0]), (VIEWS[3], VIEWS[0], VIEWS[2])]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    documents = [Document(str(number), text, "toy", f"p{number}") for number, text in enumerate(texts(25, 120))]
    prepare_documents(documents, folder, SplitOptions(0.05, 0.1), shard_bytes=4_000)
    for view in (*VIEWS, Opaque()):
        add_view(folder, view)
    assert len(Store.open(folder).shards("train")) > 1
    return Store.open(folder)


@lru_cache
def slow_passages(store: Store, views: tuple[View, ...], composed: bool) -> SlowPassages:
    return SlowPassages(store, views, PASSAGE_BYTES, composed)


def names_of(views: tuple[View, ...]) -> tuple[str, ...]:
    return tuple(view.name for view in views)


@settings(max_examples=100)
@given(
    st.sampled_from(SEVERAL),
    st.sampled_from(MODES),
    st.sampled_from(["fill", "whole"]),
    st.booleans(),
    st.sampled_from(["segments", "positions"]),
    st.integers(8, 400),
    st.integers(1, 4),
    st.integers(0, 2**63 - 1),
    st.data(),
)
def test_rows_are_those_of_the_slow_walk(store, views, mode, packing, composed, count, length, rows, seed, data):
    passages = slow_passages(store, views, composed)
    if packing == "whole":
        most = [passages.most(representation) for representation in range(1 + len(views))]
        length += 3 * max(most) + most[0] + 7
    mixture = Mixture(phases=(Phase(1.0, mode, 0.6),), passages=3, packing=packing, count=count)
    shape = Shape(rows, length, PASSAGE_BYTES)
    stream = Stream(store, names_of(views), mixture, shape, seed, 5, composed=composed, expanded=True)
    state = State()
    for _ in range(data.draw(st.integers(1, 3), "steps")):
        plan, state = stream.plan(state)
    first = data.draw(st.integers(0, rows), "first row")
    last = data.draw(st.integers(first, rows), "last row")
    pieces = slow_pieces(passages, plan, first, last, length)
    check_rows(stream.rows(plan, first, last), pieces)
    if packing == "whole" and (first, last) == (0, rows):
        assert stream.text_bytes(plan).tolist() == shown_bytes(stream, pieces)


def stream_of(store: Store, views: tuple[View, ...], mode="one", length=48, rate=0.7, **kind: bool) -> Stream:
    mixture = Mixture(phases=(Phase(1.0, mode, rate),), passages=3)
    return Stream(store, names_of(views), mixture, Shape(4, length, PASSAGE_BYTES), 1, 400, **kind)


@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("views", SEVERAL, ids=lambda views: "+".join(names_of(views)))
def test_pieces_of_a_segment_spell_its_passage(store: Store, views: tuple[View, ...], composed: bool) -> None:
    """However rows cut it, within units too: the parts together are the passage's text, and each part goes on."""
    stream = stream_of(store, views, "switch", composed=composed, expanded=True)
    wanted, state = slow_passages(store, views, composed).texts, State()
    text, passage, done, cut = b"", -1, 0, set()
    for _ in range(170):
        plan, state = stream.plan(state)
        expanded = stream.rows(plan).expanded
        bounds = [0, *np.unique(expanded.segment_ends).tolist()]
        for (begin, end), piece in zip(pairwise(bounds), plan.pieces.tolist(), strict=True):
            if piece[FROM] == 0:
                assert text in (b"", wanted[passage])
                done, text = done + bool(text), b""
            else:
                cut.add(piece[REPRESENTATION])
            ids, passage = expanded.ids[begin:end], piece[PASSAGE]
            text += bytes((ids[ids >= FIRST_BYTE] - FIRST_BYTE).tolist())
    assert done > 30
    assert len(cut) == 1 + len(views)


def test_positions_of_a_composed_row_are_units(store: Store) -> None:
    """Bits composed are bytes: as many positions as raw text, and the last bit of each."""
    stream = stream_of(store, (VIEWS[2],), composed=True, expanded=True)
    assert np.array_equal(stream.table.lengths(1), stream.table.lengths(0))
    plan, _ = stream.plan(State())
    rows = stream.rows(plan)
    shown = rows.symbols >= FIRST_SYMBOL
    assert shown.sum() > 50
    content = rows.expanded.ids[rows.expanded.ends[shown] - 1] - FIRST_BYTE
    assert (rows.symbols[shown] - FIRST_SYMBOL).tolist() == (content & 1).tolist()
    assert len(rows.expanded.ids) == len(rows.symbols)


ROW = 6000


def parts_of(rows: Rows) -> list[np.ndarray]:
    assert rows.expanded is not None
    return [*rows[:4], *rows.expanded]


@pytest.mark.parametrize("packing", ["fill", "whole"])
@pytest.mark.parametrize("composed", [False, True])
def test_rows_by_parts_are_rows_at_once(store: Store, packing: str, composed: bool) -> None:
    mixture = Mixture(phases=(Phase(1.0, "pairs", 0.6),), packing=packing)  # type: ignore[arg-type]
    shape = Shape(5, ROW, PASSAGE_BYTES)
    stream = Stream(store, names_of(VIEWS[:3]), mixture, shape, 1, 9, composed=composed, expanded=True)
    plan, _ = stream.plan(State())
    whole = stream.rows(plan).expanded
    for first in range(6):
        for last in range(first, 6):
            part = stream.rows(plan, first, last).expanded
            here, there = first * ROW, last * ROW
            before = whole.ends[here - 1] if here else 0
            after = whole.ends[there - 1] if there else 0
            assert np.array_equal(part.ids, whole.ids[before:after])
            assert np.array_equal(part.ends, whole.ends[here:there] - before)
            assert np.array_equal(part.segment_ends, whole.segment_ends[here:there] - before)
            assert {array.dtype for array in part} == {np.dtype(np.int64)}


@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("expanded", [False, True])
def test_a_copied_stream_is_of_the_same_kind(store: Store, composed: bool, expanded: bool) -> None:
    stream = stream_of(store, VIEWS[:2], composed=composed, expanded=expanded)
    copy = pickle.loads(pickle.dumps(stream))
    plan, _ = stream.plan(State())
    one, other = stream.rows(plan), copy.rows(copy.plan(State())[0])
    assert all(np.array_equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))
    if expanded:
        assert all(np.array_equal(a, b) for a, b in zip(parts_of(one), parts_of(other), strict=True))
    else:
        assert one.expanded is other.expanded is None


def test_without_views_text_is_spelled_too(store: Store) -> None:
    stream = Stream(store, (), Mixture("bytes"), Shape(2, 300, PASSAGE_BYTES), 1, 9, composed=True, expanded=True)
    rows = stream.rows(stream.plan(State())[0])
    assert np.array_equal(rows.expanded.ids, rows.symbols)
    assert rows.expanded.ends.tolist() == list(range(1, 601))


class Wide(Pieces):
    """Pieces whose symbols need 32 bits."""

    alphabet_size = 1 << 20

    def encode(self, document: bytes):  # type: ignore[no-untyped-def]
        symbols, span_bytes = super().encode(document)
        return type(super().encode(b""))(symbols.astype(np.uint32) * 4097, span_bytes)


@pytest.mark.parametrize("composed", [False, True])
def test_spans_and_symbols_of_every_width(tmp_path: Path, composed: bool) -> None:
    """A shard whose spans take one byte each, one of two and one of four."""
    documents = [
        Document(name, bytes(range(97, 123)) * size, "toy", name) for name, size in (("a", 4), ("b", 30), ("c", 2600))
    ]
    prepare_documents(documents, tmp_path, SplitOptions(0, 0), shard_bytes=1)
    views = (Pieces(rb".{1,70000}", "long"), Wide(rb".{1,70000}", "wide"), HUNDREDS)
    for view in views:
        add_view(tmp_path, view)
    store = Store.open(tmp_path)
    assert sorted(store.span_buffer("long", shard).itemsize for shard in range(3)) == [1, 2, 4]
    assert {store.symbol_buffer("wide", shard).itemsize for shard in range(3)} == {4}
    for own, length in (((views[0],), 8), ((views[1],), 8), ((views[0], views[2]), 200)):
        passages = SlowPassages(store, own, 1000, composed)
        shape = Shape(4, length, 1000)
        stream = Stream(store, names_of(own), Mixture("symbols"), shape, 0, 9, composed=composed, expanded=True)
        plan, _ = stream.plan(State())
        assert len(np.unique(plan.pieces[:, PASSAGE])) > 2
        check_rows(stream.rows(plan), slow_pieces(passages, plan, 0, 4, length))


@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize(
    ("column", "by"),
    [(BYTE_START, 1 << 40), (BYTE_START, -(1 << 40)), (BYTES, -1), (start_column(1), 1 << 40), (start_column(1), -1)],
)
def test_a_table_that_does_not_fit_is_refused(store: Store, composed: bool, column: int, by: int) -> None:
    stream = stream_of(store, (VIEWS[1],), length=2000, rate=1.0, composed=composed, expanded=True)
    plan, _ = stream.plan(State())
    stream.rows(plan)
    rows = stream.table.rows.copy()
    shown = plan.pieces[(plan.pieces[:, REPRESENTATION] == 1) & (plan.pieces[:, FROM] == 0), PASSAGE]
    if by == -1 and column == start_column(1):
        shown = shown[rows[shown, column] == 0]  # the first of a shard
    rows[shown, column] += by
    assert len(shown)
    stream.table = stream.table._replace(rows=rows)
    with pytest.raises(InputError, match=r"delete its folder \.passages"):
        stream.rows(plan)


def test_no_unit_is_read_past_the_end_of_a_shard(store: Store) -> None:
    """A piece of as many units as there are symbols left has an address for each, and still isn't there."""
    stream = stream_of(store, (VIEWS[1],), length=2000, composed=True, expanded=False)
    plan, _ = stream.plan(State())
    number = int(np.flatnonzero(plan.pieces[:, REPRESENTATION] == 1)[0])
    piece = plan.pieces[number]
    shard = int(stream.table.rows[piece[PASSAGE], 0] >> 40)
    left = len(store.symbol_buffer(VIEWS[1].name, shard)) - stream.table.rows[piece[PASSAGE], start_column(1)]
    pieces = plan.pieces.copy()
    pieces[number, TO] = left
    with pytest.raises(InputError, match=r"delete its folder \.passages"):
        stream.rows(plan._replace(pieces=pieces))


@pytest.mark.parametrize("kind", [{"composed": True}, {"expanded": True}])
def test_a_view_that_is_not_aligned_is_refused(store: Store, kind: dict[str, bool]) -> None:
    with pytest.raises(InputError, match="'opaque' is not aligned"):
        stream_of(store, (Opaque(),), **kind)


def test_a_stream_of_symbols_maps_no_spans(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "span_buffer", lambda *_: pytest.fail("nobody asked for spans"))
    stream = stream_of(store, VIEWS[:1])
    rows = stream.rows(stream.plan(State())[0])
    assert rows.expanded is None
    assert not (rows.symbols == PAD).any()
